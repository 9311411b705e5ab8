package pcap

import "math"

// Stream identifies what one run of sequence numbers belongs to: a session, a
// channel, a unit. The protocol chooses the bytes. What the lines A and B of one
// feed carry is one Stream, so the line is no part of it.
type Stream [16]byte

// Span is a range of items of one datagram, from included, to excluded.
type Span struct{ From, To int }

const (
	// reorderMax is how far a line's sequence numbers may go back and still be late
	// or repeated datagrams. Farther back the numbers have started again.
	reorderMax = 1 << 16
	// holesMax bounds the missing ranges that are kept open for late datagrams to
	// fill. Of more the oldest counts as lost for good.
	holesMax = 1024
	// runsMax bounds how many restarts of a stream one line may lag behind another.
	runsMax = 8
	// tracksMax bounds the lines and streams that are followed; beyond it all are
	// forgotten.
	tracksMax = 1 << 16
	// gapsTold is how many gaps are told one by one.
	gapsTold = 10
)

// Sequencer follows the sequence numbers of any number of streams over any number
// of lines. It finds gaps, late and repeated items and numbers that start again,
// and with merge it says which items have come before on another line.
//
// Without merge each line is looked at by itself. With merge the lines of a
// stream fill each other's gaps. A line's numbers have started again where they
// fall to 1 or 0, or back by more than 65,536; each restart of a line begins a
// new run of the stream, in which lines meet again, so a line may lag behind.
type Sequencer struct {
	merge   bool
	lines   map[lineStream]*lineState
	streams map[Stream]*streamState // with merge
	last    *lineState
	lastKey lineStream
	spans   []Span // returned by Admit
	closed  []*run // runs that nothing can change any more, with missing items
	totals  Totals
}

// Totals count what was odd about the sequence numbers, in items.
type Totals struct {
	Repeated uint64 // came before, on the same line or with merge on any
	Late     uint64 // came after items that follow them
	Restarts uint64 // times that numbers started again, on any line
	Gaps     uint64 // ranges still missing
	Missing  uint64 // items in them
}

type lineStream struct {
	stream Stream
	line   uint32
}

// lineState is one stream on one line.
type lineState struct {
	run       *run
	state     *streamState // with merge
	number    uint64       // of run in state
	next      uint64       // after the highest item on this line in this run
	lastSeq   uint64       // of the datagram before
	lastCount int
}

// streamState is one stream over all lines: its latest runs.
type streamState struct {
	runs  []*run
	first uint64 // number of runs[0]
}

// run is what has come of one stream since its numbers began.
type run struct {
	holes  []hole // below next, ascending, not empty
	first  uint64 // the lowest item that has come
	next   uint64 // after the highest
	gaps   uint64 // holes that were given up
	lost   uint64 // items in them
	line   uint32 // without merge
	stream Stream
}

type hole struct{ from, to uint64 }

// NewSequencer returns a Sequencer that has seen nothing.
func NewSequencer(merge bool) *Sequencer {
	return &Sequencer{merge: merge, lines: make(map[lineStream]*lineState), streams: make(map[Stream]*streamState)}
}

// Admit takes in that a datagram on a line carries count items of a stream, the
// first of them numbered seq. A datagram without items says that seq is the next
// number. It returns the items that are to be delivered, borrowed until the next
// call: all without merge, else those that have not come before.
func (q *Sequencer) Admit(line uint32, stream Stream, seq uint64, count int) []Span {
	q.spans = q.spans[:0]
	if count < 0 || seq > math.MaxUint64-uint64(count) {
		return append(q.spans, Span{0, max(count, 0)})
	}
	key := lineStream{stream, line}
	s := q.last
	if s == nil || q.lastKey != key {
		s = q.find(key, seq)
	}
	end := seq + uint64(count)
	if seq < s.next && !(seq == s.lastSeq && count == s.lastCount) && (seq <= 1 || s.next-seq > reorderMax) {
		q.restart(s, key, seq)
	}
	s.lastSeq, s.lastCount = seq, count
	s.next = max(s.next, end)
	if r := s.run; seq == r.next { // as it should be
		r.next = end
		q.spans = append(q.spans, Span{0, count})
	} else {
		q.odd(r, seq, end)
	}
	if !q.merge {
		q.spans = append(q.spans[:0], Span{0, count})
	}
	return q.spans
}

