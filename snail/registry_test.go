package snail

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// watched is a Registry at a time that the test sets.
type watched struct {
	*Registry
	t   testing.TB
	now wire.Nanos
}

func newRegistry(t testing.TB, cfg RegistryConfig) *watched {
	t.Helper()
	r, err := NewRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return &watched{r, t, simWall}
}

func (w *watched) join(id wire.ReaderID, name string, shard int, peer string) {
	w.t.Helper()
	if !w.Join(w.now, id, name, shard, peer) {
		w.t.Fatal("refused")
	}
}

func (w *watched) report(id wire.ReaderID, shard int, v Verdict) string {
	return words(w.Report(w.now, id, shard, 700*ms, 3, v))
}

func (w *watched) observe(after time.Duration, shard int, peer string, queued int64, acked uint64) string {
	w.now += wire.Nanos(after)
	return words(w.Observe(w.now, shard, peer, queued, acked))
}

// words is a squawk in short.
func words(s Squawk, ok bool) string {
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s: %v>%v %v on %d", s.Who(), s.Before, s.Verdict, s.Cause, s.Shard)
}

func (w *watched) expect(got, want string) {
	w.t.Helper()
	if got != want {
		w.t.Errorf("%q, want %q", got, want)
	}
}

var alice, bob = wire.ReaderID{1}, wire.ReaderID{2}

// TestRegistryStuck: a connection that takes nothing for 500 ms with bytes queued
// is named, without any help of its reader.
func TestRegistryStuck(t *testing.T) {
	r := newRegistry(t, RegistryConfig{})
	r.join(alice, "alice", 0, "10.0.0.1:1000")
	r.join(bob, "bob", 0, "10.0.0.2:1000")
	at := "10.0.0.1:1000"
	r.expect(r.observe(0, 0, at, 0, 100), "")
	r.expect(r.observe(time.Hour, 0, at, 5000, 100), "") // queued just now
	r.expect(r.observe(400*ms, 0, at, 90_000, 100), "")
	r.expect(r.observe(90*ms, 0, at, 90_000, 101), "") // it moves
	r.expect(r.observe(490*ms, 0, at, 90_000, 101), "")
	r.expect(r.observe(10*ms, 0, at, 90_000, 101), "reader alice at 10.0.0.1:1000: ok>stuck tcp queue on 0")
	r.expect(r.observe(time.Second, 0, at, 99_000, 101), "")
	list := r.List()
	if len(list) != 2 || list[0].Name != "alice" || list[0].Verdict != Stuck || list[0].Connections[0].StalledNs != int64(1500*ms) ||
		list[0].Connections[0].QueuedBytes != 99_000 || list[1].Verdict != OK {
		t.Errorf("%+v", list)
	}
	r.expect(r.observe(time.Second, 0, at, 80_000, 200), "") // it moves again, since now
	r.expect(r.observe(400*ms, 0, at, 80_000, 300), "")
	r.expect(r.observe(550*ms, 0, at, 80_000, 300), "") // and not: from here anew
	r.expect(r.observe(100*ms, 0, at, 0, 80_300), "")
	r.expect(r.observe(990*ms, 0, at, 0, 80_300), "")
	r.expect(r.observe(10*ms, 0, at, 0, 80_300), "reader alice at 10.0.0.1:1000: stuck>ok none on 0")
	if c := r.Counts(); c != (RegistryCounts{}) {
		t.Errorf("%+v", c)
	}
}

// TestRegistryClocksBack: a clock that goes back makes nobody stuck, nor well.
func TestRegistryClockBack(t *testing.T) {
	r := newRegistry(t, RegistryConfig{})
	r.join(alice, "", 0, "a")
	r.expect(r.observe(0, 0, "a", 1, 1), "")
	r.expect(r.observe(-time.Hour, 0, "a", 1, 1), "")
	r.expect(r.observe(400*ms, 0, "a", 1, 1), "")
	r.expect(r.observe(time.Hour+200*ms, 0, "a", 1, 1), "reader a: ok>stuck tcp queue on 0")
}

