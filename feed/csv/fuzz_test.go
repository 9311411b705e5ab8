package csv

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// FuzzOpen: any text and any map give records or errors, never a panic, and the
// records keep what wire demands of them.
func FuzzOpen(f *testing.F) {
	f.Add("time,symbol\n1723109400000,A\n", "", "", "x.csv")
	f.Add("\xef\xbb\xbf\"date\";\"time\"\r\n\"2024-08-08\";\"09:30\"\r\n", "time=date+time,topic=date", "", "")
	f.Add("34200000,1674200,210,Q,2000,0\n", "", "lean-trades", "spy-20131008.csv")
	f.Add("1,60000.1,0.5,7,8,1723109400000,false\n", "", "binance-trades", "BTCUSDT-aggTrades-2024-08.csv")
	f.Add("1,2\n", `time=#1:tod-ms,receive="a""b",kind=9`, "", "12312020")
	f.Fuzz(func(t *testing.T, text, columns, preset, name string) {
		in, err := feed.NewInput(context.Background(), strings.NewReader(text), name)
		if err != nil {
			return
		}
		defer in.Close()
		Detect(in.Head)
		src, err := Open(context.Background(), in, feed.Options{Columns: columns, Preset: preset, Topic: "T"})
		if err != nil {
			return
		}
		for {
			r, err := src.Next()
			var bad *feed.BadRecord
			if errors.As(err, &bad) {
				continue
			}
			if err != nil {
				return
			}
			if len(r.Topic) == 0 || len(r.Topic) > wire.TopicSizeMax || len(r.Body) > wire.BodySizeMax {
				t.Fatalf("topic of %d, body of %d bytes", len(r.Topic), len(r.Body))
			}
			if !strings.Contains(text, string(r.Body)) {
				t.Fatalf("body %q is not in the text", r.Body)
			}
			if _, err := Decode(nil, src.Encoding(), r.Kind, r.Body); err != nil {
				t.Fatalf("body %q: %v", r.Body, err)
			}
		}
	})
}