// odd is the rest of Admit, for items that are not the next ones.
func (q *Sequencer) odd(r *run, seq, end uint64) {
	count := end - seq
	fresh := uint64(0)
	take := func(from, to uint64) {
		if from < to {
			q.spans = append(q.spans, Span{int(from - seq), int(to - seq)})
			fresh += to - from
		}
	}
	if seq < r.first && count > 0 {
		take(seq, min(end, r.first))
		if end < r.first {
			r.holes = append(r.holes, hole{})
			copy(r.holes[1:], r.holes)
			r.holes[0] = hole{end, r.first}
		}
		r.first = seq
	}
	for i := 0; i < len(r.holes) && r.holes[i].from < end; i++ {
		if h := r.holes[i]; h.to > seq {
			take(max(h.from, seq), min(h.to, end))
			i += r.fill(i, seq, end)
		}
	}
	q.totals.Late += fresh
	if end > r.next || seq > r.next {
		from := max(seq, r.next)
		take(from, end)
		if seq > r.next {
			r.holes = append(r.holes, hole{r.next, seq})
		}
		r.next = end
	}
	r.bound()
	q.totals.Repeated += count - fresh
}

// fill takes [seq, end) out of hole i and returns by how much the index of the
// holes behind it has changed.
func (r *run) fill(i int, seq, end uint64) int {
	h := r.holes[i]
	left, right := h.from < seq, end < h.to
	switch {
	case left && right:
		r.holes = append(r.holes, hole{})
		copy(r.holes[i+1:], r.holes[i:])
		r.holes[i].to, r.holes[i+1].from = seq, end
		return 1
	case left:
		r.holes[i].to = seq
	case right:
		r.holes[i].from = end
	default:
		r.holes = append(r.holes[:i], r.holes[i+1:]...)
		return -1
	}
	return 0
}

// bound gives the oldest holes up where there are too many.
func (r *run) bound() {
	for len(r.holes) > holesMax {
		r.gaps++
		r.lost += r.holes[0].to - r.holes[0].from
		r.holes = append(r.holes[:0], r.holes[1:]...)
	}
}

// find returns the state of a stream on a line, making it where it is new.
func (q *Sequencer) find(key lineStream, seq uint64) *lineState {
	s := q.lines[key]
	if s == nil {
		if len(q.lines) >= tracksMax {
			q.forget()
		}
		s = &lineState{next: seq, lastSeq: math.MaxUint64}
		if q.merge {
			q.join(s, key, seq)
		} else {
			s.run = newRun(key, seq)
		}
		q.lines[key] = s
	}
	q.last, q.lastKey = s, key
	return s
}

func newRun(key lineStream, seq uint64) *run {
	return &run{first: seq, next: seq, line: key.line, stream: key.stream}
}

// join makes a new line part of the latest run of its stream.
func (q *Sequencer) join(s *lineState, key lineStream, seq uint64) {
	st := q.streams[key.stream]
	if st == nil {
		st = &streamState{runs: []*run{newRun(key, seq)}}
		q.streams[key.stream] = st
	}
	s.state = st
	s.number = st.first + uint64(len(st.runs)) - 1
	s.run = st.runs[len(st.runs)-1]
}

// restart begins the next run of a line, with merge the one that another line
// may have begun already.
func (q *Sequencer) restart(s *lineState, key lineStream, seq uint64) {
	q.totals.Restarts++
	s.next = seq
	if !q.merge {
		q.closeRun(s.run)
		s.run = newRun(key, seq)
		return
	}
	st := s.state
	s.number = max(s.number+1, st.first)
	if s.number == st.first+uint64(len(st.runs)) {
		if len(st.runs) == runsMax {
			q.closeRun(st.runs[0])
			st.runs = append(st.runs[:0], st.runs[1:]...)
			st.first++
		}
		st.runs = append(st.runs, newRun(key, seq))
	}
	s.run = st.runs[s.number-st.first]
}

// closeRun keeps what is to be told about a run.
func (q *Sequencer) closeRun(r *run) {
	gaps, missing := r.missing()
	if gaps == 0 {
		return
	}
	q.totals.Gaps += gaps
	q.totals.Missing += missing
	if len(q.closed) < gapsTold {
		r.holes = r.holes[:min(len(r.holes), gapsTold)]
		q.closed = append(q.closed, r)
	}
}

// missing counts the ranges and the items that have not come.
func (r *run) missing() (gaps, items uint64) {
	gaps, items = r.gaps+uint64(len(r.holes)), r.lost
	for _, h := range r.holes {
		items += h.to - h.from
	}
	return gaps, items
}

// forget drops all state but what is to be told.
func (q *Sequencer) forget() {
	for _, r := range q.open() {
		q.closeRun(r)
	}
	clear(q.lines)
	clear(q.streams)
	q.last = nil
}

// open returns the runs that go on.
func (q *Sequencer) open() []*run {
	var out []*run
	for _, st := range q.streams {
		out = append(out, st.runs...)
	}
	if !q.merge {
		for _, s := range q.lines {
			out = append(out, s.run)
		}
	}
	return out
}
