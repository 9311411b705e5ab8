package control

import (
	"context"
	"testing"
)

// BenchmarkHandle is a command from its frames to those of its reply: one that
// changes something, one that reads, and one that is said again.
func BenchmarkHandle(b *testing.B) {
	do := With(func(_ context.Context, _ *Request, args *DeckSeek) (any, error) {
		return DeckResult{DeckState: DeckState{Deck: args.Deck}}, nil
	})
	for _, kind := range []string{"seek", "state", "again"} {
		b.Run("kind="+kind, func(b *testing.B) {
			s := newService(b, ServiceConfig{}, Command{Name: "seek", Do: do}, Command{Name: "state", Repeat: true, Do: do})
			r := request(1, 1, "seek", `{"deck":"es","to":"+10m"}`)
			if kind == "state" {
				r.Command = kind
			}
			b.ReportAllocs()
			for b.Loop() {
				if kind != "again" {
					r.Number++
				}
				frames, err := AppendRequest(nil, r)
				if err != nil {
					b.Fatal(err)
				}
				reply, err := ParseReply(s.Handle(context.Background(), frames).Frames)
				if err != nil || reply.Code != Done {
					b.Fatal(reply, err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commands/s")
		})
	}
}
