package tape

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/formats"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// codecInputs are what the codecs are measured on: a file of the shared data, or
// a specification of generated records.
var codecInputs = []struct{ name, source string }{
	{"esh4", "dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst"},
	{"lean-csv", "csv/lean-equity-tick-spy-20131008_trade.csv"},
	{"deep10", "iex-pcap/DEEP10.pcap.gz"},
	{"synth", "synth:topics=1000,rate=100000,duration=5s,seed=1"},
}

// codecInput is an input as an import has it: records in blocks.
type codecInput struct {
	blocks  [][]byte
	bytes   int
	records int
}

// inputRecords calls each with the records of an input, numbered by topic, and
// returns how large the vendor's file is.
func inputRecords(t testing.TB, source string, each func(f *wire.Fields)) (vendor int64) {
	t.Helper()
	src, vendor := openInput(t, source)
	seq := map[string]uint32{}
	for {
		r, err := src.Next()
		var bad *feed.BadRecord
		switch {
		case errors.Is(err, io.EOF):
			return vendor
		case errors.As(err, &bad):
			continue // DEEP10 ends inside a packet
		case err != nil:
			t.Fatal(err)
		}
		each(&wire.Fields{Topic: r.Topic, Body: r.Body, Event: r.Event, Receive: r.Receive,
			TopicSeq: seq[string(r.Topic)], Kind: r.Kind, Flags: r.Flags})
		seq[string(r.Topic)]++
	}
}

func openInput(t testing.TB, source string) (feed.Source, int64) {
	t.Helper()
	if spec, ok := strings.CutPrefix(source, "synth:"); ok {
		cfg, err := synth.ParseSpec(spec)
		if err != nil {
			t.Fatal(err)
		}
		src, err := synth.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		return src, 0
	}
	path := testdata.Path(t, source)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	in, err := feed.OpenMember(t.Context(), path, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close() })
	src, _, err := formats.Open(t.Context(), in, feed.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return src, info.Size()
}

// inputBlocks cuts an input into blocks as a Writer does.
func inputBlocks(t testing.TB, source string, blockSize int) *codecInput {
	t.Helper()
	in := &codecInput{}
	var block []byte
	cut := func() {
		in.blocks, in.bytes, block = append(in.blocks, block), in.bytes+len(block), nil
	}
	inputRecords(t, source, func(f *wire.Fields) {
		if len(block)+f.EncodedSize() > blockSize {
			cut()
		}
		var err error
		if block, err = wire.AppendRecord(block, f); err != nil {
			t.Fatal(err)
		}
		in.records++
	})
	cut()
	return in
}

// BenchmarkCodec measures ratio and speed of every codec; docs/BENCH.md has the
// table.
func BenchmarkCodec(b *testing.B) {
	for _, input := range codecInputs {
		for _, size := range []int{256 << 10, 1 << 20} {
			b.Run(fmt.Sprintf("input=%s/block=%dKiB", input.name, size>>10), func(b *testing.B) {
				in := inputBlocks(b, input.source, size)
				for _, codec := range codecs[1:] {
					b.Run("codec="+codec.String(), func(b *testing.B) { benchCodec(b, in, codec) })
				}
			})
		}
	}
}

func benchCodec(b *testing.B, in *codecInput, codec Codec) {
	e, err := newEncoder(codec)
	if err != nil {
		b.Fatal(err)
	}
	stored, with := make([][]byte, len(in.blocks)), make([]Codec, len(in.blocks))
	encode := func() (total int) {
		for i, block := range in.blocks {
			stored[i], with[i] = e.encode(stored[i][:0], block, len(block), codec)
			total += len(stored[i])
		}
		return total
	}
	measure := func(b *testing.B, run func()) {
		b.SetBytes(int64(in.bytes))
		b.ReportAllocs()
		start := cpuTime(b)
		for b.Loop() {
			run()
		}
		b.ReportMetric(float64(b.N)*float64(in.bytes)/1e6/(cpuTime(b)-start).Seconds(), "MB/cpu-s")
		b.ReportMetric(float64(b.N)*float64(in.records)/b.Elapsed().Seconds(), "records/s")
		b.ReportMetric(float64(in.bytes)/float64(encode()), "ratio")
	}
	encode()
	b.Run("encode", func(b *testing.B) { measure(b, func() { encode() }) })
	b.Run("decode", func(b *testing.B) {
		var d decoder
		raw := make([]byte, len(in.blocks[0])*2)
		measure(b, func() {
			for i, block := range in.blocks {
				if err := d.decode(raw[:len(block)], stored[i], with[i]); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

// cpuTime is the processor time that the process has used: on a machine that has
// other things to do, the better measure of work.
func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Every codec gives real blocks back, and compression is worth its name.
func TestCodecsOnRealData(t *testing.T) {
	for _, input := range codecInputs[:3] {
		in := inputBlocks(t, input.source, BlockSizeDefault)
		before := in.bytes
		for _, codec := range codecs[1:] {
			e, err := newEncoder(codec)
			if err != nil {
				t.Fatal(err)
			}
			var d decoder
			total := 0
			for _, block := range in.blocks {
				stored, with := e.encode(nil, block, len(block), codec)
				if with != codec {
					t.Errorf("%s: a block is stored as %v, not %v", input.name, with, codec)
				}
				raw := make([]byte, len(block))
				if err := d.decode(raw, stored, with); err != nil || !bytes.Equal(raw, block) {
					t.Fatalf("%s, %v: round trip: %v", input.name, codec, err)
				}
				total += len(stored)
			}
			t.Logf("%s, %v: %d of %d bytes, ratio %.2f", input.name, codec, total, in.bytes, float64(in.bytes)/float64(total))
			// Each codec of the list is for who wants less than the one before takes.
			if total*10 > before*9 {
				t.Errorf("%s, %v: %d bytes, %d with the codec before", input.name, codec, total, before)
			}
			before = total
		}
	}
}

// A tape of columns, all its files together, is smaller than the vendor's own
// compressed file.
func TestColumnsTakeLessThanTheVendorsFile(t *testing.T) {
	for _, input := range []string{"dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst", "iex-pcap/DEEP10.pcap.gz"} {
		testdata.Path(t, input) // skips before there is a writer to close
		dir := filepath.Join(t.TempDir(), "a.tape")
		w, err := Create(dir, Config{Codec: CodecColumns, SyncInterval: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = w.Abort() })
		at := At{Epoch: 1}
		vendor := inputRecords(t, input, func(f *wire.Fields) {
			if err := w.AppendFields(at, f); err != nil {
				t.Fatal(err)
			}
			at.Seq++
			at.Ordinal++
		})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, dir); !r.OK() || r.Records != uint64(at.Seq) {
			t.Errorf("%s: %+v", input, r)
		}
		size := int64(0)
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			size += info.Size()
		}
		t.Logf("%s: tape %d bytes, vendor's file %d", input, size, vendor)
		if size > vendor {
			t.Errorf("%s: the tape has %d bytes, the vendor's file %d", input, size, vendor)
		}
	}
}
