package tape

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

func TestNamesComeBack(t *testing.T) {
	for _, c := range codecs {
		if got, err := ParseCodec(c.String()); got != c || err != nil {
			t.Errorf("codec %v: %v, %v", c, got, err)
		}
	}
	for _, c := range []Clock{ClockReceive, ClockEvent, ClockSend} {
		if got, err := ParseClock(c.String()); got != c || err != nil {
			t.Errorf("clock %v: %v, %v", c, got, err)
		}
	}
	for _, s := range []string{"", "lz4", "0"} {
		if _, err := ParseCodec(s); err == nil {
			t.Errorf("codec %q was taken", s)
		}
		if _, err := ParseClock(s); err == nil {
			t.Errorf("clock %q was taken", s)
		}
	}
}

// What a writer learns on the way is in the manifest at once, each thing once,
// and survives appending.
func TestDescribe(t *testing.T) {
	a := Encoding{Format: "dbn", Detail: map[string]string{"version": "3"}}
	b := Encoding{Format: "csv"}
	w, dir := create(t, Config{Encodings: []Encoding{a}, Sources: []string{"one"}, Generator: "g1"})
	if err := w.Describe([]Encoding{a, b}, []string{"one", "two"}); err != nil {
		t.Fatal(err)
	}
	check := func(when, generator string, sources ...string) {
		t.Helper()
		tp := open(t, dir)
		info, err := tp.Info()
		if err != nil || len(tp.Encodings()) != 2 || strings.Join(info.Sources, " ") != strings.Join(sources, " ") || info.Generator != generator || tp.Shards() != 1 {
			t.Errorf("%s: %+v, %v", when, info, err)
		}
	}
	check("while writing", "g1", "one", "two")
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	w, err := OpenAppend(dir, Config{Encodings: []Encoding{b}, Sources: []string{"three"}, Generator: "g2"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	check("after appending", "g2", "one", "two", "three")
	for name, cfg := range map[string]Config{"shards": {Shards: 3}, "id": {ID: ID{1}}, "temporary": {Temporary: true}} {
		if _, err := OpenAppend(dir, cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("append with another %s: %v", name, err)
		}
	}
}

func TestNewerVersionIsRefused(t *testing.T) {
	disk := memTape(t, CodecPlain, 1, 5)
	text := strings.Replace(string(load(t, disk, manifestName)), `"version": 1`, `"version": 2`, 1)
	store(t, disk, manifestName, []byte(text))
	if _, err := OpenFS(disk, memDir); !errors.Is(err, ErrVersion) {
		t.Errorf("open: %v", err)
	}
	if _, err := VerifyFS(context.Background(), disk, memDir, nil); !errors.Is(err, ErrVersion) {
		t.Errorf("verify: %v", err)
	}
	if _, err := RecoverFS(disk, memDir); !errors.Is(err, ErrVersion) {
		t.Errorf("recover: %v", err)
	}
}

func TestVerifyProgressAndCancel(t *testing.T) {
	disk := memTape(t, CodecS2, 2, 500)
	last, size := int64(0), int64(0)
	r, err := VerifyFS(context.Background(), disk, memDir, func(done, total int64) {
		if done < last || done > total {
			t.Errorf("%d after %d of %d", done, last, total)
		}
		last, size = done, total
	})
	if err != nil || size != r.Bytes || size-last > 2*SegmentHeaderSize {
		t.Errorf("ended at %d of %d; %d bytes were read; %v", last, size, r.Bytes, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := VerifyFS(ctx, disk, memDir, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// A record that cannot be encoded costs nothing, however often it comes.
func TestRefusedRecordsHoldNoBlock(t *testing.T) {
	w, dir := create(t, Config{Shards: 4})
	for i := range 1000 {
		if err := w.AppendFields(At{Shard: i % 4, Epoch: 1}, &wire.Fields{}); !errors.Is(err, wire.ErrTopicSize) {
			t.Fatal(err)
		}
	}
	want := write(t, w, newGenerated(4, 1), 100)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	same(t, open(t, dir), want)
}

func TestRecordLargerThanABlockOrSegment(t *testing.T) {
	for _, codec := range codecs {
		w, dir := create(t, Config{BlockSize: 100, SegmentSize: SegmentSizeMin, Codec: codec})
		for i, size := range []int{10, 500, SegmentSizeMin * 2, 7, wire.BodySizeMax, 20} {
			f := wire.Fields{Topic: []byte("T"), Body: make([]byte, size)}
			if err := w.AppendFields(At{Epoch: 1, Seq: wire.Seq(i), Ordinal: wire.Ordinal(i)}, &f); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if r := verify(t, dir); !r.OK() || r.Records != 6 {
			t.Errorf("%v: %+v", codec, r)
		}
	}
}
