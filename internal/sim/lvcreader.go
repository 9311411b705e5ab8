package sim

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/wire"
)

// lvcReader is a process with a SUB socket that is connected to both proxies: it takes
// part in ZMTP as libzmq does, and drops what comes twice as docs/WIRE.md says.
type lvcReader struct {
	run     *lvcRun
	p       *Process
	prefix  string
	notices bool // it has subscribed to these, too
	old     bool // it speaks ZMTP 3.0, which has no pings
	window  int
	queue   int           // messages of a connection that wait for it at most
	work    time.Duration // for a message

	links   []*lvcLink
	had     map[healShard]map[wire.Seq]bool
	handled map[int]bool   // numbers of records
	values  map[string]int // numbers of last values; -1: it has none any more
	base    *lvcBase       // from where on it has to have everything
	torn    time.Duration  // when a proxy last took over that could not give it everything again
}

// lvcBase is where all that follows an answer begins.
type lvcBase struct {
	view *lvcView // that it came to
	at   int
}

// lvcLink is one connection of a reader, with what has come over it.
type lvcLink struct {
	d       *lvcReader
	life    *lvcLife // at the other end
	waiting [][][]byte
	over    bool
	view    lvcView
}

func newLVCReader(r *lvcRun, i int) *lvcReader {
	w := r.w
	d := &lvcReader{run: r, prefix: one(w, "", "A", "B"), old: w.Chance(0.2), window: one(w, 4<<10, 64<<10, 1<<20), queue: 1000}
	d.notices = d.prefix == "" || w.Chance(0.5)
	if !r.gentle || r.slow {
		d.work = one(w, 0, 0, time.Millisecond, 20*time.Millisecond)
		d.queue = one(w, 1000, 10)
	}
	d.p = w.Process(fmt.Sprintf("reader %d", i), d.boot)
	return d
}

func (d *lvcReader) boot() {
	d.links, d.base, d.torn = nil, nil, 0
	d.had, d.handled, d.values = map[healShard]map[wire.Seq]bool{}, map[int]bool{}, map[string]int{}
	for _, x := range d.run.proxies {
		d.p.Go(func() { d.connect(x) })
	}
	d.p.Go(d.receive)
}

// connect keeps a connection to a proxy.
func (d *lvcReader) connect(x *lvcProxy) {
	for {
		if s := d.p.dial(x.endpoint, d.window); s != nil {
			l := &lvcLink{d: d}
			d.links = append(d.links, l)
			err := l.session(s, x)
			l.over = true
			d.run.w.Logf("%s to %s: %v", d.p.name, x.p.name, err)
			_ = s.Close()
		}
		d.p.Sleep(d.run.w.Between(reconnect/2, reconnect), nil)
	}
}

// session speaks ZMTP: greeting, READY, subscriptions, and then it takes messages.
func (l *lvcLink) session(s *stream, x *lvcProxy) error {
	d := l.d
	l.life = x.life
	l.view = lvcView{link: l, begun: len(l.life.log), state: map[string]int{}}
	hello := make([]byte, 64)
	hello[0], hello[9], hello[10] = 0xff, 0x7f, 3
	copy(hello[12:], "NULL")
	if !d.old {
		hello[11] = 1
	}
	hello = append(hello, "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"...)
	if d.notices && d.prefix != "" {
		hello = zmtp.AppendFrame(hello, []byte("\x01"+wire.OperatorPrefix), false)
	}
	hello = zmtp.AppendFrame(hello, []byte("\x01"+d.prefix), false)
	if _, err := s.Write(hello); err != nil {
		return err
	}
	in := bufio.NewReaderSize(s, 4<<10)
	if _, err := io.ReadFull(in, make([]byte, 64)); err != nil {
		return err
	}
	var message [][]byte
	for {
		flags, body, err := d.frame(in)
		if err != nil {
			return err
		}
		if flags&4 != 0 {
			if context, ok := strings.CutPrefix(string(body), "\x04PING"); ok {
				if _, err := s.Write(zmtp.AppendPong(nil, []byte(context)[2:])); err != nil {
					return err
				}
			}
			continue
		}
		if message = append(message, body); flags&1 == 0 {
			l.waiting = append(l.waiting, message)
			message = nil
			d.p.Sleep(-1, func() bool { return len(l.waiting) < d.queue })
		}
	}
}

