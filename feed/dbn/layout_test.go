package dbn

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// TestLayoutSizes pins the sizes of all record kinds, and that no two sizes of
// an rtype could be confused by a ts_out.
func TestLayoutSizes(t *testing.T) {
	for rtype := range 256 {
		var got []int
		for _, l := range layouts[rtype] {
			got = append(got, l.size)
			if l.size%wordSize != 0 || l.size+tsOutSize > recordSizeMax {
				t.Errorf("type %#x: %d bytes", rtype, l.size)
			}
		}
		if want := sizes[uint8(rtype)]; !slices.Equal(got, want) {
			t.Errorf("type %#x: sizes %d, want %d", rtype, got, want)
		}
		for i, a := range got {
			for _, b := range got[i+1:] {
				if a-b == tsOutSize || b-a == tsOutSize {
					t.Errorf("type %#x: sizes %d and %d differ by a ts_out", rtype, a, b)
				}
			}
		}
	}
}

// TestLayoutOffsets pins where the fields that readers look for lie, as in the
// specification's structures.
func TestLayoutOffsets(t *testing.T) {
	tests := []struct {
		fields string
		size   int
		rtype  uint8
	}{
		{"order_id@16 price@24 size@32 flags@36 channel_id@37 action@38 side@39 ts_recv@40 ts_in_delta@48 sequence@52", 56, rtypeMBO},
		{"price@16 size@24 action@28 side@29 flags@30 depth@31 ts_recv@32 ts_in_delta@40 sequence@44", 48, rtypeMBP0},
		{"sequence@44 bid_px_00@48 ask_px_00@56 bid_sz_00@64 ask_sz_00@68 bid_ct_00@72 ask_ct_00@76", 80, rtypeMBP1},
		{"bid_px_01@80 bid_px_09@336 ask_ct_09@364", 368, rtypeMBP10},
		{"price@16 size@24 side@29 flags@30 ts_recv@32 sequence@44 bid_px_00@48 ask_ct_00@76", 80, rtypeBBO1s},
		{"action@28 side@29 flags@30 ts_recv@32 ts_in_delta@40 bid_px_00@48 bid_pb_00@72 ask_pb_00@76", 80, rtypeCMBP1},
		{"side@29 flags@30 ts_recv@32 bid_px_00@48 ask_sz_00@68 bid_pb_00@72 ask_pb_00@76", 80, rtypeCBBO1m},
		{"open@16 high@24 low@32 close@40 volume@48", 56, rtypeOHLCV1d},
		{"ts_recv@16 action@24 reason@26 trading_event@28 is_trading@30 is_quoting@31 is_short_sell_restricted@32", 40, rtypeStatus},
		{"ts_recv@16 ref_price@24 auction_time@32 lower_collar@80 paired_qty@88 unpaired_qty@100 auction_type@104 side@105 significant_imbalance@110", 112, rtypeImbalance},
		{"ts_recv@16 ts_ref@24 price@32 quantity@40 sequence@44 ts_in_delta@48 stat_type@52 channel_id@54 update_action@56 stat_flags@57", 64, rtypeStatistics},
		{"price@32 quantity@40 sequence@48 ts_in_delta@52 stat_type@56 channel_id@58 update_action@60 stat_flags@61", 80, rtypeStatistics},
		{"err@16", 80, rtypeError},
		{"err@16 code@318 is_last@319", 320, rtypeError},
		{"stype_in_symbol@16 stype_out_symbol@38 start_ts@64 end_ts@72", 80, rtypeMapping},
		{"stype_in@16 stype_in_symbol@17 stype_out@88 stype_out_symbol@89 start_ts@160 end_ts@168", 176, rtypeMapping},
		{"msg@16 code@319", 320, rtypeSystem},
		{"ts_recv@16 expiration@40 price_ratio@104 inst_attrib_value@112 raw_instrument_id@120 min_trade_vol@152 contract_multiplier@160 original_contract_size@168 trading_reference_date@176 channel_id@184 currency@186 raw_symbol@200 group@222 asset@248 underlying@300 strike_price_currency@321 instrument_class@325 strike_price@328 match_algorithm@342 tick_rule@356", 360, rtypeDefinition},
		{"price_ratio@104 strike_price@112 inst_attrib_value@120 min_trade_vol@160 contract_multiplier@164 trading_reference_date@176 currency@186 raw_symbol@200 group@271 asset@297 instrument_class@374 match_algorithm@375", 400, rtypeDefinition},
		{"unit_of_measure_qty@80 strike_price@104 raw_instrument_id@112 leg_price@120 leg_delta@128 inst_attrib_value@136 leg_instrument_id@188 leg_underlying_id@208 appl_id@212 leg_count@220 leg_index@222 currency@224 raw_symbol@238 group@309 asset@335 leg_raw_symbol@416 instrument_class@487 match_algorithm@488 leg_side@502", 520, rtypeDefinition},
	}
	for _, tt := range tests {
		l, _ := findLayout(tt.rtype, tt.size)
		if l == nil || l == opaque {
			t.Fatalf("type %#x of %d bytes is not known", tt.rtype, tt.size)
		}
		have := map[string]bool{}
		for _, f := range l.fields {
			have[fmt.Sprintf("%s@%d", f.name, f.off)] = true
		}
		for _, want := range strings.Fields(tt.fields) {
			if !have[want] {
				t.Errorf("type %#x of %d bytes has no field %s", tt.rtype, tt.size, want)
			}
		}
	}
}

