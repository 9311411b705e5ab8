package itch

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/wire"
)

// Every message begins alike, big-endian: type, stock locate u16, tracking number
// u16, time u48.
const (
	locateOff   = 1
	trackingOff = 3
	timeOff     = 5
	timeSize    = 6
	commonSize  = 11

	stockSize = 8

	// dayMax is the first time stamp that no day has, ns: the longest day of the
	// year, on which clocks go back, has 25 hours.
	dayMax = uint64(25 * time.Hour)
)

// message describes a message type. Its size is 0 where the type is not known.
type message struct {
	name     string
	size     int
	stockOff int // 0 where it names no stock
	kind     wire.Kind
	fields   []fixed.Field // behind the common ones
}

func char(name string, off int) fixed.Field {
	return fixed.Field{Name: name, Off: off, Size: 1, Type: fixed.Char}
}
func text(name string, off, size int) fixed.Field {
	return fixed.Field{Name: name, Off: off, Size: size, Type: fixed.Text}
}
func number(name string, off, size int) fixed.Field {
	return fixed.Field{Name: name, Off: off, Size: size, Type: fixed.Uint}
}

// price has four decimals in four bytes, or eight in eight.
func price(name string, off, size int) fixed.Field {
	return fixed.Field{Name: name, Off: off, Size: size, Type: fixed.UPrice, Digits: size}
}

func stock(off int) fixed.Field { return text("stock", off, stockSize) }

// addFields are those of an order that is added, with and without attribution.
var addFields = []fixed.Field{number("order_reference_number", 11, 8), char("buy_sell_indicator", 19),
	number("shares", 20, 4), stock(24), price("price", 32, 4), text("attribution", 36, 4)}

var executedFields = []fixed.Field{number("order_reference_number", 11, 8), number("executed_shares", 19, 4),
	number("match_number", 23, 8), char("printable", 31), price("execution_price", 32, 4)}

// common are the fields of every message behind its type.
var common = []fixed.Field{number("stock_locate", locateOff, 2), number("tracking_number", trackingOff, 2),
	number("timestamp", timeOff, timeSize)}

