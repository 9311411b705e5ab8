package subscriber

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// begin is the start of a next epoch of the same publisher, and its source.
func (p *source) begin(epoch wire.Epoch) (*wire.SessionStart, source) {
	return &wire.SessionStart{Reason: "seek", PreviousEpoch: p.epoch, PreviousNext: p.next, PreviousHash: p.hash}, source{epoch: epoch}
}

// TestStart: what is missing where a publisher goes from one epoch to the next.
func TestStart(t *testing.T) {
	type result struct {
		tail, head Missing
		counts     counts
		complete   bool // where nothing is sent after it
	}
	// Each case takes its headers; the last of them is the hello that start is of.
	for name, build := range map[string]func(take func(...wire.Header)) *wire.SessionStart{
		"nothing": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			take(p.hello(), p.batch(3, 1))
			start, q := p.begin(8)
			take(q.hello())
			return start
		},
		"the tail": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			take(p.batch(3, 1))
			p.batch(2, 2)
			start, q := p.begin(8)
			take(q.hello())
			return start
		},
		"the head": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			take(p.batch(3, 1))
			start, q := p.begin(8)
			q.batch(4, 1)
			take(q.batch(1, 2), q.hello())
			return start
		},
		"both": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			take(p.batch(3, 1))
			p.batch(2, 2)
			start, q := p.begin(8)
			q.batch(4, 1)
			take(q.heartbeat(), q.hello())
			return start
		},
		"another batch at the tail": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			other := p.batch(3, 1)
			other.CRC++
			take(other)
			start, q := p.begin(8)
			take(q.hello())
			return start
		},
		"fewer than came": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			start, q := p.begin(8)
			take(p.batch(3, 1), q.hello())
			return start
		},
		"an overlap at the tail": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			first := p.batch(3, 1)
			p.batch(1, 2)
			take(first, wire.Header{Epoch: 7, FirstSeq: 2, Count: 2, CRC: 9})
			start, q := p.begin(8)
			take(q.hello())
			return start
		},
		"another epoch before": func(take func(...wire.Header)) *wire.SessionStart {
			p, q := source{epoch: 7}, source{epoch: 8}
			q.batch(5, 1)
			start, r := q.begin(9)
			r.batch(2, 2)
			take(p.batch(3, 1), r.hello())
			return start
		},
		"no start": func(take func(...wire.Header)) *wire.SessionStart {
			p, q := source{epoch: 7}, source{epoch: 8}
			take(p.batch(3, 1), q.hello())
			return nil
		},
		"the first epoch seen": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			p.batch(5, 1)
			start, q := p.begin(8)
			q.batch(2, 1)
			take(q.hello())
			return start
		},
		"after an end": func(take func(...wire.Header)) *wire.SessionStart {
			p := source{epoch: 7}
			take(p.batch(3, 1), p.end())
			p.batch(1, 1)
			start, q := p.begin(8)
			q.batch(1, 1)
			take(q.hello())
			return start
		},
	} {
		want := map[string]result{
			"nothing":                   {counts: counts{records: 3, epochs: 2}, complete: true},
			"the tail":                  {tail: Missing{7, 3, 5}, counts: counts{records: 3, gaps: 1, lost: 2, epochs: 2}, complete: true},
			"the head":                  {head: Missing{8, 0, 4}, counts: counts{records: 4, gaps: 1, lost: 4, epochs: 2}},
			"both":                      {tail: Missing{7, 3, 5}, head: Missing{8, 0, 4}, counts: counts{records: 3, gaps: 2, lost: 6, epochs: 2}},
			"another batch at the tail": {counts: counts{records: 3, epochs: 2, diverged: 1}, complete: true},
			"fewer than came":           {counts: counts{records: 3, epochs: 2, diverged: 1}, complete: true},
			"an overlap at the tail":    {counts: counts{records: 4, dups: 1, epochs: 2}, complete: true},
			"another epoch before":      {counts: counts{records: 3, epochs: 2, broken: 1}},
			"no start":                  {counts: counts{records: 3, epochs: 2, broken: 1}, complete: true},
			"the first epoch seen":      {counts: counts{epochs: 1}},
			"after an end":              {counts: counts{records: 3, epochs: 2}},
		}[name]
		t.Run(name, func(t *testing.T) {
			var s Stream
			start := build(func(headers ...wire.Header) {
				for i := range headers {
					s.Take(&headers[i])
				}
			})
			next := s.Next()
			for again := range 2 {
				tail, head := s.Start(start)
				if again == 1 {
					want.tail, want.head = Missing{}, Missing{}
				}
				if tail != want.tail || head != want.head || countsOf(&s) != want.counts {
					t.Errorf("call %d: tail %v, head %v, %+v\nwant %+v", again, tail, head, countsOf(&s), want)
				}
			}
			if s.Next() != next {
				t.Errorf("next is %d, was %d", s.Next(), next)
			}
			end := wire.Header{Epoch: s.Epoch(), Flags: wire.FlagEnd, FirstSeq: next, Hash: s.hash}
			s.Take(&end)
			if s.Complete() != want.complete {
				t.Errorf("complete %v", s.Complete())
			}
		})
	}
}

