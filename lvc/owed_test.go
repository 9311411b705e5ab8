package lvc

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// TestOwed: what the active one has not said that all readers have is kept, however old
// it is: the active one may have been silent for as long, or lag behind this one.
func TestOwed(t *testing.T) {
	const keep = 8 * time.Second
	type told struct{ next, behind int }
	unknown := []Position{{}}
	for name, tc := range map[string]struct {
		after  int // messages, one a second, it says what readers have; before, that it does not know. 0: it says nothing
		told   told
		nobody bool // is connected
		bytes  int64
		first  wire.Seq // that is kept of 100, at least
		want   RingState
	}{
		"it says nothing":   {0, told{}, false, 1 << 30, 90, RingState{Reach: keep}},
		"it is silent":      {30, told{next: 30}, false, 1 << 30, 30, RingState{Reach: keep, Had: 30}},
		"readers lag":       {99, told{next: 20}, false, 1 << 30, 20, RingState{Reach: keep, Had: 20}},
		"nobody wants it":   {30, told{next: 30}, true, 1 << 30, 90, RingState{Missing: 60}},
		"it does not know":  {30, told{}, false, 1 << 30, 0, RingState{}},
		"some are behind":   {30, told{30, 2}, false, 1 << 30, 30, RingState{Reach: keep, Had: 30, Behind: 2}},
		"there is no room":  {30, told{next: 30}, false, 50 << 10, 54, RingState{Had: 30}},
		"all have the rest": {99, told{next: 95}, false, 50 << 10, 95, RingState{Reach: keep}},
	} {
		now := time.Unix(1000, 0)
		g := newRing(keep, tc.bytes, now, make([]Position, 1))
		h := wire.Plain{Epoch: 1, Shards: 1}
		at := []Position{{Epoch: 1}}
		for n := range 100 {
			g.wanted = !tc.nobody
			g.add(now, []byte("T"), &h, make([]byte, 1000))
			h.Seq++
			now = now.Add(time.Second)
			at[0].Next = h.Seq
			switch n + 1 {
			case 1:
				if tc.after > 0 {
					g.drop(now, unknown, 0, at)
				}
			case tc.after:
				have := []Position{{Next: wire.Seq(tc.told.next)}}
				if tc.told.next > 0 {
					have[0].Epoch = 1
				}
				g.drop(now, have, tc.told.behind, at)
			}
		}
		got := g.state(now)
		first := g.begin([]Position{{Epoch: 1, Next: 100}})[0].Next
		if first < tc.first || first > tc.first+2 {
			t.Errorf("%s: it begins at %d, want %d", name, first, tc.first)
		}
		if got.Messages != 100-int(first) {
			t.Errorf("%s: %d messages from %d on", name, got.Messages, first)
		}
		tc.want.Messages, tc.want.Bytes = got.Messages, got.Bytes
		if tc.nobody {
			tc.want.Had = got.Had // the rest went for its age
		}
		if tc.bytes < 1<<30 { // how much fits is not asked here
			tc.want.Short, tc.want.Had, tc.want.Missing = got.Short, got.Had, got.Missing
			lost := uint64(max(int(first)-tc.told.next, 0))
			if lost != got.Missing || got.Short+got.Had != uint64(first) {
				t.Errorf("%s: %+v, and it begins at %d", name, got, first)
			}
		}
		if got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

// TestOwedNotices: notices have their time from when the active one was last heard.
func TestOwedNotices(t *testing.T) {
	now := time.Unix(1000, 0)
	g := newRing(8*time.Second, 1<<20, now, make([]Position, 1))
	g.add(now, []byte("N"), &wire.Plain{Kind: wire.KindNotice}, nil)
	have := []Position{{Epoch: 1, Next: 10}}
	g.drop(now, have, 0, have)
	g.trim(now.Add(time.Hour))
	if st := g.state(now); st.Messages != 1 {
		t.Errorf("%+v, and nobody has heard of the other one", st)
	}
	now = now.Add(9 * time.Second)
	g.drop(now, have, 0, have)
	g.trim(now)
	if st := g.state(now); st.Messages != 0 || st.Bytes != 0 {
		t.Errorf("%+v after their time", st)
	}
}

// TestTakeoverTells: readers hear what they will not get, and so does who operates the
// proxy.
func TestTakeoverTells(t *testing.T) {
	standby := &Standby{Keep: time.Hour, Bytes: 300 << 10}
	p, s := open(t, Config{Standby: standby}), newSource()
	c := clients(t)(p, PairTopic)
	await(t, "it is there", func() bool { return p.Stats().Subscriptions == 1 })
	const records = 1000
	for i := range records {
		s.one(t, p, "A", fmt.Sprintf("%01000d", i))
		if i == 9 {
			p.Confirmed([]Position{{Epoch: s.epoch, Next: 5}}, 3)
		}
	}
	kept := p.Activate(2, "a test")
	f, err := c.s.RecvFrames()
	if err != nil {
		t.Fatal(err)
	}
	var n PairNotice
	if err := json.Unmarshal(f[2], &n); err != nil {
		t.Fatal(err)
	}
	if n.Behind != 3 || n.Missing == 0 || n.Missing != kept.Missing || n.ReachNS != 0 || n.Again != kept.Messages ||
		len(n.Positions) != 1 || n.Positions[0].Epoch != s.epoch || int(n.Positions[0].Next)+n.Again != records || uint64(n.Positions[0].Next) != 5+n.Missing {
		t.Errorf("%s; kept %+v", f[2], kept)
	}
	if st := p.Stats(); st.RingMissing != n.Missing || st.LeftBehind != 3 || st.RingYoung != 1 {
		t.Errorf("%+v", st)
	}
}

// TestYieldedKeeps: one that has become passive keeps everything from then on, until the
// other one says what readers have: what that one has not handed on goes with it.
func TestYieldedKeeps(t *testing.T) {
	for _, untold := range []bool{false, true} {
		p, s := open(t, Config{Standby: &Standby{Keep: 1, Untold: untold}}), newSource()
		clients(t)(p, "A")
		await(t, "it is there", func() bool { return p.Stats().Subscriptions == 1 })
		p.Activate(2, "a test")
		p.Deactivate(3, "a test")
		for i := range 100 {
			s.one(t, p, "A", fmt.Sprint(i))
		}
		kept, _ := p.Passive()
		if !untold && (kept.Messages != 100 || kept.Reach != 0) || untold && (kept.Messages > 50 || kept.Reach != 1) {
			t.Errorf("untold %v: %+v", untold, kept)
		}
	}
}