// frame reads a frame of ZMTP.
func (d *lvcReader) frame(r io.Reader) (flags byte, body []byte, err error) {
	head := make([]byte, 9)
	if _, err = io.ReadFull(r, head[:2]); err != nil {
		return 0, nil, err
	}
	size := uint64(head[1])
	if head[0]&2 != 0 {
		if _, err = io.ReadFull(r, head[2:]); err != nil {
			return 0, nil, err
		}
		size = binary.BigEndian.Uint64(head[1:])
	}
	if size > 1<<24 {
		d.run.w.Fail("%s is sent a frame of %d bytes", d.p.name, size)
	}
	body = make([]byte, size)
	_, err = io.ReadFull(r, body)
	return head[0], body, err
}

// receive takes messages, of both connections in turn.
func (d *lvcReader) receive() {
	w := d.run.w
	for {
		var ready []*lvcLink
		d.p.Sleep(-1, func() bool {
			ready = ready[:0]
			for _, l := range d.links {
				if len(l.waiting) > 0 {
					ready = append(ready, l)
				}
			}
			return len(ready) > 0
		})
		l := ready[w.IntN(len(ready))]
		m := l.waiting[0]
		l.waiting = l.waiting[1:]
		d.links = slices.DeleteFunc(d.links, func(l *lvcLink) bool { return l.over && len(l.waiting) == 0 })
		l.view.take(m)
		if d.work > 0 && !d.run.calm {
			d.p.Sleep(w.Between(0, d.work), nil)
		}
	}
}

// handle takes a live record, as docs/WIRE.md has it of a client of a pair. It holds
// property 5.
func (d *lvcReader) handle(number int) {
	w, rec := d.run.w, &d.run.records[number]
	had := d.had[rec.at]
	if had == nil {
		had = map[wire.Seq]bool{}
		d.had[rec.at] = had
	}
	if had[rec.seq] && w.bug != bugLVCAgain {
		return
	}
	had[rec.seq] = true
	if d.handled[number] {
		w.Fail("%s handles record %d again", d.p.name, number)
	}
	d.handled[number] = true
	d.value(number)
}

// value takes a last value, unless it has a newer one.
func (d *lvcReader) value(number int) {
	topic := d.run.records[number].topic
	before, ok := d.values[topic]
	if newer := !ok || d.run.newer(number, before); newer || d.run.w.bug == bugLVCOld {
		if !newer && number != before {
			d.run.w.Fail("%s: the last value of %s goes back from record %d to %d", d.p.name, topic, before, number)
		}
		d.values[topic] = number
	}
}

// finish holds property 6.
func (d *lvcReader) finish() {
	r := d.run
	if !r.gentle || r.forgot() || d.base == nil {
		return
	}
	// Nothing is lost on the way to the proxies, so that they are given the stream in the
	// same order of each shard.
	from := slices.Repeat([]wire.Seq{1 << 60}, r.shards)
	for i, e := range d.base.view.link.life.log {
		if e.record < 0 {
			continue
		}
		if rec := &r.records[e.record]; i < d.base.at {
			from[rec.at.shard] = rec.seq + 1
		} else {
			from[rec.at.shard] = min(from[rec.at.shard], rec.seq)
		}
	}
	for number := range r.records {
		if rec := &r.records[number]; rec.seq >= from[rec.at.shard] && strings.HasPrefix(rec.topic, d.prefix) && !d.handled[number] {
			r.w.Fail("%s has missed record %d (sequence %d of shard %d), and nothing is wrong but with the pair", d.p.name, number, rec.seq, rec.at.shard)
		}
	}
}
