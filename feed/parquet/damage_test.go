package parquet

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// read reads a file that may be damaged and returns how many records and bad
// places it has. Neither may be more than the rows that it says it has.
func read(t testing.TB, file []byte) (good, bad int, err error) {
	t.Helper()
	in, err := feed.NewInput(context.Background(), bytes.NewReader(file), "x")
	if err != nil {
		return 0, 0, err
	}
	defer in.Close()
	src, err := Format.Open(context.Background(), in, feed.Options{Topic: "T", Columns: "time=#1"})
	if err != nil {
		return 0, 0, err
	}
	for good+bad < 1<<16 {
		r, err := src.Next()
		var where *feed.BadRecord
		switch {
		case err == io.EOF:
			return good, bad, nil
		case errors.As(err, &where):
			bad++
		case err != nil:
			return good, bad, err
		default:
			good++
			if len(r.Topic) == 0 || len(r.Topic) > wire.TopicSizeMax || len(r.Body) > wire.BodySizeMax {
				t.Fatalf("topic of %d, body of %d bytes", len(r.Topic), len(r.Body))
			}
			if _, err := Format.Decode(nil, src.Encoding(), r.Kind, r.Body); err != nil {
				t.Fatalf("body %q: %v", r.Body, err)
			}
		}
	}
	return good, bad, nil
}

func TestCutOff(t *testing.T) {
	file := made(t, ticks(5), pq.MaxRowsPerRowGroup(4), pq.Compression(&pq.Zstd))
	for n := range file {
		if good, _, err := read(t, file[:n]); err == nil {
			t.Fatalf("cut at %d of %d: %d records and no error", n, len(file), good)
		}
	}
}

// TestDamage changes each byte of a file in turn: there may be an error, other
// records or none, but no panic. Pages have checksums, so damage to the values
// shows.
func TestDamage(t *testing.T) {
	for name, opts := range map[string][]pq.WriterOption{
		"plain": {pq.MaxRowsPerRowGroup(4)}, "snappy": {pq.MaxRowsPerRowGroup(4), pq.Compression(&pq.Snappy), pq.DataPageVersion(1)},
	} {
		t.Run(name, func(t *testing.T) {
			file := made(t, ticks(5), opts...)
			for at := range file {
				broken := bytes.Clone(file)
				broken[at] ^= [...]byte{0x01, 0x80, 0xff}[at%3]
				_, _, _ = read(t, broken)
			}
		})
	}
}

// TestBadGroup: a row group that is damaged is one bad place, and those behind
// it are read.
func TestBadGroup(t *testing.T) {
	file := made(t, ticks(9), pq.MaxRowsPerRowGroup(3))
	f, err := pq.OpenFile(bytes.NewReader(file), int64(len(file)))
	must(t, err)
	column := &f.Metadata().RowGroups[1].Columns[4].MetaData // prices
	at := int(column.DataPageOffset + column.TotalCompressedSize - 3)
	file[at] ^= 0xff
	src, err := openBytes(t, file, feed.Options{Topic: "T"})
	must(t, err)
	got := rows(t, src)
	if len(got) != 7 || !strings.HasPrefix(got[3].bad, "row group 2, row 4: column price: crc32 checksum mismatch") {
		t.Fatalf("%+v", got)
	}
	if got[4].event != base+6 || got[6].event != base+8 {
		t.Errorf("%+v", got[4:])
	}
}

