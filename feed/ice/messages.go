package ice

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/wire"
)

// messageType is what is known about one type of message.
type messageType struct {
	name     string // "" where the type is not known
	kind     wire.Kind
	market   bool // a market id is first
	snapshot bool
	fields   []fixed.Field
	size     int // of the fixed part
}

func num(name string, size int) fixed.Field { return fixed.Field{Name: name, Size: size} }
func sig(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.Int}
}
func text(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.Text}
}
func char(name string) fixed.Field { return fixed.Field{Name: name, Size: 1, Type: fixed.Char} }

// market is a type of which a market id is first.
func market(name string, kind wire.Kind, fields ...fixed.Field) messageType {
	t := other(name, kind, append([]fixed.Field{sig("market_id", 4)}, fields...)...)
	t.market = true
	return t
}

// other is a type without a market id.
func other(name string, kind wire.Kind, fields ...fixed.Field) messageType {
	t := messageType{name: name, kind: kind, fields: fixed.Layout(headSize, fields...), size: headSize}
	for _, f := range fields {
		t.size += f.Size
	}
	return t
}

func asSnapshot(t messageType) messageType {
	t.snapshot = true
	return t
}

// Fields that several types have.
var (
	trade      = sig("trade_id", 8)
	order      = sig("order_id", 8)
	price      = sig("price", 8)
	quantity   = sig("quantity", 4)
	moment     = sig("date_time", 8)
	transact   = sig("transact_date_time", 8)
	offMarket  = char("off_market_trade_indicator")
	offType    = text("off_market_trade_type", 3)
	flags      = sig("extra_flags", 1)
	within     = sig("sequence_within_millis", 4)
	volumes    = []fixed.Field{sig("volume", 4), sig("block_volume", 4), sig("efs_volume", 4), sig("efp_volume", 4)}
	range_     = []fixed.Field{sig("high", 8), sig("low", 8), sig("vwap", 8)}
	settlement = sig("settlement_price_with_deal_price_precision", 8)
	level      = []fixed.Field{char("side"), sig("price_level_position", 1), price, quantity, sig("order_count", 2), sig("implied_quantity", 4), sig("implied_order_count", 2)}
	stamp      = sig("timestamp", 8)
	orderEntry = []fixed.Field{order, sig("order_sequence_id", 2), char("side"), price, quantity, char("is_implied"), char("is_rfq"), sig("order_entry_date_time", 8)}
)

// join puts fields one behind the other.
func join(parts ...any) []fixed.Field {
	var out []fixed.Field
	for _, p := range parts {
		switch p := p.(type) {
		case fixed.Field:
			out = append(out, p)
		case []fixed.Field:
			out = append(out, p...)
		}
	}
	return out
}

