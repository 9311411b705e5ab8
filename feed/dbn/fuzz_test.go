package dbn

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// FuzzSource holds for any input: nothing panics, each record is a record that
// wire can store, each decodes, the source ends, and what was not reported as
// bad comes back byte for byte.
func FuzzSource(f *testing.F) {
	f.Add(slices.Concat(symbolHead(mapping{"A", []dates{{20240102, 20240103, "7"}}}), trade(7, day0, day0)), "", "")
	f.Add(slices.Concat(head{version: 1, dataset: "D", stypeOut: 1, mappings: []mapping{{"7", []dates{{20240102, 20240103, "A"}}}}}.bytes(),
		mappingV1Record(7, "A", "B")), "", "p")
	f.Add(slices.Concat(mappingV2Record(7, 1, "A", 1, "B"), definition(520, 7, "C"), []byte{0, 1, 2}, trade(1, day0, day0)), "D", "")
	for rtype, list := range sizes {
		f.Add(patterned(rtype, list[0]), "", "")
	}
	f.Fuzz(func(t *testing.T, in []byte, dataset, prefix string) {
		Format.Detect(in)
		src, err := Format.Open(t.Context(), input(in), feed.Options{Dataset: dataset, Topic: prefix})
		if err != nil {
			return
		}
		out, err := Head(src.Encoding())
		if err != nil {
			t.Fatal(err)
		}
		var store []byte
		for left := len(in) + 1; ; left-- {
			if left == 0 {
				t.Fatal("more records and errors than bytes")
			}
			r, err := src.Next()
			var bad *feed.BadRecord
			if errors.As(err, &bad) {
				out = nil
				in = nil
				left = max(left, 1<<20)
				continue
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				return
			}
			if store, err = wire.AppendRecord(store[:0], &wire.Fields{Topic: r.Topic, Body: r.Body,
				Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}); err != nil {
				t.Fatal(err)
			}
			if _, err := Format.Decode(nil, src.Encoding(), r.Kind, r.Body); err != nil {
				t.Fatal(err)
			}
			if in != nil {
				out = append(out, r.Body...)
			}
		}
		if in != nil && !bytes.Equal(out, in) {
			t.Fatalf("head and bodies are %x, the input %x", out, in)
		}
	})
}

// FuzzDecode holds that any body decodes or is refused with ErrBody.
func FuzzDecode(f *testing.F) {
	for rtype, list := range sizes {
		for _, size := range list {
			f.Add(patterned(rtype, size))
			f.Add(patterned(rtype, size+tsOutSize))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if _, err := Format.Decode(nil, feed.Encoding{}, 0, body); err != nil && !errors.Is(err, ErrBody) {
			t.Fatal(err)
		}
	})
}
