package subscriber

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// source makes the headers that a publisher would send on one shard.
type source struct {
	epoch wire.Epoch
	next  wire.Seq
	hash  wire.Hash
}

func (p *source) header(flags wire.HeaderFlags) wire.Header {
	return wire.Header{Epoch: p.epoch, Shards: 1, FirstSeq: p.next, Hash: p.hash, Flags: flags}
}

func (p *source) batch(count, crc uint32) wire.Header {
	h := p.header(0)
	h.Count, h.CRC = count, crc
	p.next += wire.Seq(count)
	p.hash = p.hash.Roll(count, crc)
	return h
}

func (p *source) hello() wire.Header     { return p.header(wire.FlagHello) }
func (p *source) heartbeat() wire.Header { return p.header(wire.FlagHeartbeat) }
func (p *source) end() wire.Header       { return p.header(wire.FlagEnd) }

// counts are a stream's numbers in one comparable value.
type counts struct {
	records, gaps, lost, dups, epochs, broken, diverged uint64
}

func countsOf(s *Stream) counts {
	return counts{s.records, s.gaps, s.lost, s.dups, s.epochs, s.broken, s.diverged}
}

// TestStream walks one shard through everything that can happen to it. Each case
// feeds headers and says what the last of them means and what the stream then is.
func TestStream(t *testing.T) {
	type made struct {
		headers  []wire.Header
		last     Step
		counts   counts
		next     wire.Seq
		ended    bool
		complete bool
	}
	cases := map[string]func() made{
		"whole": func() made {
			p := source{epoch: 7}
			return made{
				headers: []wire.Header{p.hello(), p.batch(3, 1), p.heartbeat(), p.batch(2, 2), p.end()},
				last:    Step{Ended: true}, counts: counts{records: 5, epochs: 1}, next: 5, ended: true, complete: true,
			}
		},
		"empty epoch": func() made {
			p := source{epoch: 7}
			return made{headers: []wire.Header{p.end()}, last: Step{NewEpoch: true, Ended: true}, counts: counts{epochs: 1}, ended: true, complete: true}
		},
		"end marks repeat": func() made {
			p := source{epoch: 7}
			return made{headers: []wire.Header{p.batch(1, 1), p.end(), p.end()}, counts: counts{records: 1, epochs: 1}, next: 1, ended: true, complete: true}
		},
		"gap": func() made {
			p := source{epoch: 7}
			first, _, third := p.batch(3, 1), p.batch(4, 2), p.batch(2, 3)
			return made{headers: []wire.Header{first, third}, last: Step{GapFrom: 3, GapTo: 7}, counts: counts{records: 5, gaps: 1, lost: 4, epochs: 1}, next: 9}
		},
		"a gap keeps the end from being complete": func() made {
			p := source{epoch: 7}
			first, _, third := p.batch(3, 1), p.batch(4, 2), p.batch(2, 3)
			return made{
				headers: []wire.Header{first, third, p.end()}, last: Step{Ended: true},
				counts: counts{records: 5, gaps: 1, lost: 4, epochs: 1}, next: 9, ended: true,
			}
		},
		"heartbeat shows a loss at the tail": func() made {
			p := source{epoch: 7}
			first, _ := p.batch(3, 1), p.batch(4, 2)
			return made{headers: []wire.Header{first, p.heartbeat()}, last: Step{GapFrom: 3, GapTo: 7}, counts: counts{records: 3, gaps: 1, lost: 4, epochs: 1}, next: 7}
		},
		"hello shows a loss": func() made {
			p := source{epoch: 7}
			first, _ := p.batch(3, 1), p.batch(4, 2)
			return made{headers: []wire.Header{first, p.hello()}, last: Step{GapFrom: 3, GapTo: 7}, counts: counts{records: 3, gaps: 1, lost: 4, epochs: 1}, next: 7}
		},
		"end mark shows a loss at the tail": func() made {
			p := source{epoch: 7}
			first, _ := p.batch(3, 1), p.batch(4, 2)
			return made{
				headers: []wire.Header{first, p.end()}, last: Step{GapFrom: 3, GapTo: 7, Ended: true},
				counts: counts{records: 3, gaps: 1, lost: 4, epochs: 1}, next: 7, ended: true,
			}
		},
		"duplicate": func() made {
			p := source{epoch: 7}
			first := p.batch(3, 1)
			return made{headers: []wire.Header{first, first}, last: Step{Skip: 3}, counts: counts{records: 3, dups: 3, epochs: 1}, next: 3}
		},
		"a duplicate does no harm": func() made {
			p := source{epoch: 7}
			first := p.batch(3, 1)
			return made{
				headers: []wire.Header{first, first, p.batch(1, 2), p.end()}, last: Step{Ended: true},
				counts: counts{records: 4, dups: 3, epochs: 1}, next: 4, ended: true, complete: true,
			}
		},
		"partial overlap": func() made {
			p := source{epoch: 7}
			first := p.batch(3, 1)
			return made{
				headers: []wire.Header{first, {Epoch: 7, FirstSeq: 1, Count: 4, CRC: 9}}, last: Step{Skip: 2},
				counts: counts{records: 5, dups: 2, epochs: 1}, next: 5,
			}
		},
		// The hash no longer follows the sender's after a partial overlap: that
		// is known, and no divergence to report.
		"after a partial overlap the hash is the publisher's": func() made {
			p := source{epoch: 7}
			first := p.batch(3, 1)
			p.batch(2, 2)
			return made{
				headers: []wire.Header{first, {Epoch: 7, FirstSeq: 1, Count: 4, CRC: 9}, p.batch(1, 3), p.end()}, last: Step{Ended: true},
				counts: counts{records: 6, dups: 2, epochs: 1}, next: 6, ended: true,
			}
		},
		"old marks say nothing": func() made {
			p := source{epoch: 7}
			beat := p.heartbeat()
			return made{headers: []wire.Header{p.batch(3, 1), beat}, counts: counts{records: 3, epochs: 1}, next: 3}
		},
		"an end mark below what came": func() made {
			p := source{epoch: 7}
			first, end := p.batch(3, 1), p.end()
			return made{headers: []wire.Header{first, p.batch(2, 2), end}, last: Step{Ended: true}, counts: counts{records: 5, epochs: 1}, next: 5, ended: true}
		},
		"hash of the end mark differs": func() made {
			p := source{epoch: 7}
			first := p.batch(3, 1)
			end := p.end()
			end.Hash++
			return made{headers: []wire.Header{first, end}, last: Step{Ended: true}, counts: counts{records: 3, epochs: 1, diverged: 1}, next: 3, ended: true}
		},
		"another batch in a batch's place": func() made {
			p := source{epoch: 7}
			other := p.batch(3, 1)
			other.CRC++
			return made{
				headers: []wire.Header{other, p.batch(1, 2), p.batch(1, 3), p.end()}, last: Step{Ended: true},
				counts: counts{records: 5, epochs: 1, diverged: 1}, next: 5, ended: true,
			}
		},
		"ended early": func() made {
			p := source{epoch: 7}
			return made{
				headers: []wire.Header{p.batch(3, 1), p.header(wire.FlagEnd | wire.FlagEarly)}, last: Step{Ended: true},
				counts: counts{records: 3, epochs: 1}, next: 3, ended: true,
			}
		},
		"joined in the middle": func() made {
			p := source{epoch: 7}
			p.batch(10, 1)
			return made{
				headers: []wire.Header{p.hello(), p.batch(1, 2), p.end()}, last: Step{Ended: true},
				counts: counts{records: 1, epochs: 1}, next: 11, ended: true,
			}
		},
		"joined at a batch": func() made {
			p := source{epoch: 7}
			p.batch(10, 1)
			return made{headers: []wire.Header{p.batch(1, 2)}, last: Step{NewEpoch: true}, counts: counts{records: 1, epochs: 1}, next: 11}
		},
		"new epoch after an end": func() made {
			p, q := source{epoch: 7}, source{epoch: 8}
			return made{
				headers: []wire.Header{p.batch(1, 1), p.end(), q.batch(2, 2)}, last: Step{NewEpoch: true},
				counts: counts{records: 3, epochs: 2}, next: 2,
			}
		},
		"new epoch without an end": func() made {
			p, q := source{epoch: 7}, source{epoch: 8}
			return made{
				headers: []wire.Header{p.batch(1, 1), q.batch(2, 2), q.end()}, last: Step{Ended: true},
				counts: counts{records: 3, epochs: 2, broken: 1}, next: 2, ended: true, complete: true,
			}
		},
		"an epoch that was left is stale": func() made {
			p, q := source{epoch: 7}, source{epoch: 8}
			return made{
				headers: []wire.Header{p.batch(1, 1), q.batch(2, 2), p.batch(4, 3)}, last: Step{Stale: true, Skip: 4},
				counts: counts{records: 3, epochs: 2, broken: 1}, next: 2,
			}
		},
		"records after the end mark": func() made {
			p := source{epoch: 7}
			return made{headers: []wire.Header{p.batch(1, 1), p.end(), p.batch(2, 2)}, counts: counts{records: 3, epochs: 1}, next: 3, ended: true}
		},
		"a gap after the end mark": func() made {
			p := source{epoch: 7}
			first, end, _ := p.batch(1, 1), p.end(), p.batch(2, 2)
			return made{
				headers: []wire.Header{first, end, p.heartbeat()}, last: Step{GapFrom: 1, GapTo: 3},
				counts: counts{records: 1, gaps: 1, lost: 2, epochs: 1}, next: 3, ended: true,
			}
		},
		"another end mark after the end": func() made {
			p := source{epoch: 7}
			first, end := p.batch(1, 1), p.end()
			other := end
			other.Hash++
			return made{headers: []wire.Header{first, end, other}, counts: counts{records: 1, epochs: 1, diverged: 1}, next: 1, ended: true}
		},
	}
	for name, build := range cases {
		t.Run(name, func(t *testing.T) {
			want := build()
			var s Stream
			var last Step
			for i := range want.headers {
				last = s.Take(&want.headers[i])
			}
			if last != want.last {
				t.Errorf("last step %+v, want %+v", last, want.last)
			}
			if got := countsOf(&s); got != want.counts {
				t.Errorf("counted %+v, want %+v", got, want.counts)
			}
			if s.Next() != want.next || s.Ended() != want.ended || s.Complete() != want.complete {
				t.Errorf("next %d, ended %v, complete %v; want %d, %v, %v", s.Next(), s.Ended(), s.Complete(), want.next, want.ended, want.complete)
			}
			if want := want.headers[len(want.headers)-1].Epoch; !last.Stale && s.Epoch() != want {
				t.Errorf("epoch %d, want %d", s.Epoch(), want)
			}
		})
	}
}

