package cme

import "github.com/tapedeck/tapedeck/feed/fixed"

// The layouts follow CME's SBE schema "templates_FixBinary", versions 5 to 13,
// field by field. TransactTime and the like are ns since 1970, dates are days since
// then.

func num(name string, size int) fixed.Field { return fixed.Field{Name: name, Size: size} }
func sig(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.Int}
}
func text(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.Text}
}
func char(name string) fixed.Field { return fixed.Field{Name: name, Size: 1, Type: fixed.Char} }

func optNum(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.OptUint}
}

func optSig(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.OptInt}
}

func price(name string, digits int) fixed.Field {
	return fixed.Field{Name: name, Size: 8, Type: fixed.OptPrice, Digits: digits}
}

// block places fields behind the message head, entry in an entry of a group.
func block(fields ...fixed.Field) []fixed.Field { return fixed.Layout(headSize, fields...) }
func entry(fields ...fixed.Field) []fixed.Field { return fixed.Layout(0, fields...) }

var (
	eventBlock   = block(sig("transact_time", 8), num("match_event_indicator", 1))
	loginBlock   = block(sig("heart_bt_int", 1))
	logoutBlock  = block(text("text", 180))
	requestBlock = block(sig("transact_time", 8), text("quote_req_id", 23), num("match_event_indicator", 1))
	statusBlock  = block(sig("transact_time", 8), text("security_group", 6), text("asset", 6), optSig("security_id", 4),
		optNum("trade_date", 2), num("match_event_indicator", 1), optNum("security_trading_status", 1),
		num("halt_reason", 1), num("security_trading_event", 1))
	orderSnapshotBlock = block(num("last_msg_seq_num_processed", 4), num("tot_num_reports", 4), sig("security_id", 4),
		num("no_chunks", 4), num("current_chunk", 4), sig("transact_time", 8))
)

func snapshotBlock(digits int) []fixed.Field {
	return block(num("last_msg_seq_num_processed", 4), num("tot_num_reports", 4), sig("security_id", 4), num("rpt_seq", 4),
		sig("transact_time", 8), sig("last_update_time", 8), optNum("trade_date", 2), optNum("md_security_trading_status", 1),
		price("high_limit_price", digits), price("low_limit_price", digits), price("max_price_variation", digits))
}

var (
	channelEntry = entry(sig("appl_id", 2))
	requestEntry = entry(text("symbol", 20), sig("security_id", 4), optSig("order_qty", 4), sig("quote_type", 1), optSig("side", 1))
	volumeEntry  = entry(sig("md_entry_size", 4), sig("security_id", 4), num("rpt_seq", 4), num("md_update_action", 1))
)

func bookGroups(digits int) []groupLayout {
	return []groupLayout{
		{name: "md_entries", fields: entry(price("md_entry_px", digits), optSig("md_entry_size", 4), sig("security_id", 4),
			num("rpt_seq", 4), optSig("number_of_orders", 4), num("md_price_level", 1), num("md_update_action", 1), char("md_entry_type"))},
		{name: "order_id_entries", wide: true, fields: entry(num("order_id", 8), num("md_order_priority", 8),
			optSig("md_display_qty", 4), optNum("reference_id", 1), num("order_update_action", 1))},
	}
}

func orderGroups(digits int) []groupLayout {
	return []groupLayout{{name: "md_entries", fields: entry(optNum("order_id", 8), optNum("md_order_priority", 8),
		price("md_entry_px", digits), optSig("md_display_qty", 4), sig("security_id", 4), num("md_update_action", 1), char("md_entry_type"))}}
}

func tradeGroups(digits int) []groupLayout {
	return []groupLayout{
		{name: "md_entries", fields: entry(price("md_entry_px", digits), sig("md_entry_size", 4), sig("security_id", 4),
			num("rpt_seq", 4), optSig("number_of_orders", 4), optNum("aggressor_side", 1), num("md_update_action", 1),
			optNum("md_trade_entry_id", 4))},
		{name: "order_id_entries", wide: true, fields: entry(num("order_id", 8), sig("last_qty", 4))},
	}
}

var oldTradeEntry = entry(price("md_entry_px", 7), sig("md_entry_size", 4), sig("security_id", 4), num("rpt_seq", 4),
	optSig("number_of_orders", 4), optSig("trade_id", 4), optNum("aggressor_side", 1), num("md_update_action", 1))