// TestRegistryReports: what readers say, the worst of their shards.
func TestRegistryReports(t *testing.T) {
	r := newRegistry(t, RegistryConfig{})
	r.join(alice, "alice", 0, "")
	r.join(alice, "alice", 1, "10.0.0.1:2")
	r.join(bob, "bob", 0, "")
	r.expect(r.report(alice, 0, OK), "")
	r.expect(r.report(alice, 0, Lagging), "reader alice: ok>lagging reported on 0")
	r.expect(r.report(alice, 0, Lagging), "")
	r.expect(r.report(alice, 1, Snail), "reader alice at 10.0.0.1:2: lagging>snail reported on 1")
	r.expect(r.report(alice, 0, OK), "")
	r.observe(0, 1, "10.0.0.1:2", 10, 1)
	r.expect(r.observe(time.Second, 1, "10.0.0.1:2", 10, 1), "reader alice at 10.0.0.1:2: snail>stuck tcp queue on 1")
	r.observe(time.Second, 1, "10.0.0.1:2", 0, 2)
	r.expect(r.observe(time.Second, 1, "10.0.0.1:2", 0, 2), "reader alice at 10.0.0.1:2: stuck>snail reported on 1")
	r.expect(r.report(alice, 1, OK), "reader alice: snail>ok none on 0")
	r.expect(r.report(wire.ReaderID{9}, 1, Snail), "")
	r.expect(r.report(bob, 1, Snail), "")
	r.expect(r.report(bob, 0, Verdict(200)), "reader bob: ok>stuck reported on 0")
	if c := r.Counts(); c.Unknown != 2 {
		t.Errorf("%+v", c)
	}
	list := r.List()
	if len(list) != 2 || list[0].LagNs != int64(700*ms) || list[0].Lost != 6 || len(list[0].Connections) != 2 || list[0].Connections[1].Shard != 1 {
		t.Errorf("%+v", list)
	}
}

// TestRegistryJoin: what is learnt of a connection comes piece by piece.
func TestRegistryJoin(t *testing.T) {
	r := newRegistry(t, RegistryConfig{})
	readers := func(want string) {
		t.Helper()
		var got []string
		for _, one := range r.List() {
			var at []string
			for _, c := range one.Connections {
				at = append(at, fmt.Sprint(c.Shard, c.Peer))
			}
			got = append(got, fmt.Sprintf("%s/%.2s%v", one.Name, one.ID, at))
		}
		r.t.Helper()
		r.expect(strings.Join(got, " "), want)
	}
	r.join(wire.ReaderID{}, "", 0, "a:1") // somebody subscribes
	r.observe(0, 0, "a:1", 9, 1)
	r.observe(time.Second, 0, "a:1", 9, 1)
	readers("/[0a:1]")
	r.join(alice, "alice", 0, "a:1") // it is alice
	r.join(wire.ReaderID{}, "", 0, "a:1")
	readers("alice/01[0a:1]")
	if v := r.List()[0].Verdict; v != Stuck {
		t.Errorf("known to be stuck, now %v", v)
	}
	r.join(alice, "", 1, "") // no address on this shard
	readers("alice/01[0a:1 1]")
	r.join(alice, "", 1, "a:2") // now there is
	readers("alice/01[0a:1 1a:2]")
	r.join(alice, "", 0, "a:3") // connected anew: nothing is known of this queue
	readers("alice/01[0a:3 1a:2]")
	if v := r.List()[0].Verdict; v != OK {
		t.Errorf("a new connection is %v", v)
	}
	r.join(bob, "bob", 0, "a:3") // the address is another reader's by now
	readers("alice/01[0 1a:2] bob/02[0a:3]")
	r.join(alice, "", 0, "a:4")
	r.join(wire.ReaderID{}, "", 0, "a:5")
	r.join(alice, "", 0, "a:5") // the connection that came meanwhile is alice's
	readers("alice/01[0a:5 1a:2] bob/02[0a:3]")
	r.expect(words(r.Leave(r.now, alice, 1)), "reader alice at a:5: stuck>ok none on 0")
	r.expect(words(r.LeavePeer(r.now, 0, "a:5")), "")
	r.expect(words(r.LeavePeer(r.now, 0, "a:5")), "")
	readers("bob/02[0a:3]")
	if r.Join(r.now, wire.ReaderID{}, "", 0, "") {
		t.Error("nobody joined")
	}
	r.report(bob, 0, Snail)
	r.expect(words(r.Leave(r.now, bob, 0)), "reader bob at a:3: snail>gone reported on 0")
	readers("")
}

// TestRegistryLeaveOneShard: the verdict is that of the connections that are left.
func TestRegistryLeaveOneShard(t *testing.T) {
	r := newRegistry(t, RegistryConfig{})
	r.join(alice, "alice", 0, "")
	r.join(alice, "alice", 1, "")
	r.report(alice, 1, Snail)
	r.expect(words(r.Leave(r.now, alice, 1)), "reader alice: snail>ok none on 0")
}