// TestStreamForgetsOldEpochs: what is remembered of left epochs is bounded, and
// the latest ones are what is remembered.
func TestStreamForgetsOldEpochs(t *testing.T) {
	var s Stream
	const epochs = leftMax + 5
	for e := wire.Epoch(1); e <= epochs; e++ {
		if step := s.Take(&wire.Header{Epoch: e, Flags: wire.FlagHeartbeat}); !step.NewEpoch {
			t.Fatalf("epoch %d is not new", e)
		}
	}
	for e := wire.Epoch(epochs - leftMax); e < epochs; e++ {
		if step := s.Take(&wire.Header{Epoch: e, Flags: wire.FlagHeartbeat}); !step.Stale {
			t.Errorf("epoch %d, one of the last %d that were left, is not stale", e, leftMax)
		}
	}
}

// model is the naive reader: it keeps every sequence it was given in a list and
// every batch boundary, and knows the whole truth of what was sent.
type model struct {
	epoch     wire.Epoch
	delivered []wire.Seq
	lost      []wire.Seq
	dups      uint64
	start     wire.Seq
	next      wire.Seq
	spoiled   bool // not the same batches as the publisher sent, from the join on
	ended     bool
}

// sent is a header on its way, with what the channel did to it.
type sent struct {
	wire.Header
	forged bool
}

