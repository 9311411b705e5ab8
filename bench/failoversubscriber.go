package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// failoverSubscribers are readers of a pair of players, until the measuring process says
// that it is the end.
func failoverSubscribers(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	f := newFailoverClients(ctx, job.Failover.Readers)
	readers := make([]*pairReader, job.Failover.Readers)
	for i := range readers {
		r := &pairReader{topics: uint64(job.Topics), came: f.came}
		sub, err := subscriber.New(subscriber.Config{
			Endpoints: job.Endpoints[:1], Pair: job.Endpoints[1:], Name: fmt.Sprint("reader ", i), QueueBytes: 16 << 20,
		}, r)
		if err != nil {
			return res, err
		}
		readers[i] = r
		f.add(r)
		f.run(sub.Run)
	}
	if err := say(ready{}); err != nil {
		return res, err
	}
	sent, err := f.serve(job, say)
	if err == nil {
		awaitReached(readers, sent, failoverQuiet)
	}
	if err = errors.Join(err, f.stop()); err != nil {
		return res, err
	}
	for _, r := range readers {
		t, epochs := r.end(sent)
		res.Failover.merge(&t)
		res.Epochs = max(res.Epochs, epochs)
	}
	return res, nil
}

// awaitReached waits until all readers have come as far as was sent, or those that have
// not do not come any further.
func awaitReached(readers []*pairReader, sent uint64, quiet time.Duration) {
	var before uint64
	for since := time.Now(); time.Since(since) < quiet; time.Sleep(time.Millisecond) {
		var sum, short uint64
		for _, r := range readers {
			if reached := r.reached(); reached < sent {
				sum += reached
				short++
			}
		}
		if short == 0 {
			return
		}
		if now := sum + short<<48; now != before {
			before, since = now, time.Now()
		}
	}
}

// reached is how far the reader has come.
func (r *pairReader) reached() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tally.Reached
}

// end returns what the reader found, of so many records that were sent: those behind
// the last one that it has are missing, too.
func (r *pairReader) end(sent uint64) (t failoverTally, epochs uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t = r.tally
	if t.Reached < sent {
		t.Tail = sent - t.Reached
		t.Missing += t.Tail
		t.Holes = strings.TrimLeft(fmt.Sprintf("%s, [%d, %d)", t.Holes, t.Reached, sent), ", ")
	}
	return t, uint64(len(r.epochs))
}

// pairReader takes what a subscriber of a pair of players hands on, and checks that it
// is the tape, record for record.
type pairReader struct {
	topics uint64
	came   chan<- struct{}

	mu     sync.Mutex
	tally  failoverTally
	epochs []epochBegun
	news   failoverNews // the kill that is awaited; Killed 0: none
	first  int64
}

// epochBegun is an epoch, and when its first record was handed on that had not come
// before; monotonic, ns.
type epochBegun struct {
	epoch wire.Epoch
	at    int64
}

// HandleBatch implements subscriber.Handler.
func (r *pairReader) HandleBatch(b *wire.Batch, skip uint32) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.CameTwice += uint64(min(skip, b.Count))
	w := b.Records()
	for w.Next() {
		if skip > 0 {
			skip--
			continue
		}
		rec := w.Record()
		n, ok := topicNumber(rec.Topic())
		number := uint64(rec.TopicSeq())*r.topics + uint64(n)
		switch {
		case !ok:
			r.tally.Wrong++
		case number < r.tally.Reached:
			r.tally.Repeated++
		default:
			if number > r.tally.Reached {
				r.tally.Missing += number - r.tally.Reached
				r.tally.Holes = cmp.Or(r.tally.Holes, fmt.Sprintf("[%d, %d)", r.tally.Reached, number))
			}
			r.tally.Reached = number + 1
			r.tally.Records++
		}
	}
	if skip < b.Count && (len(r.epochs) == 0 || r.epochs[len(r.epochs)-1].epoch != b.Epoch) {
		r.epochs = append(r.epochs, epochBegun{b.Epoch, monotonic()})
		r.look()
	}
	return w.Err()
}

// look looks whether the first record has come that the killed player cannot have
// sent: the first of an epoch that began behind the kill. The lock is held.
func (r *pairReader) look() {
	i := slices.IndexFunc(r.epochs, func(e epochBegun) bool { return e.at > r.news.Killed })
	if r.news.Killed != 0 && r.first == 0 && i >= 0 {
		r.first = r.epochs[i].at - r.news.Killed
		r.came <- struct{}{}
	}
}

// await implements failoverClient.
func (r *pairReader) await(n failoverNews) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.news, r.first = n, 0
	r.look()
}

// saw implements failoverClient. What comes is in order, so what is missing with the
// first record never comes.
func (r *pairReader) saw() (first, whole int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first, r.first
}

// HandleGap implements subscriber.Handler. Gaps show in the numbers of records, too; but
// of these the reader was told.
func (r *pairReader) HandleGap(_ int, _ wire.Epoch, from, to wire.Seq) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tally.Incomplete += uint64(to - from)
}

// HandleSession implements subscriber.Handler.
func (*pairReader) HandleSession(int, wire.Epoch, *wire.Session) {}

// HandleEnd implements subscriber.Handler.
func (*pairReader) HandleEnd(int, wire.Epoch, bool) {}