func dailyGroups(digits int) []groupLayout {
	return []groupLayout{{name: "md_entries", fields: entry(price("md_entry_px", digits), optSig("md_entry_size", 4),
		sig("security_id", 4), num("rpt_seq", 4), optNum("trading_reference_date", 2), num("settl_price_type", 1),
		num("md_update_action", 1), char("md_entry_type"))}}
}

func limitGroups(digits int) []groupLayout {
	return []groupLayout{{name: "md_entries", fields: entry(price("high_limit_price", digits), price("low_limit_price", digits),
		price("max_price_variation", digits), sig("security_id", 4), num("rpt_seq", 4))}}
}

// sessionGroups: the size came with template 51.
func sessionGroups(digits int) []groupLayout {
	fields := []fixed.Field{price("md_entry_px", digits), sig("security_id", 4), num("rpt_seq", 4),
		optNum("open_close_settl_flag", 1), num("md_update_action", 1), char("md_entry_type")}
	if digits == 9 {
		fields = append(fields, optSig("md_entry_size", 4))
	}
	return []groupLayout{{name: "md_entries", fields: entry(fields...)}}
}

func snapshotGroups(digits int) []groupLayout {
	return []groupLayout{{name: "md_entries", fields: entry(price("md_entry_px", digits), optSig("md_entry_size", 4),
		optSig("number_of_orders", 4), optSig("md_price_level", 1), optNum("trading_reference_date", 2),
		optNum("open_close_settl_flag", 1), num("settl_price_type", 1), char("md_entry_type"))}}
}

func orderSnapshotGroups(digits int) []groupLayout {
	return []groupLayout{{name: "md_entries", fields: entry(num("order_id", 8), optNum("md_order_priority", 8),
		price("md_entry_px", digits), sig("md_display_qty", 4), char("md_entry_type"))}}
}

var definitionGroups = []groupLayout{
	{name: "events", fields: entry(num("event_type", 1), sig("event_time", 8))},
	{name: "md_feed_types", fields: entry(text("md_feed_type", 3), sig("market_depth", 1))},
	{name: "inst_attrib", fields: entry(num("inst_attrib_value", 4))},
	{name: "lot_type_rules", fields: entry(sig("lot_type", 1), fixed.Field{Name: "min_lot_size", Size: 4, Type: fixed.OptPrice, Digits: 4})},
}

// commonFields begin every definition.
var commonFields = []fixed.Field{
	num("match_event_indicator", 1), optNum("tot_num_reports", 4), char("security_update_action"), sig("last_update_time", 8),
	optNum("md_security_trading_status", 1), sig("appl_id", 2), num("market_segment_id", 1), optNum("underlying_product", 1),
	text("security_exchange", 4), text("security_group", 6), text("asset", 6), text("symbol", 20), sig("security_id", 4),
	text("security_type", 6), text("cfi_code", 6),
}

func commonBlock() []fixed.Field { return block(commonFields...) }

func futureBlock(digits int) []fixed.Field {
	fields := append([]fixed.Field{}, commonFields...)
	return block(append(fields,
		optNum("maturity_year", 2), optNum("maturity_month", 1), optNum("maturity_day", 1), optNum("maturity_week", 1),
		text("currency", 3), text("settl_currency", 3), char("match_algorithm"), num("min_trade_vol", 4), num("max_trade_vol", 4),
		price("min_price_increment", digits), price("display_factor", digits), optNum("main_fraction", 1), optNum("sub_fraction", 1),
		optNum("price_display_format", 1), text("unit_of_measure", 30), price("unit_of_measure_qty", digits),
		price("trading_reference_price", digits), num("settl_price_type", 1), optSig("open_interest_qty", 4),
		optSig("cleared_volume", 4), price("high_limit_price", digits), price("low_limit_price", digits),
		price("max_price_variation", digits), optSig("decay_quantity", 4), optNum("decay_start_date", 2),
		optSig("original_contract_size", 4), optSig("contract_multiplier", 4), optSig("contract_multiplier_unit", 1),
		optSig("flow_schedule_type", 1), price("min_price_increment_amount", digits), char("user_defined_instrument"),
		optNum("trading_reference_date", 2))...)
}