// TestRegistryBounds: who does not fit is refused and counted, what they say is
// cut, and a place that is free again is given away.
func TestRegistryBounds(t *testing.T) {
	r := newRegistry(t, RegistryConfig{Connections: 2})
	r.join(alice, strings.Repeat("é", 100), 0, "")
	r.join(wire.ReaderID{}, "", 0, strings.Repeat("x", 1000))
	if r.Join(r.now, bob, "", 0, "b") || r.Counts().Refused != 1 {
		t.Error("a third connection was taken")
	}
	list := r.List()
	if got := list[1].Name; got != strings.Repeat("é", wire.ReaderNameMax/2) {
		t.Errorf("name %q", got)
	}
	if got := len(list[0].Connections[0].Peer); got != peerMax {
		t.Errorf("address of %d bytes", got)
	}
	r.Leave(r.now, alice, 0)
	r.join(bob, "", 0, "b")
	for _, cfg := range []RegistryConfig{{Connections: -1}, {Stall: -1}, {Calm: -1}} {
		if _, err := NewRegistry(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// TestRegistryProperty: whatever happens in whatever order, squawks of a reader
// join up, lists agree with them, and nothing is left when all have gone.
func TestRegistryProperty(t *testing.T) {
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 4))
		r := newRegistry(t, RegistryConfig{Connections: 20})
		last := map[string]Verdict{} // by id
		check := func(s Squawk, ok bool) {
			if !ok || s.Reader == "" {
				return
			}
			if s.Before == s.Verdict {
				t.Fatalf("seed %d: %v", seed, &s)
			}
			last[s.Reader] = s.Verdict
		}
		for range 1000 {
			r.now += wire.Nanos(rng.IntN(int(300 * ms)))
			id, shard := wire.ReaderID{byte(rng.IntN(6))}, rng.IntN(3)
			peer := fmt.Sprintf("p%d", rng.IntN(10))
			if rng.IntN(4) == 0 {
				peer = ""
			}
			switch rng.IntN(8) {
			case 0, 1:
				r.Join(r.now, id, "name", shard, peer)
			case 2:
				check(r.Leave(r.now, id, shard))
			case 3:
				check(r.LeavePeer(r.now, shard, peer))
			case 4:
				check(r.Report(r.now, id, shard, 0, 0, Verdict(rng.IntN(5))))
			default:
				check(r.Observe(r.now, shard, peer, int64(rng.IntN(3)), uint64(rng.IntN(2))))
			}
			connections := 0
			for _, one := range r.List() {
				worst := OK
				for _, c := range one.Connections {
					connections++
					worst = max(worst, c.Verdict)
				}
				if one.Verdict != worst {
					t.Fatalf("seed %d: %+v", seed, one)
				}
			}
			if connections != len(r.lines) || connections > 20 {
				t.Fatalf("seed %d: %d connections are listed, %d known", seed, connections, len(r.lines))
			}
		}
		for _, one := range r.List() {
			for _, c := range one.Connections {
				if c.Peer != "" {
					check(r.LeavePeer(r.now, c.Shard, c.Peer))
					continue
				}
				for i := range byte(6) {
					if hexID(wire.ReaderID{i}) == one.ID {
						check(r.Leave(r.now, wire.ReaderID{i}, c.Shard))
					}
				}
			}
		}
		if len(r.lines) != 0 || len(r.readers) != 0 {
			t.Fatalf("seed %d: %d connections and %d readers are left", seed, len(r.lines), len(r.readers))
		}
		for id, v := range last {
			if v != OK && v != Gone {
				t.Errorf("seed %d: the last word about %s was %v", seed, id, v)
			}
		}
	}
}

// TestRegistryConcurrent is for the race detector.
func TestRegistryConcurrent(t *testing.T) {
	r := newRegistry(t, RegistryConfig{})
	var wg sync.WaitGroup
	for shard := range 4 {
		wg.Go(func() {
			for i := range 500 {
				id, now := wire.ReaderID{byte(1 + i%5)}, simWall+wire.Nanos(i)
				r.Join(now, id, "x", shard, fmt.Sprint(i%7))
				r.Report(now, id, shard, 0, 0, Verdict(i%3))
				r.Observe(now, shard, "3", 1, uint64(i/100))
				if i%50 == 0 {
					r.List()
					r.LeavePeer(now, shard, "3")
				}
			}
		})
	}
	wg.Wait()
}

// TestRegistryAllocs: looking at a connection makes no garbage.
func TestRegistryAllocs(t *testing.T) {
	r := newRegistry(t, RegistryConfig{})
	r.join(alice, "alice", 0, "10.0.0.1:1000")
	acked := uint64(0)
	if n := testing.AllocsPerRun(1000, func() {
		acked++
		r.now += wire.Nanos(ms)
		r.Observe(r.now, 0, "10.0.0.1:1000", 10, acked)
		r.Report(r.now, alice, 0, 0, 0, OK)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