// types are those of the specification's version 1.1.33.
var types = [256]messageType{
	'C': asSnapshot(market("market_snapshot", wire.KindStatistic, snapshotFields...)),
	'D': asSnapshot(market("market_snapshot_order", wire.KindOrder, join(orderEntry, within)...)),
	'm': asSnapshot(market("market_snapshot_price_level", wire.KindQuote, level...)),

	'E': market("add_or_modify_order", wire.KindOrder, join(orderEntry, flags, within, sig("modification_timestamp", 8))...),
	'F': market("delete_order", wire.KindOrder, order, moment, within),
	't': market("add_price_level", wire.KindQuote, join(level, stamp)...),
	's': market("change_price_level", wire.KindQuote, join(level, stamp)...),
	'r': market("delete_price_level", wire.KindQuote, char("side"), sig("price_level_position", 1), stamp),
	'g': market("pre_open_price_indicator", wire.KindQuote, sig("pre_open_price", 8), moment, char("has_pre_open_volume"), sig("pre_open_volume", 4)),

	'G': market("trade", wire.KindTrade, trade, char("is_system_priced_leg"), price, quantity, offMarket, transact, char("system_priced_leg_type"),
		char("is_implied_spread_at_market_open"), char("is_adjusted_trade"), char("aggressor_side"), flags, offType, within),
	'Y': market("spot_market_trade", wire.KindTrade, trade, price, quantity, transact, flags, sig("delivery_begin_date_time", 8),
		sig("delivery_end_date_time", 8), char("is_system_priced_leg")),
	'H': market("investigated_trade", wire.KindTrade, trade, price, quantity, offMarket, moment, char("investigation_status"), offType),
	'I': market("cancelled_trade", wire.KindTrade, trade, price, quantity, offMarket, moment, offType),
	'W': underlying(other("old_style_options_trade_and_market_stats", wire.KindTrade, join(sig("underlying_market_id", 4), trade, price, quantity, offMarket,
		transact, char("option_type"), sig("strike_price", 8), char("event_code"), sig("total_volume", 4), volumes[1:], range_)...)),

	'J': market("market_statistics", wire.KindStatistic, join(volumes, range_, moment)...),
	'M': market("open_interest", wire.KindStatistic, sig("open_interest", 4), sig("open_interest_change", 4), moment, text("open_interest_date", 10)),
	'v': market("option_open_interest", wire.KindStatistic, sig("open_interest", 4), moment, text("open_interest_date", 10)),
	'N': market("open_price", wire.KindStatistic, sig("open_price", 8), moment),
	'c': market("close_price", wire.KindStatistic, sig("close_price", 8), moment),
	'O': market("settlement_price", wire.KindStatistic, settlement, moment, char("is_official"), sig("valuation_date_time", 8), sig("settlement_price", 8)),
	'w': market("option_settlement_price", wire.KindStatistic, settlement, moment, char("is_official"), sig("valuation_date_time", 8),
		sig("volatility", 8), sig("settlement_price", 8), sig("delta", 8)),
	'u': market("end_of_day_market_summary", wire.KindStatistic, join(volumes, sig("opening_price", 8), range_, settlement,
		sig("open_interest", 4), moment, sig("settlement_price", 8))...),
	'z': market("index_prices", wire.KindStatistic, price, text("short_name", 30), sig("published_date_time", 8), text("valuation_date", 10), char("status")),
	'0': market("fixing_indicative_price", wire.KindStatistic, text("iba_currency", 3), price, sig("price_in_gram", 8), sig("num_decimals_price", 1),
		sig("num_decimals_price_in_gram", 1)),

	'K': market("market_state_change", wire.KindStatus, char("trading_status"), moment),
	'f': market("market_event", wire.KindStatus, char("event_type"), moment),
	'V': market("interval_price_limit_notification", wire.KindStatus, char("ipl_hold_type"), sig("notification_date_time", 8), char("is_up"),
		sig("ipl_hold_duration", 4), sig("ipl_up", 8), sig("ipl_down", 8)),
	'3': market("fixing_transition", wire.KindStatus, char("status"), sig("auction_end_time", 8), sig("threshold_imbalance_qty", 4), moment),
	'4': market("fixing_lockdown", wire.KindStatus, text("auction_date", 10), sig("time", 8), text("description", 20), sig("round", 2),
		sig("agg_bid_qty", 4), sig("agg_offer_qty", 4), sig("usd_price", 8), char("is_balanced"), char("is_final"), sig("gbp_price", 8), sig("eur_price", 8)),

	'R': market("new_expiry", wire.KindDefinition, expiryFields...),
	'9': market("new_futures_strategy_definition", wire.KindDefinition, text("futures_contract_symbol", 70), char("trading_status"),
		char("order_price_denominator"), sig("increment_price", 4), sig("increment_qty", 4), sig("min_qty", 4), sig("num_leg_definition", 1)),
	'U': market("new_options_strategy_definition", wire.KindDefinition),
	'l': market("new_options_market_definition", wire.KindDefinition, optionFields...),

	'k': market("rfq", wire.KindSystem, sig("message_timestamp", 8), sig("rfq_system_id", 8), sig("market_type_id", 2), sig("underlying_market_id", 4),
		quantity, char("side")),
	'L': other("system_text", wire.KindSystem, text("text_message", 200), moment, text("text_message_extra_fld", 800)),
	'T': other("message_bundle_marker", wire.KindSystem, char("start_or_end")),
	'b': other("special_field", wire.KindSystem, sig("number_of_special_fields", 1)),
	'i': other("strip_info", wire.KindDefinition, sig("old_strip_id", 2), text("strip_type", 20), sig("begin_year", 2), sig("begin_month", 2),
		sig("begin_day", 2), sig("end_year", 2), sig("end_month", 2), sig("end_day", 2), text("strip_info", 50), sig("strip_id", 4)),
}

