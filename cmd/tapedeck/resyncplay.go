package main

import (
	"context"

	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/wire"
)

// servePlayer starts to serve what a player has sent; nil where cfg has no
// endpoint.
func (f *serveFlags) servePlayer(cfg resync.ServerConfig, p *replay.Player, out *output) (*refillServer, error) {
	cfg.Refills = endedRefills{refills{p}, playerEnds{p}}
	cfg.Snapshots = playerSnapshots{p}
	return f.serve(cfg, out)
}

// playerEnds knows where epochs of a player have ended: nobody else sends them.
type playerEnds struct{ player *replay.Player }

// End implements resync.Ends.
func (e playerEnds) End(epoch wire.Epoch, shard int) (end wire.Seq, known bool) {
	// Asked first: what has ended by then has its last record among the extents.
	finished := e.player.State().Phase == replay.Finished
	extents := e.player.Extents()
	for _, s := range extents {
		if s.Epoch != epoch {
			continue
		}
		known = finished || epoch != extents[len(extents)-1].Epoch
		if s.Shard == shard {
			end = s.To
		}
	}
	return end, known
}

// playerSnapshots are the last values of what a player has sent.
type playerSnapshots struct{ player *replay.Player }

// Snapshot implements resync.Snapshots.
func (s playerSnapshots) Snapshot(ctx context.Context, q resync.Query) (resync.Snapshot, error) {
	var topics func([]byte) bool
	if set := prefix.New(q.Prefixes); !set.All() {
		topics = set.Match
	}
	values, next, err := s.player.LastValues(ctx, q.At, q.Clock, topics)
	if err != nil {
		return nil, resyncError(err)
	}
	snap := &playerSnapshot{values: values, at: resyncSpans(next)}
	if q.Epoch != 0 && len(next) > 0 && q.Epoch != next[0].Epoch {
		return nil, resync.ErrUnknownEpoch
	}
	return snap, nil
}

// playerSnapshot is a snapshot that was taken from a player. It has bytes of its own.
type playerSnapshot struct {
	values []replay.LastValue
	i      int
	at     []resync.Span
}

// Positions implements resync.Snapshot.
func (s *playerSnapshot) Positions() []resync.Span { return s.at }

// Entries implements resync.Snapshot.
func (s *playerSnapshot) Entries() uint64 { return uint64(len(s.values)) }

// Next implements resync.Snapshot. A player knows records by their place on the
// tape; which sequence one had it does not say, so it names the last one before the
// position.
func (s *playerSnapshot) Next() (wire.Record, resync.Span, bool) {
	if s.i == len(s.values) {
		return nil, resync.Span{}, false
	}
	v := s.values[s.i]
	s.i++
	at := resync.Span{Epoch: s.at[v.Shard].Epoch, Shard: v.Shard}
	if to := s.at[v.Shard].To; to > 0 {
		at.From = to - 1
	}
	return v.Record, at, true
}

// Err implements resync.Snapshot.
func (s *playerSnapshot) Err() error { return nil }

// Close implements resync.Snapshot.
func (s *playerSnapshot) Close() {}
