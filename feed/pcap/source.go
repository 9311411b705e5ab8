package pcap

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// linesTold is how many lines an error or a note lists.
const linesTold = 10

// source reads the messages of one protocol out of a capture. It is a
// feed.Source and a feed.Noter.
type source struct {
	protocol  *Protocol
	parser    Parser
	capture   *capture
	lines     *lines
	sequencer *Sequencer // nil where the protocol has no sequence numbers
	merge     bool

	rec    feed.Record
	packet Packet
	data   *datagram
	frame  frame
	head   Head
	err    error // final, returned from then on

	inside bool   // the parser is inside a datagram
	picky  bool   // only some of its messages are to be delivered: spans
	index  int    // of its next message
	spans  []Span // what is left of them

	datagrams int64 // of the protocol
	foreign   int64 // of others
	others    int64 // packets that are not UDP
	left      int64 // to groups that were not asked for
}

// Next implements feed.Source.
func (s *source) Next() (*feed.Record, error) {
	for {
		for s.inside {
			s.rec.Flags, s.rec.Receive = 0, s.packet.Time
			more, err := s.parser.Next(&s.rec)
			if err != nil {
				s.inside = false
				return nil, s.bad(err)
			}
			if !more {
				s.inside = false
				break
			}
			if s.picky && !s.fresh() {
				continue
			}
			if s.packet.NoTime {
				s.withoutTime()
			}
			return &s.rec, nil
		}
		if err := s.advance(); err != nil {
			return nil, err
		}
	}
}

// fresh reports whether the message that the parser gave is to be delivered.
func (s *source) fresh() bool {
	i := s.index
	s.index++
	for len(s.spans) > 0 && i >= s.spans[0].To {
		s.spans = s.spans[1:]
	}
	return len(s.spans) > 0 && i >= s.spans[0].From
}

// withoutTime completes a record that the capture has no time for.
func (s *source) withoutTime() {
	s.rec.Flags |= wire.FlagNoReceiveTime
	if s.rec.Flags&wire.FlagNoEventTime == 0 {
		s.rec.Receive = s.rec.Event
	}
}

// advance goes to the next datagram that has messages to deliver, or returns
// an error; it may also return nil without one.
func (s *source) advance() error {
	if s.err != nil {
		return s.err
	}
	switch err := s.capture.next(&s.frame); {
	case err == nil:
	case errors.Is(err, ErrTime):
		return s.badPacket(err)
	case err == io.EOF:
		s.err = s.end()
		return s.err
	case errors.Is(err, ErrTruncated) || errors.Is(err, ErrDamaged):
		s.err = io.EOF
		place := fmt.Sprintf("packet %d at offset %d", s.capture.number+1, s.capture.offset)
		return &feed.BadRecord{Place: place, Err: err}
	default:
		s.err = fmt.Errorf("packet %d: %w", s.capture.number+1, err)
		return s.err
	}
	if !known(s.frame.link) {
		return s.badPacket(fmt.Errorf("%w: %d", ErrLink, uint16(s.frame.link)))
	}
	switch s.data.parse(s.frame.link, s.frame.data) {
	case isUDP:
		return s.begin()
	case notUDP:
		s.others++
	case malformed:
		return s.badPacket(ErrMalformed)
	case fragment:
		return s.partial(ErrFragment, anyPort)
	case snapped:
		err := fmt.Errorf("%w: %d of %d bytes of the packet are there", ErrSnapped, len(s.frame.data), s.frame.length)
		return s.partial(err, int(s.data.to.port))
	}
	return nil
}

// partial is for a datagram that is not all there: a bad record where it is one
// of those that are wanted.
func (s *source) partial(err error, port int) error {
	if !s.lines.wants(s.data.to.addr(), port) {
		s.left++
		return nil
	}
	return s.badPacket(err)
}

