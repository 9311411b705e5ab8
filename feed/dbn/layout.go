package dbn

import "github.com/tapedeck/tapedeck/wire"

// fieldType says how a field's bytes are read.
type fieldType uint8

const (
	typeUint      fieldType = iota // unsigned integer
	typeInt                        // signed integer
	typeOptUint                    // unsigned, the type's maximum means undefined
	typeOptInt                     // signed, the type's maximum means undefined
	typePrice                      // i64 of 1e-9, 2^63-1 means undefined
	typeTime                       // u64 ns, 2^64-1 means undefined
	typeChar                       // one ASCII letter, 0 means undefined
	typeText                       // C string, cut at its first zero byte
	typeSymbology                  // u8 of the symbology types, 255 means undefined
)

// field is one field of a layout. A field without a name is reserved space.
type field struct {
	name string
	off  int // from the start of the record, bytes; newLayout sets it
	size int // bytes
	typ  fieldType
}

func u8(name string) field             { return field{name: name, size: 1, typ: typeUint} }
func u16(name string) field            { return field{name: name, size: 2, typ: typeUint} }
func u32(name string) field            { return field{name: name, size: 4, typ: typeUint} }
func u64(name string) field            { return field{name: name, size: 8, typ: typeUint} }
func i32(name string) field            { return field{name: name, size: 4, typ: typeInt} }
func price(name string) field          { return field{name: name, size: 8, typ: typePrice} }
func timeNs(name string) field         { return field{name: name, size: 8, typ: typeTime} }
func char(name string) field           { return field{name: name, size: 1, typ: typeChar} }
func text(name string, n int) field    { return field{name: name, size: n, typ: typeText} }
func symbology(name string) field      { return field{name: name, size: 1, typ: typeSymbology} }
func reserved(n int) field             { return field{size: n} }
func optUint(name string, n int) field { return field{name: name, size: n, typ: typeOptUint} }
func optInt(name string, n int) field  { return field{name: name, size: n, typ: typeOptInt} }

// Sizes of C strings that differ between versions.
const (
	symbolLenV1 = 22
	symbolLenV2 = 71
	assetLenV1  = 7
	assetLenV3  = 11
)

// allLayouts follows the record structures of the DBN specification ("Databento
// Binary Encoding", versions 1, 2 and 3), field by field.
func allLayouts() []*layout {
	ls := []*layout{
		newLayout(rtypeMBO, "mbo", wire.KindOrder, mboFields),
		newLayout(rtypeMBP0, "mbp-0", wire.KindTrade, mbpFields(0)),
		newLayout(rtypeMBP1, "mbp-1", wire.KindQuote, mbpFields(1)),
		newLayout(rtypeMBP10, "mbp-10", wire.KindQuote, mbpFields(10)),
		newLayout(rtypeBBO1s, "bbo-1s", wire.KindQuote, bboFields),
		newLayout(rtypeBBO1m, "bbo-1m", wire.KindQuote, bboFields),
		newLayout(rtypeCMBP1, "cmbp-1", wire.KindQuote, cmbpFields),
		newLayout(rtypeTCBBO, "tcbbo", wire.KindTrade, cmbpFields),
		newLayout(rtypeCBBO1s, "cbbo-1s", wire.KindQuote, cbboFields),
		newLayout(rtypeCBBO1m, "cbbo-1m", wire.KindQuote, cbboFields),
		newLayout(rtypeOHLCV, "ohlcv", wire.KindBar, ohlcvFields),
		newLayout(rtypeOHLCV1s, "ohlcv-1s", wire.KindBar, ohlcvFields),
		newLayout(rtypeOHLCV1m, "ohlcv-1m", wire.KindBar, ohlcvFields),
		newLayout(rtypeOHLCV1h, "ohlcv-1h", wire.KindBar, ohlcvFields),
		newLayout(rtypeOHLCV1d, "ohlcv-1d", wire.KindBar, ohlcvFields),
		newLayout(rtypeOHLCVEOD, "ohlcv-eod", wire.KindBar, ohlcvFields),
		newLayout(rtypeStatus, "status", wire.KindStatus, statusFields),
		newLayout(rtypeDefinition, "instrument-def", wire.KindDefinition, definitionV3),
		newLayout(rtypeDefinition, "instrument-def", wire.KindDefinition, definitionV2),
		newLayout(rtypeDefinition, "instrument-def", wire.KindDefinition, definitionV1),
		newLayout(rtypeImbalance, "imbalance", wire.KindImbalance, imbalanceFields),
		newLayout(rtypeStatistics, "statistics", wire.KindStatistic, statisticsV3),
		newLayout(rtypeStatistics, "statistics", wire.KindStatistic, statisticsV1),
		newLayout(rtypeError, "error", wire.KindSystem, errorV2),
		newLayout(rtypeError, "error", wire.KindSystem, errorV1),
		newLayout(rtypeMapping, "symbol-mapping", wire.KindSystem, mappingV2),
		newLayout(rtypeMapping, "symbol-mapping", wire.KindSystem, mappingV1),
		newLayout(rtypeSystem, "system", wire.KindSystem, systemV2),
		newLayout(rtypeSystem, "system", wire.KindSystem, systemV1),
	}
	return ls
}

