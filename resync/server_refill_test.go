package resync

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// letGo counts the messages that were let go.
type letGo struct{ n *int }

func (l letGo) Close() { *l.n++ }

// TestRefillRandom: whatever comes back when, and however the source cuts it, what
// is sent is in order, whole, without repetition; not too much is read at once,
// and everything that was read is let go.
func TestRefillRandom(t *testing.T) {
	for seed := range uint64(3000) {
		r := rand.New(rand.NewPCG(seed, 1))
		span := Span{Epoch: 1, From: wire.Seq(r.IntN(100)), To: wire.Seq(200 + r.IntN(2000))}
		has := span.To // of the source
		if r.IntN(3) == 0 {
			has = wire.Seq(r.IntN(int(span.To)))
		}
		open := r.IntN(3) == 0
		if open {
			span.To = Open
		}
		f := newRefill(span)
		most, lanes := 1+r.IntN(60), 1+r.IntN(4)
		type underWay struct {
			l        *lane
			from, to wire.Seq
		}
		var reads []underWay
		made, gone := 0, 0
		next := span.From
		var failed *RequestError
		var now time.Duration
		for range 100_000 {
			if done, fail := f.ended(); done {
				failed = fail
				break
			}
			switch now += time.Duration(r.IntN(5)) * time.Millisecond; r.IntN(3) {
			case 0:
				if l := f.plan(now, lanes); l != nil {
					l.reading = true
					reads = append(reads, underWay{l, l.next, l.to})
				}
				if len(reads) > lanes || len(f.lanes) > lanes {
					t.Fatalf("seed %d: %d reads in %d lanes, want %d", seed, len(reads), len(f.lanes), lanes)
				}
			case 1:
				if len(reads) == 0 {
					continue
				}
				i := r.IntN(len(reads))
				u := reads[i]
				reads = append(reads[:i], reads[i+1:]...)
				if open {
					f.limit(has, true)
				}
				switch {
				case u.from >= has && open:
					f.nothing(u.l)
				case u.from >= has:
					f.lacked(u.l, now, 50*time.Millisecond, &RequestError{Code: CodeNotYet})
				default:
					to := min(u.to, has, u.from+wire.Seq(1+r.IntN(most)))
					h := wire.Header{FirstSeq: u.from, Count: uint32(to - u.from)}
					made++
					f.arrived(u.l, &chunk{message: letGo{&gone}, header: h, size: int(h.Count) * 10}, most*10)
				}
			case 2:
				if c := f.head(); c != nil {
					if c.header.FirstSeq != next {
						t.Fatalf("seed %d: sends from %d, want %d", seed, c.header.FirstSeq, next)
					}
					next = c.header.Next()
					f.sent().message.Close()
				}
			}
		}
		want := min(has, span.To)
		if span.From > want {
			want = span.From
		}
		if next != want || (failed != nil) != (!open && has < span.To) {
			t.Fatalf("seed %d: sent up to %d, %v; want %d; source has %d, asked for %+v", seed, next, failed, want, has, span)
		}
		if !open && failed == nil && len(reads) > 0 {
			t.Fatalf("seed %d: %d reads too many", seed, len(reads))
		}
		f.drop()
		if made != gone || f.bytes != 0 {
			t.Fatalf("seed %d: %d chunks were made and %d let go; %d bytes", seed, made, gone, f.bytes)
		}
	}
}

// TestRefillReadsAtOnce: once it is known how much a read brings, as many lanes as
// wanted are read, each as long as some reads.
func TestRefillReadsAtOnce(t *testing.T) {
	f := newRefill(Span{Epoch: 1, From: 0, To: 10_000})
	first := f.plan(0, 3)
	first.reading = true
	if f.plan(0, 3) != nil {
		t.Error("reads at once before it is known how much a read brings")
	}
	f.arrived(first, &chunk{header: wire.Header{Count: 100}, size: 1000}, 1000)
	var got []Span
	for l := f.plan(0, 3); l != nil; l = f.plan(0, 3) {
		l.reading = true
		got = append(got, Span{From: l.next, To: l.to})
	}
	want := []Span{{From: 100, To: 900}, {From: 900, To: 1700}, {From: 1700, To: 2500}}
	if len(got) != 3 || got[0] != want[0] || got[1] != want[1] || got[2] != want[2] {
		t.Errorf("reads %v, want %v", got, want)
	}
}

func TestRate(t *testing.T) {
	r := newRate(1000)
	if r.wait(0) != 0 {
		t.Error("waits before anything was taken")
	}
	r.take(600) // 100 are there for a burst
	if w := r.wait(0); w < 500*time.Millisecond || w > 510*time.Millisecond {
		t.Errorf("waits %v for 500 bytes at 1000 a second", w)
	}
	if r.wait(400*time.Millisecond) == 0 || r.wait(502*time.Millisecond) != 0 {
		t.Error("does not wait as long as it says")
	}
	// An unused budget is kept for a moment only.
	r.wait(time.Hour)
	r.take(200)
	if r.wait(time.Hour) == 0 {
		t.Error("an hour's budget was kept")
	}
	r.take(-150)
	if r.wait(time.Hour) != 0 {
		t.Error("what was given back is not there")
	}
	// In small steps as much comes in as at once.
	r = newRate(1 << 20)
	r.take(1 << 21)
	now, last := time.Duration(0), time.Duration(0)
	for ; r.wait(now) != 0; now += 300 * time.Microsecond {
		last = now
	}
	if last < 1890*time.Millisecond || last > 1920*time.Millisecond {
		t.Errorf("2 MiB at 1 MiB a second took %v, want 1.9 s", last)
	}
	free := newRate(0)
	free.take(1 << 40)
	if free.wait(0) != 0 {
		t.Error("no bound, and it waits")
	}
}
