package replay_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// smallTape writes a tape of n records on three topics, a second apart.
func smallTape(dir string, n int, codec tape.Codec) (*tape.Tape, error) {
	path := filepath.Join(dir, fmt.Sprintf("small-%v.tape", codec))
	w, err := tape.Create(path, tape.Config{Codec: codec, BlockSize: 4 << 10, SyncInterval: -1})
	if err != nil {
		return nil, err
	}
	seqs := map[string]uint32{}
	for i := range n {
		topic := []string{"A", "B", "C"}[i%3]
		at := wire.Nanos(1_700_000_000_000_000_000 + int64(i)*1e9)
		err := w.AppendFields(tape.At{Epoch: 1, Seq: wire.Seq(i), Ordinal: wire.Ordinal(i)}, &wire.Fields{
			Topic: []byte(topic), Body: fmt.Appendf(nil, "body %d", i), Event: at, Receive: at, TopicSeq: seqs[topic],
		})
		if err != nil {
			return nil, err
		}
		seqs[topic]++
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return tape.Open(path)
}

// A back-test reads a tape without any network: batches come as fast as the loop
// takes them.
func ExamplePlayer_Batches() {
	dir, _ := os.MkdirTemp("", "example-")
	defer os.RemoveAll(dir)
	t, err := smallTape(dir, 9, tape.CodecS2)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()

	p, err := replay.New(replay.Config{Tape: t, Speed: replay.Max, Topics: []string{"B"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	for batch, err := range p.Batches(context.Background()) {
		if err != nil {
			fmt.Println(err)
			return
		}
		for w := batch.Records(); w.Next(); {
			r := w.Record()
			fmt.Printf("%s %s #%d %s\n", r.Receive().Time().Format("15:04:05"), r.Topic(), r.TopicSeq(), r.Body())
		}
	}
	// Output:
	// 22:13:21 B #0 body 1
	// 22:13:24 B #1 body 4
	// 22:13:27 B #2 body 7
}

func TestBatchesGiveTheTape(t *testing.T) {
	for _, codec := range []tape.Codec{tape.CodecPlain, tape.CodecS2, tape.CodecZstd} {
		tp, err := smallTape(t.TempDir(), 5000, codec)
		if err != nil {
			t.Fatal(err)
		}
		defer tp.Close()
		var want []byte
		r := tp.Records(tape.ReadConfig{})
		for r.Next() {
			want = append(want, r.Record()...)
		}
		if err := errors.Join(r.Err(), r.Close()); err != nil {
			t.Fatal(err)
		}
		p, err := replay.New(replay.Config{Tape: tp, Passes: 2})
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		next := wire.Ordinal(0)
		for b, err := range p.Batches(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if b.FirstOrdinal != next {
				t.Fatalf("%v: batch at ordinal %d, want %d", codec, b.FirstOrdinal, next)
			}
			next += wire.Ordinal(b.Count)
			got = append(got, b.Payload...)
		}
		if !bytes.Equal(got, append(want, want...)) {
			t.Errorf("%v: two passes gave %d bytes that are not the tape's %d twice", codec, len(got), len(want))
		}
	}
}

// In this process nobody else would see that a plain block is damaged.
func TestBatchesAreChecked(t *testing.T) {
	dir := t.TempDir()
	tp, err := smallTape(dir, 5000, tape.CodecPlain)
	if err != nil {
		t.Fatal(err)
	}
	at := tp.Block(tp.Blocks()/2).Offset + tape.BlockHeaderSize + 30
	if err := tp.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(dir, "small-plain.tape", "00000000.seg")
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	data[at] ^= 1
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	if tp, err = tape.Open(filepath.Dir(name)); err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	p, err := replay.New(replay.Config{Tape: tp})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range p.Batches(t.Context()) {
		err = e
	}
	var corrupt *tape.CorruptError
	if !errors.As(err, &corrupt) {
		t.Errorf("the last error was %v, want a *tape.CorruptError", err)
	}
}

func TestBatchesCanBeLeft(t *testing.T) {
	tp, err := smallTape(t.TempDir(), 5000, tape.CodecZstd)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	p, err := replay.New(replay.Config{Tape: tp})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range p.Batches(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 3 {
			break
		}
	}
	if n != 3 {
		t.Errorf("%d batches, want 3", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for b, err := range p.Batches(ctx) {
		if b != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v from a context that has ended", b, err)
		}
	}
}