var mboFields = []field{
	u64("order_id"), price("price"), optUint("size", 4), u8("flags"), u8("channel_id"),
	char("action"), char("side"), timeNs("ts_recv"), i32("ts_in_delta"), u32("sequence"),
}

// mbpFields are those of the mbp-0 (trades), mbp-1 (tbbo) and mbp-10 records.
func mbpFields(levels int) []field {
	fs := []field{
		price("price"), optUint("size", 4), char("action"), char("side"), u8("flags"),
		u8("depth"), timeNs("ts_recv"), i32("ts_in_delta"), u32("sequence"),
	}
	for i := range levels {
		fs = append(fs, levelFields(i)...)
	}
	return fs
}

func levelFields(i int) []field {
	n := "_" + string(rune('0'+i/10)) + string(rune('0'+i%10))
	return []field{
		price("bid_px" + n), price("ask_px" + n), u32("bid_sz" + n), u32("ask_sz" + n),
		u32("bid_ct" + n), u32("ask_ct" + n),
	}
}

// consolidatedLevel has publishers where a plain level has order counts.
var consolidatedLevel = []field{
	price("bid_px_00"), price("ask_px_00"), u32("bid_sz_00"), u32("ask_sz_00"),
	u16("bid_pb_00"), reserved(2), u16("ask_pb_00"), reserved(2),
}

var bboFields = append([]field{
	price("price"), optUint("size", 4), reserved(1), char("side"), u8("flags"), reserved(1),
	timeNs("ts_recv"), reserved(4), u32("sequence"),
}, levelFields(0)...)

var cmbpFields = append([]field{
	price("price"), optUint("size", 4), char("action"), char("side"), u8("flags"), reserved(1),
	timeNs("ts_recv"), i32("ts_in_delta"), reserved(4),
}, consolidatedLevel...)

var cbboFields = append([]field{
	price("price"), optUint("size", 4), reserved(1), char("side"), u8("flags"), reserved(1),
	timeNs("ts_recv"), reserved(8),
}, consolidatedLevel...)

var ohlcvFields = []field{
	price("open"), price("high"), price("low"), price("close"), u64("volume"),
}

var statusFields = []field{
	timeNs("ts_recv"), u16("action"), u16("reason"), u16("trading_event"),
	char("is_trading"), char("is_quoting"), char("is_short_sell_restricted"), reserved(7),
}

var imbalanceFields = []field{
	timeNs("ts_recv"), price("ref_price"), timeNs("auction_time"),
	price("cont_book_clr_price"), price("auct_interest_clr_price"),
	price("ssr_filling_price"), price("ind_match_price"),
	price("upper_collar"), price("lower_collar"),
	optUint("paired_qty", 4), optUint("total_imbalance_qty", 4),
	optUint("market_imbalance_qty", 4), optUint("unpaired_qty", 4),
	char("auction_type"), char("side"), u8("auction_status"), u8("freeze_status"),
	u8("num_extensions"), char("unpaired_side"), char("significant_imbalance"), reserved(1),
}

// statisticsV1 is the record of versions 1 and 2.
var statisticsV1 = []field{
	timeNs("ts_recv"), timeNs("ts_ref"), price("price"), optInt("quantity", 4),
	u32("sequence"), i32("ts_in_delta"), u16("stat_type"), u16("channel_id"),
	u8("update_action"), u8("stat_flags"), reserved(6),
}

var statisticsV3 = []field{
	timeNs("ts_recv"), timeNs("ts_ref"), price("price"), optInt("quantity", 8),
	u32("sequence"), i32("ts_in_delta"), u16("stat_type"), u16("channel_id"),
	u8("update_action"), u8("stat_flags"), reserved(18),
}

var errorV1 = []field{text("err", 64)}

// errorV2 is the record of versions 2 and 3, as are mappingV2 and systemV2.
var errorV2 = []field{text("err", 302), u8("code"), u8("is_last")}

var mappingV1 = []field{
	text("stype_in_symbol", symbolLenV1), text("stype_out_symbol", symbolLenV1), reserved(4),
	timeNs("start_ts"), timeNs("end_ts"),
}

var mappingV2 = []field{
	symbology("stype_in"), text("stype_in_symbol", symbolLenV2),
	symbology("stype_out"), text("stype_out_symbol", symbolLenV2),
	timeNs("start_ts"), timeNs("end_ts"),
}

var systemV1 = []field{text("msg", 64)}

var systemV2 = []field{text("msg", 303), u8("code")}
