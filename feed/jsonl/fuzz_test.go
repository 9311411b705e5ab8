package jsonl

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// FuzzOpen: any text and any map give records or errors, never a panic; records
// are JSON of the text, keep what wire demands of them, and decode.
func FuzzOpen(f *testing.F) {
	f.Add(tradeLine, "", "")
	f.Add(tradeLine, mapOfLine, "")
	f.Add("{\"lastUpdateId\":1}\n{\"e\":\"x\",\"s\":\"a\"}\n{\"s\":\"a\",\"u\":1}\n{\"result\":1}\n{\"stream\":\"!\"}\n{\"stream\":\"@\"}", "", "binance")
	f.Add("\xef\xbb\xbf1\t[1,[2]]\r\n\n2 {\"0\":1}\r", "time=#1:s,receive=1.0:ms,topic=0+1.0", "")
	f.Add("{\"ts\":\"2024-08-08\",\"a\":{\"symbol\":\"x\"}}", "", "")
	f.Fuzz(func(t *testing.T, text, columns, preset string) {
		in, err := feed.NewInput(context.Background(), strings.NewReader(text), "x")
		if err != nil {
			return
		}
		defer in.Close()
		Format.Detect(in.Head)
		src, err := Format.Open(context.Background(), in, feed.Options{Columns: columns, Preset: preset, Topic: "T"})
		if err != nil {
			return
		}
		for {
			r, err := src.Next()
			var bad *feed.BadRecord
			if errors.As(err, &bad) {
				continue
			}
			if err == io.EOF {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(r.Topic) == 0 || len(r.Topic) > wire.TopicSizeMax || len(r.Body) > wire.BodySizeMax {
				t.Fatalf("topic of %d, body of %d bytes", len(r.Topic), len(r.Body))
			}
			if !strings.Contains(text, string(r.Body)) || !json.Valid(r.Body) {
				t.Fatalf("body %q", r.Body)
			}
			if _, err := Decode(nil, src.Encoding(), r.Kind, r.Body); err != nil {
				t.Fatalf("body %q: %v", r.Body, err)
			}
		}
	})
}
