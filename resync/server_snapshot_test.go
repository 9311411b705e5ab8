package resync

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// snapshot receives a whole snapshot of n entries.
func (p *peer) snapshot(id RequestID, n int) {
	p.t.Helper()
	var digest Digest
	for {
		switch h := p.recv(); h.Command {
		case CommandEntries:
			e, err := ParseEntries(p.in.Frame(0), p.in.Frame(1), p.in.Frame(2))
			if err != nil || e.ID != id {
				p.t.Fatalf("entries of %d: %v", e.ID, err)
			}
			digest.Add(e.Count, e.CRC, e.Size())
			first := digest.Records - uint64(e.Count)
			if _, at, ok := e.Next(); !ok || at.From != wire.Seq(first) {
				p.t.Fatalf("entry %d is at %+v", first, at)
			}
		case CommandEnd:
			e, err := ParseEnd(p.in.Frame(0), p.in.Frame(1))
			if err != nil || e.ID != id || e.Digest != digest || digest.Records != uint64(n) || e.Next != 0 {
				p.t.Fatalf("end is %+v, %v; received %+v, want %d entries", e, err, digest, n)
			}
			if len(e.Positions) != 2 || e.Positions[0] != (Span{Epoch: 1, To: 1000}) || e.Positions[1] != (Span{Epoch: 1, Shard: 1, To: 7}) {
				p.t.Fatalf("positions are %+v", e.Positions)
			}
			return
		default:
			p.t.Fatalf("got %v of %d%s", h.Command, h.ID, p.why(h))
		}
	}
}

func snapshotOf(id RequestID, prefixes ...string) *SnapshotRequest {
	return &SnapshotRequest{ID: id, Query: Query{Prefixes: prefixes}, Credit: plenty, Deadline: time.Minute}
}

func TestServerSnapshot(t *testing.T) {
	src := &values{n: 10_000} // about a megabyte
	s, _ := runServer(t, ServerConfig{Snapshots: src, ChunkBytes: 10_000})
	p := newPeer(t, s.Endpoints()[0])
	p.askSnapshot(snapshotOf(1))
	p.snapshot(1, 10_000)
	q := snapshotOf(2, "T")
	q.ChunkBytes = 100_000
	p.askSnapshot(q)
	p.snapshot(2, 10_000)
	q = snapshotOf(3)
	q.Query.Epoch = 7
	p.askSnapshot(q)
	p.wantError(3, CodeUnknownEpoch, AdviceOther)

	// Credit: one message, and no more until there is more.
	q = snapshotOf(4)
	q.Credit = 1
	p.askSnapshot(q)
	p.want(CommandEntries, 4)
	p.send(AppendPing(nil, 4))
	p.want(CommandPong, 4)
	p.send(AppendCancel(nil, 4))
	eventually(func() bool { return s.State().Requests == 0 && src.open.Load() == 0 })
	if c, st := s.Counters(), s.State(); c.Snapshots != 4 || c.Captures != 4 || c.Shared != 0 || c.Ended != 2 || st.Bytes != 0 {
		t.Errorf("%+v, %+v", c, st)
	}
}

func TestServerSnapshotFails(t *testing.T) {
	src := &values{n: 100, broken: errors.New("lost the thread")}
	s, _ := runServer(t, ServerConfig{Snapshots: src})
	p := newPeer(t, s.Endpoints()[0])
	p.askSnapshot(snapshotOf(1))
	if e := p.wantError(1, CodeFailed, AdviceOther); e.Text != "lost the thread" {
		t.Errorf("%+v", e)
	}
	src = &values{n: 100, lie: 1}
	s, _ = runServer(t, ServerConfig{Snapshots: src})
	p = newPeer(t, s.Endpoints()[0])
	p.askSnapshot(snapshotOf(1))
	p.want(CommandEntries, 1) // what was sent is good, but it is not all
	p.wantError(1, CodeFailed, AdviceOther)
}

// TestServerSharesCaptures: those that ask for the same while one is being taken
// share the next one, and nobody is given one that was begun before it asked.
func TestServerSharesCaptures(t *testing.T) {
	begun, let := make(chan struct{}), make(chan struct{})
	src := &values{n: 5000, before: func(context.Context) {
		begun <- struct{}{}
		<-let
	}}
	s, _ := runServer(t, ServerConfig{Snapshots: src, Captures: 1, ChunkBytes: 10_000})
	first := newPeer(t, s.Endpoints()[0])
	first.askSnapshot(snapshotOf(1))
	<-begun
	peers := make([]*peer, 10)
	for i := range peers {
		peers[i] = newPeer(t, s.Endpoints()[0])
		peers[i].askSnapshot(snapshotOf(RequestID(i + 1)))
	}
	other := newPeer(t, s.Endpoints()[0])
	other.askSnapshot(snapshotOf(1, "other"))
	eventually(func() bool { return s.State().Requests == 12 })
	let <- struct{}{}
	first.snapshot(1, 5000)
	for range 2 {
		<-begun
		let <- struct{}{}
	}
	for i, p := range peers {
		p.snapshot(RequestID(i+1), 5000)
	}
	other.snapshot(1, 5000)
	if c := other.counted(s); c.Captures != 3 || c.Shared != 9 {
		t.Errorf("%d captures, %d shared", c.Captures, c.Shared)
	}
	eventually(func() bool { return s.State().Bytes == 0 && src.open.Load() == 0 })
}

// TestServerSnapshotSlowMember: one that takes nothing does not hold up those that
// share its snapshot, and is given up where too much is kept for it.
func TestServerSnapshotSlowMember(t *testing.T) {
	begun, let := make(chan struct{}), make(chan struct{})
	src := &values{n: 50_000, before: func(context.Context) {
		begun <- struct{}{}
		<-let
	}}
	s, _ := runServer(t, ServerConfig{Snapshots: src, Captures: 1, ChunkBytes: 10_000, CaptureBytes: 1 << 20})
	blocker, slow, fast := newPeer(t, s.Endpoints()[0]), newPeer(t, s.Endpoints()[0]), newPeer(t, s.Endpoints()[0])
	blocker.askSnapshot(snapshotOf(1, "x"))
	<-begun
	q := snapshotOf(1)
	q.Credit = 1
	slow.askSnapshot(q)
	fast.askSnapshot(snapshotOf(1))
	eventually(func() bool { return s.Counters().Shared == 1 })
	let <- struct{}{}
	blocker.snapshot(1, 50_000)
	<-begun
	let <- struct{}{}
	fast.snapshot(1, 50_000)
	slow.want(CommandEntries, 1)
	slow.wantError(1, CodeBusy, AdviceRetry)
	eventually(func() bool { return s.State().Bytes == 0 })
}

// TestServerCapturesAreForAll: one client that lets its snapshots lie does not keep
// others from theirs.
func TestServerCapturesAreForAll(t *testing.T) {
	src := &values{n: 50_000}
	s, _ := runServer(t, ServerConfig{Snapshots: src, Captures: 4, ChunkBytes: 10_000})
	hog, p := newPeer(t, s.Endpoints()[0]), newPeer(t, s.Endpoints()[0])
	for i := range RequestID(20) {
		q := snapshotOf(i+1, string(rune('a'+i)))
		q.Credit = 1
		hog.askSnapshot(q)
	}
	hog.want(CommandEntries, 1)
	p.askSnapshot(snapshotOf(1))
	p.snapshot(1, 50_000)
}
