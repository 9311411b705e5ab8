package export

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/formats"
	"github.com/tapedeck/tapedeck/wire"
)

// memory is records in memory, each behind the other.
type memory struct {
	data      []byte
	encodings []wire.Encoding
	count     int
}

func (m *memory) add(t testing.TB, f wire.Fields) {
	t.Helper()
	var err error
	if m.data, err = wire.AppendRecord(m.data, &f); err != nil {
		t.Fatal(err)
	}
	m.count++
}

func (m *memory) config() Config {
	return Config{Encodings: m.encodings, Open: func() Records { return &walk{rest: m.data} }}
}

// walk is a walk over records in memory. It ends with err, if that is set, in
// place of the last record.
type walk struct {
	rest []byte
	rec  wire.Record
	err  error
}

func (w *walk) Next() bool {
	if len(w.rest) == 0 {
		return false
	}
	rec, err := wire.ParseRecord(w.rest)
	if err != nil {
		panic(err)
	}
	w.rec, w.rest = rec, w.rest[len(rec):]
	return len(w.rest) > 0 || w.err == nil
}

func (w *walk) Record() wire.Record { return w.rec }
func (w *walk) Err() error          { return w.err }
func (w *walk) Close() error        { return nil }

// importFile reads a file as an import does.
func importFile(t testing.TB, path string, opts feed.Options) *memory {
	t.Helper()
	in, err := feed.OpenInput(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	return importInput(t, in, opts)
}

// importBytes reads a file's content as an import does.
func importBytes(t testing.TB, name string, content []byte, opts feed.Options) *memory {
	t.Helper()
	path := t.TempDir() + "/" + name
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return importFile(t, path, opts)
}

func importInput(t testing.TB, in *feed.Input, opts feed.Options) *memory {
	t.Helper()
	src, _, err := formats.Open(context.Background(), in, opts)
	if err != nil {
		t.Fatal(err)
	}
	return drain(t, src)
}

// drain takes all records of a source.
func drain(t testing.TB, src feed.Source) *memory {
	t.Helper()
	m, seqs := &memory{}, map[string]uint32{}
	for {
		r, err := src.Next()
		if errors.Is(err, io.EOF) {
			m.encodings = []wire.Encoding{src.Encoding()}
			return m
		}
		if err != nil {
			t.Fatal(err)
		}
		m.add(t, wire.Fields{
			Topic: r.Topic, Body: r.Body, Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags,
			TopicSeq: seqs[string(r.Topic)],
		})
		seqs[string(r.Topic)]++
	}
}

// content reads what is inside a file's compression.
func content(t testing.TB, path string) []byte {
	t.Helper()
	in, err := feed.OpenInput(context.Background(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// write writes records and returns the file.
func write(t testing.TB, target string, cfg Config) ([]byte, Report) {
	t.Helper()
	x, err := New(target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	rep, err := x.Write(context.Background(), &out)
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), rep
}
