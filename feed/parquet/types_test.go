package parquet

import (
	"encoding/json"
	"math"
	"math/big"
	"strings"
	"testing"
	"time"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/deprecated"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

type inner struct {
	Name string   `parquet:"name"`
	Tags []string `parquet:"tags,list"`
	Size *int32   `parquet:"size,optional"`
}

type everything struct {
	Time   time.Time        `parquet:"ts,timestamp(microsecond)"`
	Bool   bool             `parquet:"bool"`
	I8     int8             `parquet:"i8"`
	I64    int64            `parquet:"i64"`
	U32    uint32           `parquet:"u32"`
	U64    uint64           `parquet:"u64"`
	F32    float32          `parquet:"f32"`
	F64    float64          `parquet:"f64"`
	Text   string           `parquet:"text"`
	Opt    *string          `parquet:"opt,optional"`
	Bytes  []byte           `parquet:"bytes"`
	Fixed  [16]byte         `parquet:"fixed"`
	UUID   [16]byte         `parquet:"uuid,uuid"`
	Dec32  int32            `parquet:"dec32,decimal(3:9)"`
	Dec64  int64            `parquet:"dec64,decimal(18:18)"`
	DecFix [16]byte         `parquet:"decfix,decimal(2:38)"`
	Date   int32            `parquet:"day,date"`
	I96    deprecated.Int96 `parquet:"i96"`
	List   []int64          `parquet:"list,list"`
	Bare   []int64          `parquet:"bare"`
	Groups []inner          `parquet:"groups,list"`
	Group  *inner           `parquet:"group,optional"`
	Nested [][]int32        `parquet:"nested,list"`
	Map    map[string]int64 `parquet:"map"`
}

func wide(v int64) (b [16]byte) {
	n := big.NewInt(v)
	if v < 0 {
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	n.FillBytes(b[:])
	return b
}

func TestTypes(t *testing.T) {
	text, size := "é\"\\\n\x01", int32(7)
	list := []everything{
		{
			Time: time.UnixMicro(1723161256322001), Bool: true, I8: -8, I64: math.MinInt64, U32: math.MaxUint32, U64: math.MaxUint64,
			F32: 0.1, F64: 1e-7, Text: text, Opt: &text, Bytes: []byte{0, 0xff}, Fixed: [16]byte{1}, UUID: [16]byte{0xf8, 0x1d},
			Dec32: -12340, Dec64: 1, DecFix: wide(-1234), Date: 19943, I96: deprecated.Int96{5, 0, 2440588 + 19943},
			List: []int64{1, 2}, Bare: []int64{3}, Groups: []inner{{Name: "a", Tags: []string{"x", "y"}, Size: &size}, {Name: "b"}},
			Group: &inner{Name: "c"}, Nested: [][]int32{{1, 2}, {}, {3}}, Map: map[string]int64{"k": 1},
		},
		{Time: time.UnixMicro(1723161256322002), F32: float32(math.Inf(-1)), F64: math.NaN(), Dec32: 5, DecFix: wide(0)},
	}
	want := []string{
		`{"ts":1723161256322001,"bool":true,"i8":-8,"i64":-9223372036854775808,"u32":4294967295,"u64":18446744073709551615,` +
			`"f32":0.1,"f64":1e-07,"text":"é\"\\\n\u0001","opt":"é\"\\\n\u0001","bytes":"00ff","fixed":"01000000000000000000000000000000",` +
			`"uuid":"f81d0000-0000-0000-0000-000000000000","dec32":-12.340,"dec64":0.000000000000000001,"decfix":-12.34,"day":19943,` +
			`"i96":1723075200000000005,"list":[1,2],"bare":[3],"groups":[{"name":"a","tags":["x","y"],"size":7},{"name":"b","tags":[],"size":null}],` +
			`"group":{"name":"c","tags":[],"size":null},"nested":[[1,2],[],[3]],"map":[{"key":"k","value":1}]}`,
		`{"ts":1723161256322002,"bool":false,"i8":0,"i64":0,"u32":0,"u64":0,"f32":"-Infinity","f64":"NaN","text":"","opt":null,` +
			`"bytes":"","fixed":"00000000000000000000000000000000","uuid":"00000000-0000-0000-0000-000000000000","dec32":0.005,` +
			`"dec64":0.000000000000000000,"decfix":0.00,"day":0,"i96":"000000000000000000000000","list":[],"bare":[],"groups":[],"group":null,"nested":[],"map":[]}`,
	}
	for name, opts := range map[string][]pq.WriterOption{
		"plain": nil, "version 1": {pq.DataPageVersion(1)},
		"snappy": {pq.Compression(&pq.Snappy)}, "gzip": {pq.Compression(&pq.Gzip)}, "brotli": {pq.Compression(&pq.Brotli)},
		"zstd": {pq.Compression(&pq.Zstd)}, "lz4": {pq.Compression(&pq.Lz4Raw)},
	} {
		t.Run(name, func(t *testing.T) {
			src, err := openBytes(t, made(t, list, opts...), feed.Options{})
			must(t, err)
			got := rows(t, src)
			if len(got) != len(want) {
				t.Fatalf("%d rows", len(got))
			}
			for i, r := range got {
				if r.body != want[i] {
					t.Errorf("row %d\ngot  %s\nwant %s", i, r.body, want[i])
				}
				if !json.Valid([]byte(r.body)) {
					t.Errorf("row %d is not JSON", i)
				}
				if at := wire.NanosOf(list[i].Time); r.event != at || r.receive != at || r.flags != wire.FlagNoReceiveTime || r.topic != "some" {
					t.Errorf("%+v", r)
				}
			}
			enc := src.Encoding()
			if enc.Format != "parquet" || enc.Detail["layout"] != "time=ts:us,kind=data" || enc.Detail["topic"] != "some" ||
				!strings.Contains(enc.Detail["schema"], "required int64 ts (TIMESTAMP(isAdjustedToUTC=true,unit=MICROS))") {
				t.Errorf("encoding %v", enc)
			}
			fields, err := Format.Decode(nil, enc, 0, []byte(got[0].body))
			if err != nil || len(fields) != 24 || fields[5] != (feed.Field{Name: "u64", Value: uint64(math.MaxUint64)}) {
				t.Errorf("%d fields, %v", len(fields), err)
			}
		})
	}
	if _, err := Format.Decode(nil, feed.Encoding{}, 0, []byte("x")); err == nil || !strings.HasPrefix(err.Error(), "parquet: ") {
		t.Errorf("error %v", err)
	}
}

func TestFloat16(t *testing.T) {
	for bits, want := range map[uint16]string{
		0: "0", 0x3c00: "1", 0xc000: "-2", 0x7bff: "65504", 1: "5.9604645e-08", 0x7c00: `"Infinity"`, 0xfc00: `"-Infinity"`, 0x7e00: `"NaN"`, 0x3555: "0.33325195",
	} {
		v := pq.FixedLenByteArrayValue([]byte{byte(bits), byte(bits >> 8)})
		if got, err := writeFloat16(nil, &v); err != nil || string(got) != want {
			t.Errorf("%#x: %s, %v, want %s", bits, got, err, want)
		}
	}
}

func TestWideDecimal(t *testing.T) {
	ten := new(big.Int).Exp(big.NewInt(10), big.NewInt(30), nil)
	minus := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 128), ten)
	for _, tt := range []struct {
		b     []byte
		scale int
		want  string
	}{
		{nil, 2, "0.00"}, {[]byte{0xff}, 0, "-1"}, {[]byte{0x80, 0, 0, 0, 0, 0, 0, 0}, 0, "-9223372036854775808"},
		{ten.FillBytes(make([]byte, 16)), 30, "1." + strings.Repeat("0", 30)},
		{minus.FillBytes(make([]byte, 16)), 31, "-0.1" + strings.Repeat("0", 30)},
	} {
		if got := appendWideDecimal(nil, tt.b, tt.scale); string(got) != tt.want {
			t.Errorf("%x: %s, want %s", tt.b, got, tt.want)
		}
	}
}