// TestMappingOffsets holds the offsets in symbols.go against the layouts.
func TestMappingOffsets(t *testing.T) {
	for _, want := range []struct {
		name      string
		size, off int
	}{
		{"stype_in_symbol", mappingSizeV1, mappingInV1}, {"stype_out_symbol", mappingSizeV1, mappingOutV1},
		{"stype_in", mappingSizeV2, mappingStypeIn}, {"stype_in_symbol", mappingSizeV2, mappingInV2},
		{"stype_out", mappingSizeV2, mappingStypeOut}, {"stype_out_symbol", mappingSizeV2, mappingOutV2},
	} {
		l, _ := findLayout(rtypeMapping, want.size)
		i := slices.IndexFunc(l.fields, func(f field) bool { return f.name == want.name })
		if i < 0 || l.fields[i].off != want.off {
			t.Errorf("%s of %d bytes: offset %d differs from the layout", want.name, want.size, want.off)
		}
	}
}

func TestPublisherDatasetMax(t *testing.T) {
	for id := range uint16(200) {
		if d := publisherDataset(id); len(d) > publisherDatasetMax {
			t.Errorf("publisher %d: dataset %s is longer than publisherDatasetMax", id, d)
		}
	}
}

func TestDetect(t *testing.T) {
	two := append(trade(7, day0, day0), trade(7, day0, day0)...)
	odd := trade(7, 12, 12) // 1970
	tests := []struct {
		name string
		head []byte
		want int
	}{
		{"version 1", []byte("DBN\x01\x00\x00\x00\x00"), sureMagic},
		{"unknown version", []byte("DBN\x09\x00\x00\x00\x00"), sureMagic},
		{"magic alone", []byte("DBN"), 0},
		{"text", []byte("DBN,price,size\n1,2,3\n4,5,6\n"), 0},
		{"empty", nil, 0},
		{"one record", two[:48], sureOne},
		{"one record and a piece", two[:50], sureOne},
		{"one head", two[:20], sureOne},
		{"two records", two, sureTwo},
		{"four records", append(slices.Clone(two), two...), sureMany},
		{"garbage behind", append(slices.Clone(two), make([]byte, 64)...), 0},
		{"times not plausible", odd, 0},
		{"csv", []byte("timestamp,price,size,side\n1609160400000,1,2,B\n"), 0},
		{"json", []byte(`{"stream":"btcusdt@trade","data":{"e":"trade"}}`), 0},
		{"pcap", binary.LittleEndian.AppendUint32(nil, 0xa1b2c3d4), 0},
		{"zeros", make([]byte, 64), 0},
	}
	for _, tt := range tests {
		if got := Format.Detect(tt.head); got != tt.want {
			t.Errorf("%s: Detect = %d, want %d", tt.name, got, tt.want)
		}
	}
}