// underlying is a type whose topic is that of the underlying market.
func underlying(t messageType) messageType {
	t.market = true
	return t
}

var snapshotFields = join(sig("market_type", 2), char("trading_status"), volumes, sig("open_interest", 4), sig("opening_price", 8), settlement, range_,
	sig("num_of_book_entries", 4), sig("last_trade_price", 8), sig("last_trade_quantity", 4), sig("last_trade_date_time", 8),
	sig("settle_price_date_time", 8), sig("last_message_sequence_id", 4), fixed.Field{Size: 2}, text("open_interest_date", 10),
	char("is_settle_price_official"), sig("settlement_price", 8), char("has_previous_day_settlement_price"), sig("previous_day_settlement_price", 8))

var expiryFields = []fixed.Field{
	sig("market_type_id", 2), char("order_price_denominator"), sig("increment_price", 4), sig("increment_qty", 4), sig("lot_size", 4),
	text("market_desc", 120), sig("maturity_year", 2), sig("maturity_month", 2), sig("maturity_day", 2), char("deal_price_denominator"),
	sig("min_qty", 4), sig("unit_quantity", 4), text("currency", 20), text("cleared_alias", 15), sig("min_price", 8), sig("max_price", 8),
	sig("product_id", 4), text("product_name", 62), sig("hub_id", 4), text("hub_alias", 80), sig("strip_id", 4), text("strip_name", 39),
	char("settle_price_denominator"), text("mic_code", 4), char("unit_qty_denominator"), char("off_exchange_increment_qty_denominator"),
	sig("off_exchange_increment_qty", 4), sig("off_exchange_increment_price", 4), sig("off_exchange_increment_option_price", 4),
	text("contract_symbol", 35), text("isin", 12), char("num_decimals_options_price"), num("hedge_market_id", 4), char("settlement_type"),
	char("gt_allowed"), char("cross_order_supported"), text("unit_of_measure", 30), char("mifid_regulated_market"),
}

var optionFields = []fixed.Field{
	sig("underlying_market_id", 4), text("futures_contract_symbol", 70), char("trading_status"), char("order_price_denominator"),
	sig("increment_qty", 4), sig("lot_size", 4), text("market_desc", 120), char("option_type"), sig("strike_price", 8),
	char("deal_price_denominator"), sig("min_qty", 4), text("currency", 20), char("num_decimals_strike_price"),
	sig("min_options_price", 8), sig("max_options_price", 8), sig("increment_premium_price", 4), sig("options_expiration_year", 2),
	sig("options_expiration_month", 2), sig("options_expiration_day", 2), char("options_style"), char("options_expiration_type"),
	num("hedge_market_id", 4), char("settle_price_denominator"), char("unit_qty_denominator"), sig("tick_value", 8), char("flex_allowed"),
	char("settlement_type"), char("is_block_only"), char("gt_allowed"), char("cross_order_supported"), char("guaranteed_cross_supported"),
	text("unit_of_measure", 30), char("mifid_regulated_market"),
}

// ErrBody: bytes that are not one message.
var ErrBody = errors.New("ice: body is not a message")

// decode takes a message apart into the fields of its type. Numbers are int64, times
// in the unit of the feed, letters and texts strings. The error wraps ErrBody.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	m, ok := take(body)
	if !ok || len(m) != len(body) {
		return dst, fmt.Errorf("%w: %d bytes, which is not what its length says", ErrBody, len(body))
	}
	t := &types[m[typeOff]]
	name, size := t.name, t.size
	if name == "" {
		name, size = "unknown", headSize
	}
	dst = append(dst,
		feed.Field{Name: "message", Value: name},
		feed.Field{Name: "type", Value: fixed.Latin(m[typeOff:][:1])})
	dst = fixed.Append(dst, binary.BigEndian, t.fields, m)
	if size < len(m) {
		dst = append(dst, feed.Field{Name: "rest", Value: hex.EncodeToString(m[size:])})
	}
	return dst, nil
}
