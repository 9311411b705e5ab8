package parquet

import (
	"bytes"
	"errors"
	"io"
	"testing"

	pq "github.com/parquet-go/parquet-go"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// made writes rows as a Parquet file.
func made[T any](t testing.TB, rows []T, opts ...pq.WriterOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w := pq.NewGenericWriter[T](&b, opts...)
	_, err := w.Write(rows)
	must(t, err)
	must(t, w.Close())
	return b.Bytes()
}

func openBytes(t testing.TB, file []byte, opts feed.Options) (feed.Source, error) {
	t.Helper()
	in, err := feed.NewInput(t.Context(), bytes.NewReader(file), "folder/some.zstd.parquet")
	must(t, err)
	t.Cleanup(func() { must(t, in.Close()) })
	return Format.Open(t.Context(), in, opts)
}

// row is a record that a test keeps, or a bad place.
type row struct {
	topic, body    string
	event, receive wire.Nanos
	kind           wire.Kind
	flags          wire.RecordFlags
	bad            string
}

func rows(t testing.TB, src feed.Source) []row {
	t.Helper()
	var list []row
	for {
		r, err := src.Next()
		if err == io.EOF {
			return list
		}
		var bad *feed.BadRecord
		if errors.As(err, &bad) {
			list = append(list, row{bad: bad.Error()})
			continue
		}
		must(t, err)
		list = append(list, row{topic: string(r.Topic), body: string(r.Body), event: r.Event, receive: r.Receive, kind: r.Kind, flags: r.Flags})
	}
}
