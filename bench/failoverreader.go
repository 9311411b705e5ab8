package bench

import (
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// failoverReader is a client of both proxies of a pair, as any program could be one: it
// drops what comes twice by the rule of docs/WIRE.md, section 12, and checks what is
// left against what was published.
type failoverReader struct {
	topics uint64
	clock  int64 // by how much records' times are ahead of the monotonic clock, ns

	mu    sync.Mutex
	tally failoverTally
	epoch wire.Epoch // 0: not known yet
	have  once
	told  told
	seen  numbers
	late  *hdrhistogram.Histogram // of what comes first in each read, while no kill is awaited

	sample bool // the next record is the first of a read

	news  failoverNews // the kill that is awaited; Killed 0: none
	first int64
	whole int64
	came  chan<- struct{} // takes one when first is known
}

func newFailoverReader(topics int, clock int64, came chan<- struct{}) *failoverReader {
	return &failoverReader{topics: uint64(topics), clock: clock, late: newHistogram(), came: came}
}

// await implements failoverClient.
func (r *failoverReader) await(n failoverNews) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.news, r.first, r.whole = n, 0, 0
}

// saw implements failoverClient.
func (r *failoverReader) saw() (first, whole int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first, r.whole
}

// begin is called with the lock held before the messages of a read, and returns the
// time.
func (r *failoverReader) begin() int64 {
	r.sample = true
	return monotonic()
}

// message takes a message's entry, at a time. The lock is held.
func (r *failoverReader) message(topic, header, body []byte, now int64) error {
	h, err := wire.ParsePlain(header)
	switch {
	case err != nil:
		return err
	case h.Epoch == 0:
		if string(topic) == pairNotices {
			r.tally.Notices++
		}
		if h.Flags == 0 { // no answer to a subscription
			return r.told.notice(topic, body, r.have.top())
		}
	case h.Flags&wire.PlainSnapshot != 0:
		r.tally.Values++
	default:
		r.record(topic, &h, now)
	}
	return nil
}

// numbersMax bounds the numbers that are kept, so that a wrong one takes no memory: of
// ten hours at 100,000 a second.
const numbersMax = 4_000_000_000

// pairNotices is the topic of notices of a pair of proxies.
const pairNotices = lvc.PairTopic

func (r *failoverReader) record(topic []byte, h *wire.Plain, now int64) {
	if r.epoch == 0 {
		r.epoch = h.Epoch
	}
	switch {
	case h.Epoch != r.epoch:
		r.tally.Foreign++
		return
	case !r.have.take(h.Seq):
		r.tally.CameTwice++
		return
	}
	r.tally.Pieces = max(r.tally.Pieces, len(r.have.ahead))
	n, ok := topicNumber(topic)
	number := uint64(h.TopicSeq)*r.topics + uint64(n)
	switch {
	case !ok || number >= numbersMax:
		r.tally.Wrong++
		return
	case !r.seen.add(number):
		r.tally.Repeated++
		return
	case number != uint64(h.Seq):
		r.tally.Wrong++
		return
	}
	r.tally.Records++
	event := int64(h.Event) - r.clock
	switch {
	case r.news.Killed != 0 && r.whole == 0:
		r.measure(event, now)
	case r.sample:
		_ = r.late.RecordValue(min(max(now-event, 1), latencyMax))
	}
	r.sample = false
}

// measure takes a record that came while a kill is awaited: what was due when the
// killed process was gone, that one has not sent.
func (r *failoverReader) measure(event, now int64) {
	if event <= r.news.Dead {
		return
	}
	if r.first == 0 {
		r.first = now - r.news.Killed
		r.came <- struct{}{}
	}
	if len(r.have.ahead) == 0 {
		r.whole = now - r.news.Killed
	}
}

// end returns what was found, and what is missing of so many records that were sent.
func (r *failoverReader) end(sent uint64) (failoverTally, failoverLoss) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tally, r.told.loss(&r.have, wire.Seq(sent))
}

func (r *failoverReader) records() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tally.Records
}
