package bench

import (
	"context"
	"fmt"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// seekSeen is what a reader saw of one place. Times are those of the wall clock, ns.
type seekSeen struct {
	Epoch      wire.Epoch `json:"epoch"`
	FirstValue int64      `json:"first_value"` // before the first last value was visited
	LastValue  int64      `json:"last_value"`  // ... after the last one was
	First      int64      `json:"first"`       // before the first record was visited
	Values     uint64     `json:"values"`      // last values
	ValuesSum  uint64     `json:"values_sum"`  // of their sums
	Unmarked   uint64     `json:"unmarked"`    // of them, how many are not marked as such
	FirstSum   uint64     `json:"first_sum"`   // of the first record
	Late       uint64     `json:"late"`        // last values after the first record
}

// recordSum is a sum over a record, but for its mark as a last value.
func recordSum(r wire.Record) uint64 {
	sum := xxhash.Sum64(r.Topic())
	for _, v := range [...]uint64{xxhash.Sum64(r.Body()), uint64(r.Event()), uint64(r.Receive()), uint64(r.TopicSeq()), uint64(r.Kind())} {
		sum = sum*0x9e3779b97f4a7c15 + v
	}
	return sum
}

// seekReader notes when what came of each place, and says so when so many records of
// it have come.
type seekReader struct {
	seekSeen
	records, enough uint64
	said            bool
	say             func(ready) error
}

// HandleBatch implements subscriber.Handler.
func (s *seekReader) HandleBatch(b *wire.Batch, skip uint32) error {
	now := time.Now().UnixNano()
	if b.Epoch != s.Epoch {
		s.seekSeen, s.records, s.said = seekSeen{Epoch: b.Epoch}, 0, false
	}
	values := b.Flags&wire.FlagSnapshotBatch != 0
	w := b.Records()
	for w.Next() {
		if skip > 0 {
			skip--
			continue
		}
		r := w.Record()
		if values {
			s.value(r, now)
			continue
		}
		if s.records++; s.records == 1 {
			s.First, s.FirstSum = now, recordSum(r)
		}
	}
	if values {
		s.LastValue = time.Now().UnixNano()
	}
	if err := w.Err(); err != nil || s.said || s.records < s.enough {
		return err
	}
	s.said = true
	return s.say(ready{Seek: s.seekSeen})
}

func (s *seekReader) value(r wire.Record, now int64) {
	if s.Values++; s.Values == 1 {
		s.FirstValue = now
	}
	s.ValuesSum += recordSum(r)
	if r.Flags()&wire.FlagSnapshot == 0 {
		s.Unmarked++
	}
	if s.records > 0 {
		s.Late++
	}
}

// HandleGap implements subscriber.Handler.
func (*seekReader) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}

// HandleSession implements subscriber.Handler.
func (*seekReader) HandleSession(int, wire.Epoch, *wire.Session) {}

// HandleEnd implements subscriber.Handler.
func (*seekReader) HandleEnd(int, wire.Epoch, bool) {}

// seekSubscriber is a reader of a stream that goes from place to place.
func seekSubscriber(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	sub, err := subscriber.New(subscriber.Config{Endpoints: job.Endpoints, Name: job.Name}, &seekReader{enough: job.Progress, say: say})
	if err != nil {
		return res, err
	}
	if err := say(ready{}); err != nil {
		return res, err
	}
	err = sub.Run(ctx)
	s := sub.Summary()
	return Result{Records: s.Records, Bytes: s.Bytes, Batches: s.Batches, Gaps: s.Gaps, Lost: s.Lost, Epochs: s.Epochs, Complete: s.Complete}, err
}

// check compares what was seen of a place with what the tape has there.
func (s *seekSeen) check(ctx context.Context, t *tape.Tape, at wire.Nanos, values bool) error {
	r := t.Records(tape.ReadConfig{Clock: tape.ClockReceive, From: at})
	defer r.Close()
	if !r.Next() {
		return fmt.Errorf("bench: the tape has nothing there: %w", r.Err())
	}
	if recordSum(r.Record()) != s.FirstSum {
		return fmt.Errorf("bench: the first record is not the one that the tape has there")
	}
	want := seekSeen{}
	if values {
		last, err := t.Last(ctx, tape.LastConfig{At: at - 1, Clock: tape.ClockReceive})
		if err != nil {
			return err
		}
		for last.Next() {
			want.Values++
			want.ValuesSum += recordSum(last.Record())
		}
	}
	if s.Values != want.Values || s.ValuesSum != want.ValuesSum || s.Unmarked+s.Late != 0 {
		return fmt.Errorf("bench: %d last values, %d not marked, %d too late, or not those of the tape, which has %d", s.Values, s.Unmarked, s.Late, want.Values)
	}
	return nil
}
