package sim

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// lvcView compares what comes over a connection with what the proxy at its other end was
// given, for the topics with the reader's prefix.
type lvcView struct {
	link       *lvcLink
	begun      int // the connection was made before log[begun] came
	answered   bool
	joined     bool           // before the latest answer: what that one leaves out counts
	pos        int            // what came before log[pos] was sent, or need not be
	state      map[string]int // last values before log[pos]
	answer     map[string]int // the latest one, while nothing has come behind it
	gaps       []lvc.GapNotice
	incomplete bool // the latest answer says so
}

// take takes a message. It holds properties 1 to 3.
func (v *lvcView) take(m [][]byte) {
	d := v.link.d
	w := d.run.w
	if len(m)%3 != 0 {
		w.Fail("%s is sent a message of %d frames", d.p.name, len(m))
	}
	var answer []int
	incomplete := false
	for i := 0; i < len(m); i += 3 {
		topic := string(m[i])
		h, err := wire.ParsePlain(m[i+1])
		if err != nil {
			w.Fail("%s is sent a header that is refused: %v", d.p.name, err)
		}
		last := i == len(m)-3
		switch {
		case h.Flags&wire.PlainSnapshot == 0 && h.Shards == 0:
			v.notice(topic, m[i+2])
			return
		case h.Flags&wire.PlainSnapshot == 0:
			v.record(v.number(topic, &h, m[i+2]))
			return
		case (h.Flags&wire.PlainLast != 0) != last || int(h.Place) != i/3:
			w.Fail("%s: entry %d of an answer of %d says that it is number %d, flags %x", d.p.name, i/3, len(m)/3, h.Place, h.Flags)
		case h.Flags&wire.PlainEmpty != 0 && topic == wire.OperatorPrefix && d.prefix != topic:
			return // there are no last values of notices
		}
		incomplete = h.Flags&wire.PlainIncomplete != 0
		if h.Flags&wire.PlainEmpty == 0 {
			answer = append(answer, v.number(topic, &h, m[i+2]))
		} else if topic != d.prefix {
			w.Fail("%s: an answer to %q, which it has not subscribed to", d.p.name, topic)
		}
	}
	v.answers(answer, incomplete)
}

// number finds a record that was sent.
func (v *lvcView) number(topic string, h *wire.Plain, body []byte) int {
	d := v.link.d
	r := d.run
	list := r.sent[healShard{h.Epoch, int(h.Shard)}]
	if h.Seq >= wire.Seq(len(list)) {
		r.w.Fail("%s: sequence %d of epoch %d was never sent", d.p.name, h.Seq, h.Epoch)
	}
	number := list[h.Seq]
	rec := &r.records[number]
	same := rec.gone && h.Kind == wire.KindDelete || !rec.gone && len(body) >= 8 && binary.LittleEndian.Uint64(body) == uint64(number)
	if !same || rec.topic != topic || rec.topicSeq != h.TopicSeq {
		r.w.Fail("%s: sequence %d of epoch %d is another record", d.p.name, h.Seq, h.Epoch)
	}
	if !strings.HasPrefix(topic, d.prefix) {
		r.w.Fail("%s is sent a record of %s", d.p.name, topic)
	}
	return number
}

// notice takes what the proxy says of itself.
func (v *lvcView) notice(topic string, body []byte) {
	d := v.link.d
	if !d.notices {
		d.run.w.Fail("%s is sent %s", d.p.name, topic)
	}
	if topic == lvc.GapTopic {
		var n lvc.GapNotice
		if err := json.NewDecoder(bytes.NewReader(body)).Decode(&n); err != nil {
			d.run.w.Fail("%s: %s: %v", d.p.name, topic, err)
		}
		v.gaps = append(v.gaps, n)
	}
}

// step goes on to behind log[at], and reports what of it the reader wants: a record's
// number, or below 0 nothing.
func (v *lvcView) step() int {
	e := &v.link.life.log[v.pos]
	v.pos++
	if e.record < 0 {
		return -1
	}
	rec := &v.link.d.run.records[e.record]
	if !strings.HasPrefix(rec.topic, v.link.d.prefix) {
		return -1
	}
	if rec.gone {
		delete(v.state, rec.topic)
	} else {
		v.state[rec.topic] = e.record
	}
	return e.record
}

