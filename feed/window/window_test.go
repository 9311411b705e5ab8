package window

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

const text = "the quick brown fox jumps over the lazy dog"

// TestFill walks through an input with fills and passes of any size, through
// buffers and readers of any size.
func TestFill(t *testing.T) {
	for size := range 20 {
		for step := 1; step < 20; step++ {
			w := New(t.Context(), iotest.HalfReader(strings.NewReader(text)), size)
			var got []byte
			for {
				err := w.Fill(step)
				b := w.Rest()
				if w.Offset() != int64(len(got)) {
					t.Fatalf("offset %d, want %d", w.Offset(), len(got))
				}
				if err != nil {
					if err != io.EOF || len(b) >= step {
						t.Fatalf("size %d, step %d: %v with %d bytes", size, step, err, len(b))
					}
					got = append(got, b...)
					break
				}
				got = append(got, b[:step]...)
				w.Pass(step)
			}
			if string(got) != text {
				t.Fatalf("size %d, step %d: %q", size, step, got)
			}
		}
	}
}

func TestSkip(t *testing.T) {
	w := New(t.Context(), strings.NewReader(text), 5)
	if err := w.Skip(10); err != nil || w.Offset() != 10 {
		t.Fatal(err, w.Offset())
	}
	if err := w.Fill(5); err != nil || string(w.Rest()[:5]) != text[10:15] {
		t.Fatalf("%v, %q", err, w.Rest())
	}
	if err := w.Skip(int64(len(text)) - 10); err != nil || w.Offset() != int64(len(text)) {
		t.Fatal(err, w.Offset())
	}
	if err := w.Skip(1); err != io.EOF {
		t.Fatal(err)
	}
}

// TestGrowth holds that the buffer grows with what comes, not with what is asked
// for.
func TestGrowth(t *testing.T) {
	w := New(t.Context(), strings.NewReader(text), 4)
	if err := w.Fill(1 << 40); err != io.EOF || string(w.Rest()) != text {
		t.Fatalf("%v, %q", err, w.Rest())
	}
	if n := len(w.buf); n > 2*len(text) {
		t.Errorf("buffer of %d bytes for %d", n, len(text))
	}
}

func TestErrors(t *testing.T) {
	failed := errors.New("disk on fire")
	w := New(t.Context(), io.MultiReader(strings.NewReader(text), iotest.ErrReader(failed)), 8)
	if err := w.Fill(len(text)); err != nil || w.Failed() != nil {
		t.Fatal(err, w.Failed())
	}
	if err := w.Fill(len(text) + 1); err != failed || string(w.Rest()) != text || w.Failed() != failed {
		t.Fatalf("%v, %q", err, w.Rest())
	}
	if Ended(failed) || !Ended(io.EOF) || !Ended(io.ErrUnexpectedEOF) {
		t.Error("Ended")
	}
	idle := New(t.Context(), idleReader{}, 8)
	if err := idle.Fill(1); err != io.ErrNoProgress {
		t.Errorf("idle reader: %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(failed)
	stopped := New(ctx, strings.NewReader(text), 8)
	if err := stopped.Fill(1); err != failed {
		t.Errorf("ended context: %v", err)
	}
}

type idleReader struct{}

func (idleReader) Read([]byte) (int, error) { return 0, nil }

func TestFillAllocs(t *testing.T) {
	w := New(t.Context(), endless{}, 1<<10)
	if n := testing.AllocsPerRun(1000, func() {
		if err := w.Fill(100); err != nil {
			t.Fatal(err)
		}
		w.Pass(100)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

func BenchmarkFill(b *testing.B) {
	w := New(b.Context(), endless{}, Size)
	b.SetBytes(100)
	b.ReportAllocs()
	sum := 0
	for b.Loop() {
		if err := w.Fill(100); err != nil {
			b.Fatal(err)
		}
		sum += bytes.IndexByte(w.Rest()[:1], 0)
		w.Pass(100)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}