func (m *model) take(h *sent) {
	if h.Epoch != m.epoch {
		*m = model{epoch: h.Epoch, start: h.FirstSeq, next: h.FirstSeq}
	}
	for m.next < h.FirstSeq {
		m.lost = append(m.lost, m.next)
		m.next++
		m.spoiled = true
	}
	for i := range h.Count {
		if seq := h.FirstSeq + wire.Seq(i); seq < m.next {
			m.dups++
		} else {
			m.delivered = append(m.delivered, seq)
			m.next = seq + 1
			m.spoiled = m.spoiled || h.forged || m.ended
		}
	}
	if h.End() && !m.ended {
		m.ended = true
		m.spoiled = m.spoiled || m.next != h.FirstSeq
	}
}

func (m *model) complete() bool { return m.ended && !m.spoiled && m.start == 0 }

// channel gives a seeded path for a publisher's messages: some are lost, some
// come twice, some change places with a later one, some come changed.
func channel(r *rand.Rand, in []wire.Header) []sent {
	var out []sent
	bad := r.IntN(3) // 0: a perfect one
	for _, h := range in {
		s := sent{Header: h}
		if bad == 0 {
			out = append(out, s)
			continue
		}
		switch r.IntN(12) {
		case 0: // lost
		case 1:
			out = append(out, s, s)
		case 2:
			if bad == 2 && h.Count > 0 {
				s.CRC ^= 1 << r.IntN(32)
				s.forged = true
			}
			out = append(out, s)
		case 3:
			out = append(out, s)
			if n := len(out); n > 1 {
				out[n-1], out[n-2] = out[n-2], out[n-1]
			}
		default:
			out = append(out, s)
		}
	}
	return out
}