// record takes a live record.
func (v *lvcView) record(number int) {
	d, l := v.link.d, v.link.life
	w := d.run.w
	at, given := l.place[number]
	switch {
	case !given:
		w.Fail("%s: %s sends record %d, which it was not given", d.p.name, l.x.p.name, number)
	case at < v.pos:
		w.Fail("%s: %s sends record %d again, or late", d.p.name, l.x.p.name, number)
	case !l.active(at) && !l.again(at):
		w.Fail("%s: %s sends record %d, and is passive", d.p.name, l.x.p.name, number)
	case !v.answered && l.active(at):
		w.Fail("%s: %s sends record %d before it answers", d.p.name, l.x.p.name, number)
	}
	begun := !l.active(at) && v.pos <= l.since(at) // the first of those that are sent again
	if v.answer != nil {
		v.settle(at)
	}
	for v.pos < at {
		from := v.pos
		if !l.active(from) {
			// Of what came while the proxy was passive, all readers may have the beginning.
			if n := v.step(); n >= 0 && !begun && l.since(from) == l.since(at) {
				w.Fail("%s: %s sends record %d, where %d comes next", d.p.name, l.x.p.name, number, n)
			}
			continue
		}
		if e := &l.log[from]; e.record < 0 && d.notices && v.answer == nil && l.active(at) && !slices.Contains(v.gaps, e.gap) {
			w.Fail("%s: %s sends record %d and has not told of the gap %+v before it", d.p.name, l.x.p.name, number, e.gap)
		}
		if n := v.step(); n >= 0 {
			if l.active(at) {
				w.Fail("%s: %s sends record %d, where %d comes next", d.p.name, l.x.p.name, number, n)
			}
			v.skip([]int{n})
		}
	}
	v.step()
	v.answer, v.joined = nil, v.answered
	d.handle(number)
}

// skip counts records that the proxy was active for, and that were left out.
func (v *lvcView) skip(numbers []int) {
	l := v.link.life
	if !v.joined || len(numbers) == 0 {
		return
	}
	l.skips += uint64(len(numbers))
	if n := l.dropped(); l.skips > n {
		l.x.run.w.Fail("%s: %s leaves record %d out, and has counted %d as dropped", v.link.d.p.name, l.x.p.name, numbers[0], n)
	}
}

// answers takes an answer: it is what the proxy had at one moment, from now on.
func (v *lvcView) answers(list []int, incomplete bool) {
	d, l := v.link.d, v.link.life
	v.answer, v.incomplete = map[string]int{}, incomplete
	for _, n := range list {
		v.answer[d.run.records[n].topic] = n
	}
	if len(v.answer) != len(list) {
		d.run.w.Fail("%s: an answer has a topic twice", d.p.name)
	}
	begun := v.pos
	v.joined = v.answered
	skipped, ok := v.seek(len(l.log))
	if !ok {
		d.run.w.Fail("%s: what %s answers (%d values, incomplete: %v) it had at no time at which it was active, from %d of %d on",
			d.p.name, l.x.p.name, len(list), incomplete, begun, len(l.log))
	}
	v.skip(skipped)
	v.answered = true
	if d.base == nil && l.ledSince(d.torn, v.pos) {
		d.base = &lvcBase{v, v.pos}
	}
	for _, n := range list {
		d.value(n)
	}
}

// settle looks for a later moment before log[end] at which the latest answer was right,
// where something lies between: values that come and go leave what there was before.
func (v *lvcView) settle(end int) {
	for {
		pos, state := v.pos, maps.Clone(v.state)
		var skipped []int
		for v.pos < end && len(skipped) == 0 {
			active := v.link.life.active(v.pos)
			if n := v.step(); n >= 0 && active {
				skipped = append(skipped, n)
			}
		}
		more, ok := v.seek(end)
		if len(skipped) == 0 || !ok {
			v.pos, v.state = pos, state
			return
		}
		v.skip(append(skipped, more...))
		if b := v.link.d.base; b != nil && b.view == v {
			b.at = v.pos
		}
	}
}

// seek goes on to the next moment, up to log[end], at which the answer was right and the
// proxy active, and returns what it was active for and that was left out.
func (v *lvcView) seek(end int) (skipped []int, ok bool) {
	l := v.link.life
	differ := 0
	for topic := range v.answer {
		if !v.right(topic) {
			differ++
		}
	}
	for topic := range v.state {
		if _, ok := v.answer[topic]; !ok {
			differ++
		}
	}
	for differ != 0 || v.pos < v.begun || !l.answers(v.pos) || l.whole(v.pos) == v.incomplete {
		if v.pos >= end {
			return nil, false
		}
		topic, was, active := "", false, l.active(v.pos)
		if e := &l.log[v.pos]; e.record >= 0 {
			topic = v.link.d.run.records[e.record].topic
			was = v.right(topic)
		}
		n := v.step()
		if n < 0 {
			continue
		}
		if active {
			skipped = append(skipped, n)
		}
		if is := v.right(topic); was && !is {
			differ++
		} else if is && !was {
			differ--
		}
	}
	return skipped, true
}

// right reports whether the answer has of a topic what the proxy had.
func (v *lvcView) right(topic string) bool {
	have, ok := v.state[topic]
	n, answered := v.answer[topic]
	return ok == answered && have == n
}
