package sim

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/lvc"
)

// snapshots takes snapshots of the proxy now and then, as whoever joins by one does. It
// holds property 2 of them: a snapshot is the last values as of one moment, with where the
// shards were, however long it is read.
func (x *lvcProxy) snapshots() {
	w := x.run.w
	for {
		x.p.Sleep(w.Between(0, 3*time.Second), nil)
		l := x.life
		prefix := one(w, "", "A", "B")
		want, at := l.values(prefix), l.positions()
		s := l.proxy.Snapshot(prefix)
		if w.bug == bugLVCSnapshot {
			clear(want)
		}
		if got := s.Positions(); !slices.Equal(got, at) {
			w.Fail("%s: a snapshot says that the shards are at %v, and they are at %v", x.p.name, got, at)
		}
		n := 0
		for r, from, ok := s.Next(); ok; r, from, ok = s.Next() {
			number := x.run.sent[healShard{from.Epoch, int(from.Shard)}][from.Seq]
			if have, known := want[string(r.Topic())]; !known || have != number || binary.LittleEndian.Uint64(r.Body()) != uint64(number) {
				w.Fail("%s: a snapshot has record %d of %s, and not %d", x.p.name, number, r.Topic(), have)
			}
			if n++; w.Chance(0.01) {
				x.p.Sleep(w.Between(0, 200*time.Millisecond), nil)
			}
		}
		if err := s.Err(); err != nil || n != len(want) || s.Entries() != uint64(n) {
			w.Fail("%s: a snapshot of %d of %d values (%d it says): %v", x.p.name, n, len(want), s.Entries(), err)
		}
		s.Close()
	}
}

// values are the numbers of the last values that the proxy has now, by topic.
func (l *lvcLife) values(prefix string) map[string]int {
	values := map[string]int{}
	for _, e := range l.log {
		if e.record < 0 {
			continue
		}
		switch rec := &l.x.run.records[e.record]; {
		case !strings.HasPrefix(rec.topic, prefix):
		case rec.gone:
			delete(values, rec.topic)
		default:
			values[rec.topic] = e.record
		}
	}
	return values
}

// positions is up to where it was given the shards.
func (l *lvcLife) positions() []lvc.Position {
	list := make([]lvc.Position, len(l.parts))
	for i, p := range l.parts {
		list[i] = lvc.Position{Shard: i, Epoch: p.epoch, Next: p.next}
	}
	return list
}
