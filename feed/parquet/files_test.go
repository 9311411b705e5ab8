package parquet

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"path"
	"strconv"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// facts returns how many rows the data's manifest says each file has.
func facts(t *testing.T) map[string]int {
	t.Helper()
	type fact struct {
		File  string
		Facts struct{ Rows int }
	}
	list := map[string]int{}
	for _, f := range testdata.Manifest[fact](t, func(file string) bool { return path.Dir(file) == "parquet" }) {
		list[f.File] = f.Facts.Rows
	}
	return list
}

// TestFiles imports every real file without a flag and holds it to the manifest,
// and each row to what the library's own row reader says.
func TestFiles(t *testing.T) {
	tests := []struct {
		file, topic, first string
		begin, end         wire.Nanos
		kind               wire.Kind
		flags              wire.RecordFlags
	}{
		{
			"parquet/btcusdt-trades.parquet", "btcusdt-trades",
			`{"timestamp":1610064000278,"trade_id":553287559,"price":39432.48,"quantity":0.000263,"buyer_maker":"True"}`,
			1610064000278e6, 1610064046355e6, wire.KindTrade, wire.FlagNoReceiveTime,
		},
		{
			"parquet/quote_tick_usdjpy_2019_sim_rust.parquet", "quote_tick_usdjpy_2019_sim_rust", "",
			1546383600071000064, 1546394443513999872, wire.KindQuote, 0,
		},
	}
	all := facts(t)
	if len(all) != len(tests) {
		t.Errorf("the manifest has %d files, this test %d", len(all), len(tests))
	}
	for _, tt := range tests {
		t.Run(tt.file, func(t *testing.T) {
			in, err := feed.OpenInput(t.Context(), testdata.Path(t, tt.file))
			must(t, err)
			defer func() { must(t, in.Close()) }()
			if Format.Detect(in.Head) != sureOfMagic {
				t.Error("not recognised")
			}
			src, err := Format.Open(t.Context(), in, feed.Options{})
			must(t, err)
			list := rows(t, src)
			if len(list) != all[tt.file] {
				t.Fatalf("%d rows, want %d", len(list), all[tt.file])
			}
			if first, last := list[0].event, list[len(list)-1].event; first != tt.begin || last != tt.end {
				t.Errorf("event times %d to %d, want %d to %d", first, last, tt.begin, tt.end)
			}
			if tt.first != "" && list[0].body != tt.first {
				t.Errorf("first body %s", list[0].body)
			}
			for _, r := range list {
				if r.bad != "" || r.topic != tt.topic || r.kind != tt.kind || r.flags != tt.flags {
					t.Fatalf("%+v", r)
				}
			}
			compare(t, src.(*source).file, list)
		})
	}
}

// compare holds bodies to what the library's row reader and encoding/json say.
func compare(t *testing.T, f *pq.File, list []row) {
	t.Helper()
	names := f.Schema().Columns()
	at := 0
	for _, g := range f.RowGroups() {
		reader := g.Rows()
		defer reader.Close()
		buf := make([]pq.Row, 1)
		for {
			n, _ := reader.ReadRows(buf)
			if n == 0 {
				break
			}
			var body map[string]json.RawMessage
			must(t, json.Unmarshal([]byte(list[at].body), &body))
			for i, v := range buf[0] {
				got := strings.Trim(string(body[names[i][0]]), `"`)
				want := v.String()
				switch v.Kind() {
				case pq.FixedLenByteArray:
					want = hex.EncodeToString(v.ByteArray())
				case pq.Double:
					want = strconv.FormatFloat(v.Double(), 'f', -1, 64)
				}
				if got != want {
					t.Fatalf("row %d, %s: %s, want %s", at, names[i], got, want)
				}
			}
			at++
		}
	}
	if at != len(list) {
		t.Errorf("%d rows, want %d", len(list), at)
	}
}

// TestFixedPoint: what is carried in hex is the number that it was, 10^18 times
// the price, the least significant byte first.
func TestFixedPoint(t *testing.T) {
	in, err := feed.OpenInput(t.Context(), testdata.Path(t, "parquet/quote_tick_usdjpy_2019_sim_rust.parquet"))
	must(t, err)
	defer func() { must(t, in.Close()) }()
	src, err := Format.Open(t.Context(), in, feed.Options{})
	must(t, err)
	r, err := src.Next()
	must(t, err)
	var body struct {
		Bid string `json:"bid_price"`
	}
	must(t, json.Unmarshal(r.Body, &body))
	b, err := hex.DecodeString(body.Bid)
	must(t, err)
	low, high := binary.LittleEndian.Uint64(b), binary.LittleEndian.Uint64(b[8:])
	if price := (float64(high)*(1<<64) + float64(low)) / 1e18; price < 100 || price > 120 {
		t.Errorf("a dollar of %v yen in 2019", price)
	}
}