// TestHostilePage: a page that says it is huge is refused before memory is
// reserved for it.
func TestHostilePage(t *testing.T) {
	for _, tt := range []struct {
		name string
		page []byte // a PageHeader: type, unpacked and packed size, data page head
		want string
	}{
		{"unpacked", []byte{0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0xf, 0x15, 2, 0}, "bytes unpacked; 268435456 are allowed"},
		{"negative", []byte{0x15, 0, 0x15, 1, 0x15, 2, 0}, "it has -1 bytes unpacked"},
		{"packed", []byte{0x15, 0, 0x15, 2, 0x15, 0xfe, 0xff, 0xff, 0xff, 0xf, 0}, "bytes where"},
		{"values", []byte{0x15, 0, 0x15, 2, 0x15, 2, 0x2c, 0x15, 0xfe, 0xff, 0xff, 0xff, 0xf, 0, 0}, "values; 16777216 are allowed"},
		{"not thrift", []byte{0x1d}, "Thrift structure is damaged"},
		{"list", []byte{0x19, 0xfc, 0xff, 0xff, 0xff, 0xff, 0xf}, "Thrift structure is damaged"},
		{"deep", bytes.Repeat([]byte{0x1c}, 100), "Thrift structure is damaged"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			file := made(t, []nested{{T: base, S: strings.Repeat("x", 200)}}, pq.DictionaryMaxBytes(0))
			f, err := pq.OpenFile(bytes.NewReader(file), int64(len(file)))
			must(t, err)
			column := &f.Metadata().RowGroups[0].Columns[1].MetaData
			copy(file[column.DataPageOffset:], tt.page)
			src, err := openBytes(t, file, feed.Options{Columns: "time=t"})
			must(t, err)
			got := rows(t, src)
			if len(got) != 1 || !strings.Contains(got[0].bad, tt.want) || !strings.HasPrefix(got[0].bad, "row group 1: column s: ") {
				t.Errorf("%+v, want %q", got, tt.want)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add(made(f, ticks(3)))
	f.Add(made(f, ticks(9), pq.MaxRowsPerRowGroup(4), pq.Compression(&pq.Snappy), pq.DataPageVersion(1)))
	f.Add(made(f, []everything{{List: []int64{1}}}, pq.Compression(&pq.Zstd)))
	f.Add(made(f, []nested{}))
	f.Fuzz(func(t *testing.T, file []byte) { _, _, _ = read(t, file) })
}

func FuzzThrift(f *testing.F) {
	f.Add([]byte{0x15, 0, 0x15, 2, 0x2c, 0x15, 2, 0, 0x19, 0x28, 1, 'x', 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		w := &thriftWalk{r: bufio.NewReader(bytes.NewReader(b)), left: int64(len(b))}
		if err := w.structure(0, 0); err == nil && w.left < 0 {
			t.Fatalf("%d bytes left", w.left)
		}
	})
}

func TestNextAllocs(t *testing.T) {
	src, err := openBytes(t, made(t, ticks(5000)), feed.Options{})
	must(t, err)
	_, err = src.Next()
	must(t, err)
	// Pages are the library's; within them a row costs nothing.
	if n := testing.AllocsPerRun(3000, func() {
		if _, err := src.Next(); err != nil {
			t.Fatal(err)
		}
	}); n > 0 {
		t.Errorf("%v allocations a row", n)
	}
}

func benchmarkNext(b *testing.B, in func() *feed.Input, size int64) {
	b.SetBytes(size)
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		in := in()
		src, err := Format.Open(b.Context(), in, feed.Options{})
		must(b, err)
		for {
			if _, err := src.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			n++
		}
		must(b, in.Close())
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkNext(b *testing.B) {
	for _, name := range []string{"btcusdt-trades.parquet", "quote_tick_usdjpy_2019_sim_rust.parquet"} {
		b.Run("file="+name, func(b *testing.B) {
			path := testdata.Path(b, "parquet/"+name)
			in, err := feed.OpenInput(b.Context(), path)
			must(b, err)
			size := in.Size()
			must(b, in.Close())
			benchmarkNext(b, func() *feed.Input {
				in, err := feed.OpenInput(b.Context(), path)
				must(b, err)
				return in
			}, size)
		})
	}
	b.Run("file=generated", func(b *testing.B) {
		file := made(b, ticks(1<<17), pq.Compression(&pq.Zstd))
		benchmarkNext(b, func() *feed.Input {
			in, err := feed.NewInput(b.Context(), bytes.NewReader(file), "x.parquet")
			must(b, err)
			return in
		}, int64(len(file)))
	})
}
