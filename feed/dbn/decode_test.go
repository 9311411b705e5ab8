package dbn

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestDecodeGolden decodes a patterned record of every kind and version, without
// and with ts_out.
func TestDecodeGolden(t *testing.T) {
	for _, rtype := range append(knownRtypes(), 0x77) {
		list := sizes[rtype]
		if list == nil {
			list = []int{40} // an unknown rtype
		}
		for _, size := range list {
			l, _ := findLayout(rtype, size)
			name := l.name
			if l == opaque {
				name = "unknown"
			}
			t.Run(fmt.Sprintf("%s-%d", name, size), func(t *testing.T) {
				golden(t, fmt.Sprintf("%s-%d.golden", name, size), decodeText(t, patterned(rtype, size)))
				if l != opaque {
					fields := mustDecode(t, patterned(rtype, size+tsOutSize))
					last := fields[len(fields)-1]
					want := binary.LittleEndian.Uint64(patterned(rtype, size+tsOutSize)[size:])
					if last.Name != "ts_out" || last.Value != int64(want) {
						t.Errorf("last field %v, want ts_out %d", last, want)
					}
				}
			})
		}
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Error(diff)
	}
}

func mustDecode(t testing.TB, body []byte) []feed.Field {
	t.Helper()
	fields, err := Format.Decode(nil, feed.Encoding{}, 0, body)
	if err != nil {
		t.Fatal(err)
	}
	return fields
}

func decodeText(t testing.TB, body []byte) string {
	t.Helper()
	var b strings.Builder
	for _, f := range mustDecode(t, body) {
		v, err := json.Marshal(f.Value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %T %s\n", f.Name, f.Value, v)
	}
	return b.String()
}

func asMap(fields []feed.Field) map[string]any {
	m := make(map[string]any, len(fields))
	for _, f := range fields {
		m[f.Name] = f.Value
	}
	return m
}

// TestDecodeKnown decodes records whose values Databento's documentation shows.
func TestDecodeKnown(t *testing.T) {
	recs := readAll(t, mustOpen(t, content(t, "dbn/databento-dbn/test_data.mbo.v3.dbn"), feed.Options{}))
	want := map[string]any{
		"rtype": "mbo", "publisher_id": uint64(1), "instrument_id": uint64(5482),
		"ts_event": int64(1609160400000429831), "order_id": uint64(647784973705), "price": "3722.75",
		"size": uint64(1), "flags": uint64(128), "channel_id": uint64(0), "action": "C", "side": "A",
		"ts_recv": int64(1609160400000704060), "ts_in_delta": int64(22993), "sequence": uint64(1170352),
	}
	if diff := cmp.Diff(want, asMap(mustDecode(t, recs[0].body))); diff != "" {
		t.Error(diff)
	}
}

// TestDecodeAcrossVersions decodes the same definitions and statistics from the
// layouts of all versions: what has the same name must have the same value.
func TestDecodeAcrossVersions(t *testing.T) {
	const dir = "dbn/databento-dbn/test_data."
	for _, files := range [][]string{
		{"definition.v1.dbn.zst", "definition.v2.dbn.zst", "definition.v3.dbn.zst"},
		{"statistics.v1.dbn.zst", "statistics.v2.dbn.zst", "statistics.v3.dbn.zst"},
	} {
		newest := readAll(t, mustOpen(t, content(t, dir+files[2]), feed.Options{}))
		for _, file := range files[:2] {
			old := readAll(t, mustOpen(t, content(t, dir+file), feed.Options{}))
			for i := range newest {
				a, b := asMap(mustDecode(t, old[i].body)), asMap(mustDecode(t, newest[i].body))
				same := 0
				for name, v := range a {
					if w, ok := b[name]; ok {
						same++
						if v != w {
							t.Errorf("%s record %d: %s = %v, in version 3 %v", file, i, name, v, w)
						}
					}
				}
				if same < 10 {
					t.Errorf("%s: only %d fields are in version 3 too", file, same)
				}
			}
		}
	}
}

func TestPriceText(t *testing.T) {
	for v, want := range map[int64]string{
		0: "0", 1: "0.000000001", -1: "-0.000000001", 10: "0.00000001",
		1_000_000_000: "1", -1_500_000_000: "-1.5", 3722_750_000_000: "3722.75",
		1_000_000_001: "1.000000001", 100_000_000: "0.1", 999_999_999: "0.999999999",
		math.MaxInt64: "9223372036.854775807", math.MinInt64: "-9223372036.854775808",
	} {
		if got := priceText(v); got != want {
			t.Errorf("priceText(%d) = %s, want %s", v, got, want)
		}
	}
}

func TestDecodeUndefined(t *testing.T) {
	b := blank(rtypeStatistics, 64, 1, undefinedTime)
	binary.LittleEndian.PutUint64(b[16:], undefinedTime-1) // ts_recv: beyond int64
	binary.LittleEndian.PutUint64(b[24:], undefinedTime)
	binary.LittleEndian.PutUint64(b[32:], math.MaxInt64)
	binary.LittleEndian.PutUint32(b[40:], math.MaxInt32)
	m := asMap(mustDecode(t, b))
	for name, want := range map[string]any{
		"ts_event": nil, "ts_recv": uint64(undefinedTime - 1), "ts_ref": nil, "price": nil, "quantity": nil,
	} {
		if m[name] != want {
			t.Errorf("%s = %v, want %v", name, m[name], want)
		}
	}
	b = blank(rtypeMapping, 176, 1, day0)
	b[16], b[88] = 255, 200
	copy(b[17:], "a\xffb")
	m = asMap(mustDecode(t, b))
	if m["stype_in"] != nil || m["stype_out"] != "200" || m["stype_in_symbol"] != "a\uFFFDb" {
		t.Errorf("mapping decodes as %v", m)
	}
}

func TestDecodeRefuses(t *testing.T) {
	ok := trade(1, day0, day0)
	short, wrong := ok[:40], blank(rtypeMBP0, 64, 1, day0)
	for name, body := range map[string][]byte{
		"empty": nil, "head cut off": ok[:10], "cut off": short, "length of no kind": wrong,
		"longer than its length": append(append([]byte{}, ok...), 0),
	} {
		fields, err := Format.Decode(nil, feed.Encoding{}, 0, body)
		if !errors.Is(err, ErrBody) || len(fields) != 0 {
			t.Errorf("%s: %d fields, error %v", name, len(fields), err)
		}
	}
}
