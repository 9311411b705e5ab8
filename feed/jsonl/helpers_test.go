package jsonl

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// row is a record that a test keeps, or a bad place.
type row struct {
	topic, body    string
	event, receive wire.Nanos
	kind           wire.Kind
	flags          wire.RecordFlags
	bad            string
}

func openText(t testing.TB, text string, opts feed.Options) (feed.Source, error) {
	t.Helper()
	in, err := feed.NewInput(t.Context(), strings.NewReader(text), "some.jsonl")
	must(t, err)
	return Format.Open(t.Context(), in, opts)
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

// remake builds a file from its records and what the detail says.
func remake(list []row, detail map[string]string) string {
	var b strings.Builder
	if detail["bom"] == "yes" {
		b.WriteString(string(byteOrderMark))
	}
	end := map[string]string{"lf": "\n", "crlf": "\r\n"}[detail["line_end"]]
	scale := map[string]int64{"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1}[detail["prefix_unit"]]
	for i, r := range list {
		switch detail["prefix"] {
		case prefixReceive:
			b.WriteString(strconv.FormatInt(int64(r.receive)/scale, 10))
		case prefixTime:
			b.WriteString(strconv.FormatInt(int64(r.event)/scale, 10))
		}
		b.WriteString(detail["separator"])
		b.WriteString(r.body)
		if i < len(list)-1 || detail["final_newline"] == "yes" {
			b.WriteString(end)
		}
	}
	return b.String()
}
