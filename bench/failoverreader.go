package bench

import (
	"sync"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/wire"
)

// failoverTally is what readers and clients of a pair found, all together.
type failoverTally struct {
	Records   uint64 `json:"records"`    // that were new
	CameTwice uint64 `json:"came_twice"` // and were dropped by epoch, shard and sequence
	Repeated  uint64 `json:"repeated"`   // handed on though the same record had been before
	Wrong     uint64 `json:"wrong"`      // not what was published at their sequence
	Missing   uint64 `json:"missing"`    // never came
	Foreign   uint64 `json:"foreign"`    // of another epoch
	Values    uint64 `json:"values"`     // last values
	Notices   uint64 `json:"notices"`    // by which a server said that it is active or passive
	Pieces    int    `json:"pieces"`     // beyond a hole, the most at once
	Connects  uint64 `json:"connects"`   // connections that were made
}

func (t *failoverTally) merge(o *failoverTally) {
	t.Records += o.Records
	t.CameTwice += o.CameTwice
	t.Repeated += o.Repeated
	t.Wrong += o.Wrong
	t.Missing += o.Missing
	t.Foreign += o.Foreign
	t.Values += o.Values
	t.Notices += o.Notices
	t.Pieces = max(t.Pieces, o.Pieces)
	t.Connects += o.Connects
}

// failoverNews is what the measuring process tells clients of a pair: a kill, or the
// end.
type failoverNews struct {
	Killed int64  `json:"killed,omitempty"` // when the signal was sent; monotonic, ns
	Dead   int64  `json:"dead,omitempty"`   // when the process was gone
	Sent   uint64 `json:"sent,omitempty"`   // at the end: records of all
}

// failoverSeen is what they answer to a kill: when the first record or reply came to
// each that the killed process cannot have sent, and when nothing was missing any more;
// from the kill, ns; 0: not yet.
type failoverSeen struct {
	First []int64 `json:"first,omitempty"`
	Whole []int64 `json:"whole,omitempty"`
}

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

// await has the reader measure a kill.
func (r *failoverReader) await(n failoverNews) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.news, r.first, r.whole = n, 0, 0
}

// begin is called with the lock held before the messages of a read, and returns the
// time.
func (r *failoverReader) begin() int64 {
	r.sample = true
	return monotonic()
}

// message takes a message's entry, at a time. The lock is held.
func (r *failoverReader) message(topic, header []byte, now int64) error {
	h, err := wire.ParsePlain(header)
	switch {
	case err != nil:
		return err
	case h.Epoch == 0:
		if string(topic) == pairNotices {
			r.tally.Notices++
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
const pairNotices = wire.OperatorPrefix + "pair"

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

// end returns what was found, of so many records that were sent.
func (r *failoverReader) end(sent uint64) failoverTally {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tally
	t.Missing = sent - min(t.Records, sent)
	return t
}

func (r *failoverReader) records() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tally.Records
}