// TestStartAccountsForEverything: over a channel that loses and repeats, a reader
// that is there from the first epoch on knows of every record of every epoch whether
// it came, once a hello of the last epoch has come through. No epoch is broken.
func TestStartAccountsForEverything(t *testing.T) {
	headSeen := false
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 5))
		var s Stream
		sent, state := map[wire.Epoch]wire.Seq{}, map[string]int{} // state: 1 delivered, 2 missing
		mark := func(epoch wire.Epoch, from, to wire.Seq, as int) {
			for ; from < to; from++ {
				key := fmt.Sprint(epoch, "/", from)
				if state[key] != 0 {
					t.Fatalf("seed %d: %s was %d and is %d", seed, key, state[key], as)
				}
				state[key] = as
			}
		}
		var known wire.Epoch // whose start was taken in
		var start *wire.SessionStart
		take := func(h wire.Header) {
			step := s.Take(&h)
			mark(h.Epoch, step.GapFrom, step.GapTo, 2)
			if !h.Bare() {
				mark(h.Epoch, h.FirstSeq+wire.Seq(step.Skip), h.Next(), 1)
			}
			if h.Flags == wire.FlagHello && known != h.Epoch {
				known = h.Epoch
				tail, head := s.Start(start)
				mark(tail.Epoch, tail.From, tail.To, 2)
				mark(head.Epoch, head.From, head.To, 2)
				headSeen = headSeen || !head.None()
			}
		}
		p := source{epoch: 100}
		take(p.hello())
		for e := range wire.Epoch(4) {
			if e > 0 {
				start, p = p.begin(100 + e)
			}
			messages := []wire.Header{p.hello()}
			for range r.IntN(20) {
				messages = append(messages, p.batch(1+r.Uint32N(4), r.Uint32()))
				if r.IntN(6) == 0 {
					messages = append(messages, p.hello())
				}
			}
			for _, h := range messages {
				switch r.IntN(5) {
				case 0:
				case 1:
					take(h)
					take(h)
				default:
					take(h)
				}
			}
			take(p.hello()) // the one that a reader asks for
			sent[p.epoch] = p.next
		}
		end := p.end()
		take(end)
		total := wire.Seq(0)
		for _, n := range sent {
			total += n
		}
		if uint64(total) != s.records+s.lost || len(state) != int(total) || s.broken != 0 || s.diverged != 0 {
			t.Fatalf("seed %d: %d records sent, %+v, %d accounted for", seed, total, countsOf(&s), len(state))
		}
		lost := slices.ContainsFunc(keys(state), func(k string) bool { return state[k] == 2 && k[:3] == fmt.Sprint(p.epoch) })
		if s.Complete() == lost {
			t.Fatalf("seed %d: complete %v, records of the last epoch lost: %v", seed, s.Complete(), lost)
		}
	}
	if !headSeen {
		t.Error("no seed lost the beginning of an epoch: the test shows less than it says")
	}
}

func keys(m map[string]int) []string {
	var list []string
	for k := range m {
		list = append(list, k)
	}
	return list
}