// messages are the message types by their letter.
var messages = [256]message{
	'S': {"system event", 12, 0, wire.KindSystem, []fixed.Field{char("event_code", 11)}},
	'R': {"stock directory", 39, 11, wire.KindDefinition, []fixed.Field{stock(11), char("market_category", 19),
		char("financial_status_indicator", 20), number("round_lot_size", 21, 4), char("round_lots_only", 25),
		char("issue_classification", 26), text("issue_sub_type", 27, 2), char("authenticity", 29),
		char("short_sale_threshold_indicator", 30), char("ipo_flag", 31), char("luld_reference_price_tier", 32),
		char("etp_flag", 33), number("etp_leverage_factor", 34, 4), char("inverse_indicator", 38)}},
	'H': {"stock trading action", 25, 11, wire.KindStatus, []fixed.Field{stock(11), char("trading_state", 19),
		text("reason", 21, 4)}},
	'Y': {"reg sho restriction", 20, 11, wire.KindStatus, []fixed.Field{stock(11), char("reg_sho_action", 19)}},
	'L': {"market participant position", 26, 15, wire.KindStatus, []fixed.Field{text("mpid", 11, 4), stock(15),
		char("primary_market_maker", 23), char("market_maker_mode", 24), char("market_participant_state", 25)}},
	'V': {"mwcb decline level", 35, 0, wire.KindStatistic, []fixed.Field{price("level_1", 11, 8),
		price("level_2", 19, 8), price("level_3", 27, 8)}},
	'W': {"mwcb status", 12, 0, wire.KindStatus, []fixed.Field{char("breached_level", 11)}},
	'K': {"quoting period update", 28, 11, wire.KindStatus, []fixed.Field{stock(11),
		number("ipo_quotation_release_time", 19, 4), char("ipo_quotation_release_qualifier", 23), price("ipo_price", 24, 4)}},
	'J': {"luld auction collar", 35, 11, wire.KindStatus, []fixed.Field{stock(11),
		price("auction_collar_reference_price", 19, 4), price("upper_auction_collar_price", 23, 4),
		price("lower_auction_collar_price", 27, 4), number("auction_collar_extension", 31, 4)}},
	'h': {"operational halt", 21, 11, wire.KindStatus, []fixed.Field{stock(11), char("market_code", 19),
		char("operational_halt_action", 20)}},

	'A': {"add order", 36, 24, wire.KindOrder, addFields},
	'F': {"add order with mpid attribution", 40, 24, wire.KindOrder, addFields},
	'E': {"order executed", 31, 0, wire.KindOrder, executedFields},
	'C': {"order executed with price", 36, 0, wire.KindOrder, executedFields},
	'X': {"order cancel", 23, 0, wire.KindOrder, []fixed.Field{number("order_reference_number", 11, 8),
		number("cancelled_shares", 19, 4)}},
	'D': {"order delete", 19, 0, wire.KindOrder, []fixed.Field{number("order_reference_number", 11, 8)}},
	'U': {"order replace", 35, 0, wire.KindOrder, []fixed.Field{number("original_order_reference_number", 11, 8),
		number("new_order_reference_number", 19, 8), number("shares", 27, 4), price("price", 31, 4)}},

	'P': {"trade", 44, 24, wire.KindTrade, []fixed.Field{number("order_reference_number", 11, 8),
		char("buy_sell_indicator", 19), number("shares", 20, 4), stock(24), price("price", 32, 4),
		number("match_number", 36, 8)}},
	'Q': {"cross trade", 40, 19, wire.KindTrade, []fixed.Field{number("shares", 11, 8), stock(19),
		price("cross_price", 27, 4), number("match_number", 31, 8), char("cross_type", 39)}},
	'B': {"broken trade", 19, 0, wire.KindTrade, []fixed.Field{number("match_number", 11, 8)}},

	'I': {"net order imbalance indicator", 50, 28, wire.KindImbalance, []fixed.Field{number("paired_shares", 11, 8),
		number("imbalance_shares", 19, 8), char("imbalance_direction", 27), stock(28), price("far_price", 36, 4),
		price("near_price", 40, 4), price("current_reference_price", 44, 4), char("cross_type", 48),
		char("price_variation_indicator", 49)}},
	'N': {"retail price improvement indicator", 20, 11, wire.KindQuote, []fixed.Field{stock(11), char("interest_flag", 19)}},
	'O': {"direct listing with capital raise price discovery", 48, 11, wire.KindStatus, []fixed.Field{stock(11),
		char("open_eligibility_status", 19), price("minimum_allowable_price", 20, 4),
		price("maximum_allowable_price", 24, 4), price("near_execution_price", 28, 4),
		number("near_execution_time", 32, 8), price("lower_price_range_collar", 40, 4),
		price("upper_price_range_collar", 44, 4)}},
}

// sinceMidnight returns a message's time.
func sinceMidnight(b []byte) uint64 {
	return uint64(binary.BigEndian.Uint16(b[timeOff:]))<<32 | uint64(binary.BigEndian.Uint32(b[timeOff+2:]))
}

// check returns why b is no message, or nil. Types that are not known pass where
// they have what every message has.
func check(b []byte) error {
	if len(b) < commonSize {
		return ErrLength
	}
	if m := &messages[b[0]]; m.size != 0 && len(b) != m.size {
		return ErrLength
	}
	if sinceMidnight(b) >= dayMax {
		return ErrTime
	}
	return nil
}

// known reports whether b is a message of a type known here.
func known(b []byte) bool { return check(b) == nil && messages[b[0]].size != 0 }

// ErrBody: bytes that are not one message.
var ErrBody = errors.New("itch: body is not a message")

// decode takes a message apart into the fields of its type. Prices are exact
// decimal strings, the time stamp is nanoseconds since midnight, letters and texts
// are strings. A message of an unknown type has its common fields and the rest in
// hex. The error wraps ErrBody.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	if err := check(body); err != nil {
		return dst, fmt.Errorf("%w: %w", ErrBody, err)
	}
	m := &messages[body[0]]
	name := m.name
	if m.size == 0 {
		name = "unknown"
	}
	dst = append(dst, feed.Field{Name: "message", Value: name})
	dst = fixed.Append(dst, binary.BigEndian, common, body)
	if m.size == 0 {
		return append(dst, feed.Field{Name: "type", Value: string(rune(body[0]))},
			feed.Field{Name: "payload", Value: hex.EncodeToString(body[commonSize:])}), nil
	}
	return fixed.Append(dst, binary.BigEndian, m.fields, body), nil
}