// begin hands a whole datagram to the parser.
func (s *source) begin() error {
	line := s.lines.of(s.data.to)
	if !line.selected {
		s.left++
		return nil
	}
	p := &s.packet
	p.Payload, p.Line, p.Number, p.NoTime = s.data.payload, line, s.capture.number, s.frame.noTime
	if !p.NoTime {
		p.Time = s.frame.time
	}
	s.head = Head{}
	if err := s.parser.Begin(p, &s.head); err != nil {
		if errors.Is(err, ErrForeign) && !line.ours {
			line.foreign++
			s.foreign++
			return nil
		}
		return s.bad(err)
	}
	line.ours = true
	s.datagrams++
	s.inside, s.picky, s.index = true, false, 0
	if s.sequencer != nil && s.head.Sequenced {
		s.spans = s.sequencer.Admit(line.Index, s.head.Stream, s.head.Seq, s.head.Count)
		if s.merge {
			s.choose()
		}
	}
	return nil
}

// choose decides by the spans which messages of a datagram to deliver. Messages
// behind those that have numbers are delivered.
func (s *source) choose() {
	n := s.head.Count
	switch {
	case n == 0 || len(s.spans) == 1 && s.spans[0] == Span{0, n}:
	case len(s.spans) == 0:
		s.inside = false
	default:
		s.picky = !s.head.Whole
	}
}

// bad is a bad record of the datagram that the source is in.
func (s *source) bad(err error) error {
	place := fmt.Sprintf("packet %d (%s)", s.packet.Number, s.packet.Line.Name)
	return &feed.BadRecord{Place: place, Err: err}
}

// badPacket is a bad record of a packet that gave no datagram.
func (s *source) badPacket(err error) error {
	return &feed.BadRecord{Place: fmt.Sprintf("packet %d", s.capture.number), Err: err}
}

// end is what comes at the end of the capture: io.EOF, or an error if there was
// something but nothing that was asked for.
func (s *source) end() error {
	switch {
	case s.datagrams > 0:
	case s.foreign > 0:
		return fmt.Errorf("%w %s: %s", ErrNone, s.protocol.Name, s.listLines())
	case s.left > 0:
		return fmt.Errorf("%w: %s", ErrNoGroup, s.listLines())
	}
	return io.EOF
}

// listLines names the lines of the capture, in the order of their first packets.
func (s *source) listLines() string {
	all := s.sortedLines()
	var names []string
	for _, l := range all[:min(len(all), linesTold)] {
		names = append(names, l.Name)
	}
	text := "the capture has " + strings.Join(names, ", ")
	if more := len(all) - linesTold; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func (s *source) sortedLines() []*Line {
	var all []*Line
	for _, l := range s.lines.byKey {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b *Line) int { return int(a.Index) - int(b.Index) })
	return all
}

// Encoding implements feed.Source.
func (s *source) Encoding() feed.Encoding { return s.parser.Encoding() }

// Notes implements feed.Noter.
func (s *source) Notes() []string {
	var out []string
	if s.others > 0 {
		out = append(out, count(s.others, "packet is not UDP", "packets are not UDP"))
	}
	if s.foreign > 0 {
		out = append(out, s.foreignNote())
	}
	if s.sequencer != nil {
		out = append(out, s.sequencer.notes(s.protocol.Unit, s.place)...)
	}
	return append(out, s.parser.Notes()...)
}

// foreignNote says which lines brought datagrams of other protocols.
func (s *source) foreignNote() string {
	text := count(s.foreign, "datagram is", "datagrams are") + " not " + s.protocol.Name + " and left out:"
	told := 0
	for _, l := range s.sortedLines() {
		switch {
		case l.foreign == 0:
		case told == linesTold:
			return text + " and others"
		default:
			text += fmt.Sprintf(" %s (%d)", l.Name, l.foreign)
			told++
		}
	}
	return text
}

// place names a stream on a line, with merge on all of its lines.
func (s *source) place(stream Stream, index uint32) string {
	if !s.merge {
		for _, l := range s.lines.byKey {
			if l.Index == index {
				return l.Name + ", " + s.parser.Describe(stream)
			}
		}
	}
	return s.parser.Describe(stream)
}