// session is what one publisher sends on a shard, from hello to its end marks.
func session(r *rand.Rand, epoch wire.Epoch) []wire.Header {
	p := source{epoch: epoch}
	out := []wire.Header{p.hello()}
	for range r.IntN(40) {
		switch r.IntN(8) {
		case 0:
			out = append(out, p.heartbeat())
		case 1:
			out = append(out, p.hello())
		default:
			out = append(out, p.batch(1+r.Uint32N(5), r.Uint32()))
		}
	}
	for range r.IntN(4) {
		out = append(out, p.end())
	}
	if r.IntN(4) == 0 { // joined in the middle
		out = out[r.IntN(len(out)):]
	}
	return out
}

// TestStreamAgainstModel drives the stream and the naive reader with the same
// messages over a bad channel, epoch after epoch. They agree after each message
// on what was delivered, what is missing, what came twice, and whether the epoch
// is complete. Complete is never said of a stream that lacks a record or has a
// changed one.
func TestStreamAgainstModel(t *testing.T) {
	sessions := 3000
	if testing.Short() {
		sessions = 300
	}
	completes := 0
	for seed := range uint64(sessions) {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			var (
				s       Stream
				m       model
				records uint64
			)
			for epoch := range wire.Epoch(3) {
				for i, h := range channel(r, session(r, epoch+1)) {
					step := s.Take(&h.Header)
					before := model{epoch: m.epoch, delivered: slices.Clone(m.delivered), lost: slices.Clone(m.lost)}
					m.take(&h)
					if step.NewEpoch != (before.epoch != m.epoch) {
						t.Fatalf("message %d: new epoch is %v", i, step.NewEpoch)
					}
					if step.NewEpoch {
						before = model{}
					}
					if got, want := int(step.GapTo-step.GapFrom), len(m.lost)-len(before.lost); got != want {
						t.Fatalf("message %d: gap of %d records, want %d", i, got, want)
					}
					delivered := 0
					if !h.Bare() {
						delivered = int(h.Count - step.Skip)
					}
					records += uint64(delivered)
					if want := len(m.delivered) - len(before.delivered); delivered != want {
						t.Fatalf("message %d: %d records to deliver, want %d", i, delivered, want)
					}
					if s.Complete() != m.complete() || s.Ended() != m.ended || s.Next() != m.next {
						t.Fatalf("message %d: complete %v, ended %v, next %d; want %v, %v, %d",
							i, s.Complete(), s.Ended(), s.Next(), m.complete(), m.ended, m.next)
					}
				}
				if s.Complete() {
					completes++
				}
			}
			if s.records != records {
				t.Errorf("%d records counted, %d delivered", s.records, records)
			}
		})
	}
	if completes == 0 {
		t.Error("no session of the test was ever complete: it shows nothing")
	}
}

// TestAllocStream: a header costs no allocation.
func TestAllocStream(t *testing.T) {
	var s Stream
	p := source{epoch: 1}
	allocs := testing.AllocsPerRun(100, func() {
		h := p.batch(3, 4)
		if step := s.Take(&h); step.Skip != 0 {
			t.Fatal("skipped")
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations a header, want 0", allocs)
	}
}
