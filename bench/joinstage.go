package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/wire"
)

// stage is a server of last values in a process of its own, what feeds it, and the
// readers that stand before it.
type stage struct {
	ctx      context.Context
	source   source
	live     *live
	server   *worker
	standing []*worker
	others   []*worker // joiners

	sent     uint64 // records
	emptyRSS uint64 // of the server before it had a value
}

// newStage starts a server, fills it with a value of each topic, and starts
// readers that take all of what comes from then on.
func newStage(ctx context.Context, server string, topics, size, readers int, job Job) (s *stage, err error) {
	s = &stage{ctx: ctx}
	defer func() {
		if err != nil {
			_ = s.close()
		}
	}()
	if s.source, err = newSource(server); err != nil {
		return s, err
	}
	if s.server, err = startWorker(ctx, Job{Role: server, Endpoints: s.source.Endpoints()}); err != nil {
		return s, err
	}
	if err = s.source.WaitReaders(ctx, 1); err != nil {
		return s, err
	}
	if s.emptyRSS, err = residentBytes(s.server.cmd.Process.Pid); err != nil {
		return s, err
	}
	s.live = newLive(ctx, s.source, topics, size)
	s.live.kind = kindWarm
	if err = s.pour(uint64(topics), nil); err != nil {
		return s, err
	}
	job.Role, job.Endpoints, job.Topics = "plain", s.server.ready.Endpoints, topics
	if s.standing, err = startWorkers(ctx, readers, job); err != nil {
		return s, err
	}
	if err = s.hear(); err != nil {
		return s, err
	}
	// Once more, for those whom the server gave no values of before their time.
	if err = s.pour(uint64(topics), nil); err != nil {
		return s, err
	}
	err = s.hear()
	return s, err
}

// hear waits until each reader that stands has said something.
func (s *stage) hear() error {
	for _, w := range s.standing {
		if err := w.hear(); err != nil {
			return fmt.Errorf("a reader that is to stand: %w", err)
		}
	}
	return nil
}

// pourBatch is how many records a batch has that are sent as fast as they go.
const pourBatch = 512

// pour sends count records as fast as they go; before each batch it asks whether
// there is room.
func (s *stage) pour(count uint64, room func() error) error {
	for sent := uint64(0); sent < count; {
		if room != nil {
			if err := room(); err != nil {
				return err
			}
		}
		now := time.Now().UnixNano()
		n := min(pourBatch, count-sent)
		for range n {
			if err := s.live.emit(now); err != nil {
				return err
			}
		}
		if err := s.live.flush(); err != nil {
			return err
		}
		sent += n
		s.sent += n
	}
	return nil
}

// send sends records of a kind at a rate, in bursts, for a time, and returns how
// late each one left.
func (s *stage) send(kind wire.Kind, rate, tick, seconds float64) (*hdrhistogram.Histogram, error) {
	s.live.kind = kind
	count := uint64(math.Round(rate * seconds))
	s.sent += count
	return openLoop(s.ctx, bursts(rate, uint64(rate/tick)), count, s.live.emit, s.live.flush)
}

// join starts workers of joiners. They wait for their cue.
func (s *stage) join(workers int, role string, orders joinOrders, topics int) error {
	for i := range workers {
		o := orders
		o.Seed = uint64(i)
		o.Count = orders.Count*(i+1)/workers - orders.Count*i/workers
		w, err := startWorker(s.ctx, Job{Role: role, Endpoints: s.server.ready.Endpoints, Topics: topics, Joins: o})
		if err != nil {
			return err
		}
		s.others = append(s.others, w)
	}
	return nil
}

// joined is what joiners found.
type joined struct {
	tally         plainTally
	connect, join *hdrhistogram.Histogram
}

// joiners waits for the joiners' results.
func (s *stage) joiners() (joined, error) {
	j := joined{connect: newHistogram(), join: newHistogram()}
	for len(s.others) > 0 {
		r, err := s.others[0].result()
		s.others = s.others[1:]
		if err != nil {
			return j, fmt.Errorf("joiners: %w", err)
		}
		j.tally.merge(&r.Plain)
		if err := errors.Join(mergeEncoded(j.connect, r.Phases[0]), mergeEncoded(j.join, r.Phases[1])); err != nil {
			return j, err
		}
	}
	return j, nil
}

func mergeEncoded(into *hdrhistogram.Histogram, encoded []byte) error {
	h, err := hdrhistogram.Decode(encoded)
	if err == nil {
		into.Merge(h)
	}
	return err
}

// stood is what the readers found that stood.
type stood struct {
	tally   plainTally
	hists   [phaseCount]*hdrhistogram.Histogram
	seconds float64 // of the last one, from the first measured record to the last
	server  Result
}

// end ends the stream and returns what those found that stood. Each has every
// record that was sent, or says that it lacks some.
func (s *stage) end() (stood, error) {
	f := stood{hists: newPhases().hists}
	want := s.sent * uint64(len(s.standing))
	if err := s.source.End(s.ctx); err != nil {
		return f, err
	}
	for len(s.standing) > 0 {
		r, err := s.standing[0].result()
		s.standing = s.standing[1:]
		if err != nil {
			return f, fmt.Errorf("standing reader: %w", err)
		}
		f.tally.merge(&r.Plain)
		f.seconds = r.Seconds
		for i, h := range f.hists {
			if err := mergeEncoded(h, r.Phases[i]); err != nil {
				return f, err
			}
		}
	}
	// What is missing at the end shows in no sequence.
	f.tally.Missing += want - min(f.tally.Reached, want)
	err := s.server.cue()
	if err == nil {
		f.server, err = s.server.result()
		s.server = nil
	}
	return f, err
}

// close ends what is left of a stage.
func (s *stage) close() error {
	if s.server != nil {
		s.standing = append(s.standing, s.server)
	}
	for _, w := range append(s.standing, s.others...) {
		w.kill()
	}
	if s.source == nil {
		return nil
	}
	return s.source.Close()
}
