package main

import (
	"context"
	"iter"
	"time"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/wire"
)

// warmth is the last values that a proxy begins with, and where the stream goes on
// behind them.
type warmth struct {
	records []wire.Record
	origins []lvc.Origin
	to      []lvc.Position
}

// values are the last values as lvc takes them.
func (w *warmth) values() iter.Seq2[wire.Record, lvc.Origin] {
	return func(yield func(wire.Record, lvc.Origin) bool) {
		for i, r := range w.records {
			if !yield(r, w.origins[i]) {
				return
			}
		}
	}
}

// start is where the healing goes on.
func (w *warmth) start() (s resync.Start) {
	for _, at := range w.to {
		if at.Epoch != 0 {
			s.Positions = append(s.Positions, resync.Span{Epoch: at.Epoch, Shard: at.Shard, To: at.Next})
		}
	}
	return s
}

// warmWait is how long a server may take to answer whether it has last values: a
// stream that has not begun has none.
const warmWait = 2 * time.Second

// warmUp asks the servers of --resync for the last values as of now, so that a proxy
// that comes late, or comes again, has every topic. nil where nobody has them.
func (f *healFlags) warmUp(ctx context.Context, shards int, out *output) *warmth {
	endpoints, err := endpointList("--resync", f.servers)
	if err != nil {
		return nil // said where the flag was checked
	}
	c, err := resync.NewClient(resync.ClientConfig{Endpoints: endpoints, Attempts: 1, Silence: warmWait})
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Run(ctx)
	}()
	w, err := takeValues(ctx, c, shards)
	cancel()
	<-ended
	if err != nil {
		out.remark("no last values from %s, beginning with what comes: %s", f.servers, withoutPackage(err))
		return nil
	}
	out.remark("%s from %s", count(uint64(len(w.records)), "last value"), f.servers)
	return w
}

func takeValues(ctx context.Context, c *resync.Client, shards int) (*warmth, error) {
	s, err := c.Snapshot(ctx, resync.Query{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	w := &warmth{}
	for {
		r, at, ok := s.Next()
		if !ok {
			break
		}
		w.records = append(w.records, append(wire.Record(nil), r...))
		w.origins = append(w.origins, lvc.Origin{Epoch: at.Epoch, Seq: at.From, Shard: uint16(at.Shard), Shards: uint16(shards)})
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	for _, at := range s.Positions() {
		w.to = append(w.to, lvc.Position{Shard: at.Shard, Epoch: at.Epoch, Next: at.To})
	}
	return w, nil
}
