package dbn

import "slices"

// The three definition records differ in the order of their fields, in the
// length of the symbols and, from version 3 on, in the fields for spread legs.

// definitionPrices begin the record in versions 1 and 2.
var definitionPrices = []field{
	timeNs("ts_recv"), price("min_price_increment"), price("display_factor"),
	timeNs("expiration"), timeNs("activation"),
	price("high_limit_price"), price("low_limit_price"), price("max_price_variation"),
	price("trading_reference_price"), price("unit_of_measure_qty"),
	price("min_price_increment_amount"), price("price_ratio"),
}

// definitionLimits are the 32-bit fields that all versions have in this order.
var definitionLimits = []field{
	optInt("market_depth_implied", 4), optInt("market_depth", 4),
	optUint("market_segment_id", 4), optUint("max_trade_vol", 4),
	optInt("min_lot_size", 4), optInt("min_lot_size_block", 4),
	optInt("min_lot_size_round_lot", 4), optUint("min_trade_vol", 4),
}

var definitionContract = []field{
	optInt("contract_multiplier", 4), optInt("decay_quantity", 4),
	optInt("original_contract_size", 4),
}

// definitionDates are the 16-bit fields of versions 1 and 2.
var definitionDates = []field{
	optUint("trading_reference_date", 2), optInt("appl_id", 2), optUint("maturity_year", 2),
	optUint("decay_start_date", 2), optUint("channel_id", 2),
}

func definitionTexts(symbolLen, assetLen int) []field {
	return []field{
		text("currency", 4), text("settl_currency", 4), text("secsubtype", 6),
		text("raw_symbol", symbolLen), text("group", 21), text("exchange", 5),
		text("asset", assetLen), text("cfi", 7), text("security_type", 7),
		text("unit_of_measure", 31), text("underlying", 21), text("strike_price_currency", 4),
	}
}

// definitionBytes are the last fields of versions 1 and 2.
var definitionBytes = []field{
	char("match_algorithm"), optUint("md_security_trading_status", 1),
	optUint("main_fraction", 1), optUint("price_display_format", 1),
	optUint("settl_price_type", 1), optUint("sub_fraction", 1),
	optUint("underlying_product", 1), char("security_update_action"),
	optUint("maturity_month", 1), optUint("maturity_day", 1), optUint("maturity_week", 1),
	char("user_defined_instrument"), optInt("contract_multiplier_unit", 1),
	optInt("flow_schedule_type", 1), optUint("tick_rule", 1),
}

var definitionV1 = slices.Concat(
	definitionPrices,
	[]field{i32("inst_attrib_value"), u32("underlying_id"), u32("raw_instrument_id")},
	definitionLimits, []field{reserved(4)},
	definitionContract, []field{reserved(4)},
	definitionDates, definitionTexts(symbolLenV1, assetLenV1),
	[]field{char("instrument_class"), reserved(2), price("strike_price"), reserved(6)},
	definitionBytes, []field{reserved(3)},
)

var definitionV2 = slices.Concat(
	definitionPrices,
	[]field{
		price("strike_price"),
		i32("inst_attrib_value"), u32("underlying_id"), u32("raw_instrument_id"),
	},
	definitionLimits, definitionContract, definitionDates,
	definitionTexts(symbolLenV2, assetLenV1),
	[]field{char("instrument_class")}, definitionBytes, []field{reserved(10)},
)

var definitionV3 = slices.Concat(
	[]field{
		timeNs("ts_recv"), price("min_price_increment"), price("display_factor"),
		timeNs("expiration"), timeNs("activation"),
		price("high_limit_price"), price("low_limit_price"), price("max_price_variation"),
		price("unit_of_measure_qty"), price("min_price_increment_amount"),
		price("price_ratio"), price("strike_price"), u64("raw_instrument_id"),
		price("leg_price"), price("leg_delta"),
		i32("inst_attrib_value"), u32("underlying_id"),
	},
	definitionLimits, definitionContract,
	[]field{
		u32("leg_instrument_id"),
		i32("leg_ratio_price_numerator"), i32("leg_ratio_price_denominator"),
		i32("leg_ratio_qty_numerator"), i32("leg_ratio_qty_denominator"),
		u32("leg_underlying_id"),
		optInt("appl_id", 2), optUint("maturity_year", 2), optUint("decay_start_date", 2),
		optUint("channel_id", 2), u16("leg_count"), u16("leg_index"),
	},
	definitionTexts(symbolLenV2, assetLenV3),
	[]field{
		text("leg_raw_symbol", symbolLenV2),
		char("instrument_class"), char("match_algorithm"),
		optUint("main_fraction", 1), optUint("price_display_format", 1),
		optUint("sub_fraction", 1), optUint("underlying_product", 1),
		char("security_update_action"),
		optUint("maturity_month", 1), optUint("maturity_day", 1), optUint("maturity_week", 1),
		char("user_defined_instrument"), optInt("contract_multiplier_unit", 1),
		optInt("flow_schedule_type", 1), optUint("tick_rule", 1),
		char("leg_instrument_class"), char("leg_side"), reserved(17),
	},
)
