package itch

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/wire"
)

// The head of a MoldUDP64 packet, big-endian.
//
//	0   text  session
//	10  u64   sequence number of the first message, or of the next to come
//	18  u16   message count; 0 is a heartbeat, 0xffff the end of the session
//	20        messages, each after its u16 length
const (
	sessionSize = 10
	sequenceOff = 10
	countOff    = 18
	moldSize    = 20

	endOfSession = 0xffff

	// sessionsMax bounds the sessions whose locate codes are kept.
	sessionsMax = 64
)

var mold = &pcap.Protocol{
	Name:    Name,
	Title:   title,
	Unit:    "messages",
	Options: []string{"Date", "Zone", "Dataset"},
	Detect:  detectMold,
	New:     newParser,
	Decode:  decode,
}

// errForeign is made once: a line of another protocol may have many datagrams.
var errForeign = fmt.Errorf("itch: no MoldUDP64: %w", pcap.ErrForeign)

// venueOf are lines of feeds other than Nasdaq's own.
var venueOf = map[netip.AddrPort]string{
	netip.MustParseAddrPort("233.49.196.40:25475"): venueBX,
}

// isMold reports whether b begins like a MoldUDP64 packet: with a session of
// letters, digits and blanks.
func isMold(b []byte) bool {
	if len(b) < moldSize {
		return false
	}
	for _, c := range b[:sessionSize] {
		if c != ' ' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}

// detectMold says how sure it is that a datagram is ITCH 5.0 in MoldUDP64. Its
// messages must fill it and have the lengths of their types.
func detectMold(b []byte) int {
	const sure, heartbeat = 95, 40
	if !isMold(b) {
		return 0
	}
	left := int(binary.BigEndian.Uint16(b[countOff:]))
	b = b[moldSize:]
	if left == 0 || left == endOfSession {
		if len(b) > 0 {
			return 0
		}
		return heartbeat
	}
	for ; left > 0; left-- {
		size, ok := one(b)
		if !ok {
			return 0
		}
		b = b[size:]
	}
	if len(b) > 0 {
		return 0
	}
	return sure
}

// parser takes MoldUDP64 packets apart. It is a pcap.Parser.
type parser struct {
	rest      []byte // of the packet's messages
	left      int    // messages in it
	packet    *pcap.Packet
	directory *directory // of the session
	session   [sessionSize]byte

	clock       clock
	directories map[[sessionSize]byte]*directory
	prefix      string
	venue       string   // "" chooses by line
	venues      []string // seen
	date        string

	heartbeats, ends, unknown int64
}

func newParser(_ *feed.Input, opts feed.Options) (pcap.Parser, error) {
	if err := checkNames(&opts); err != nil {
		return nil, err
	}
	c, err := newClock(&opts)
	if err != nil {
		return nil, err
	}
	if opts.Date != "" {
		if err := c.setDate(opts.Date); err != nil {
			return nil, err
		}
	}
	return &parser{clock: c, directories: make(map[[sessionSize]byte]*directory),
		prefix: opts.Topic, venue: opts.Dataset, date: opts.Date}, nil
}

// Begin implements pcap.Parser.
func (p *parser) Begin(packet *pcap.Packet, h *pcap.Head) error {
	b := packet.Payload
	if !isMold(b) {
		return errForeign
	}
	p.packet, p.rest, p.left = packet, b[moldSize:], int(binary.BigEndian.Uint16(b[countOff:]))
	switch p.left {
	case 0:
		p.heartbeats++
	case endOfSession:
		p.ends++
		p.left = 0
	}
	session := [sessionSize]byte(b)
	if p.directory == nil || p.session != session {
		p.enter(session, packet.Line)
	}
	copy(h.Stream[:], session[:])
	h.Seq = binary.BigEndian.Uint64(b[sequenceOff:])
	h.Count = p.left
	h.Sequenced = true
	return nil
}

// enter finds the locate codes of a session.
func (p *parser) enter(session [sessionSize]byte, line *pcap.Line) {
	p.session = session
	p.directory = p.directories[session]
	if p.directory != nil {
		return
	}
	if len(p.directories) >= sessionsMax {
		clear(p.directories)
	}
	venue := p.venue
	if venue == "" {
		venue = venueOf[netip.AddrPortFrom(line.Group, line.Port)]
	}
	if venue == "" {
		venue = venueNasdaq
	}
	p.directory = newDirectory(p.prefix, venue)
	p.directories[session] = p.directory
	p.note(venue)
}

// note keeps a venue for the encoding.
func (p *parser) note(venue string) {
	for _, v := range p.venues {
		if v == venue {
			return
		}
	}
	p.venues = append(p.venues, venue)
}

// Next implements pcap.Parser.
func (p *parser) Next(rec *feed.Record) (bool, error) {
	if p.left == 0 {
		if len(p.rest) > 0 {
			return false, ErrBlocks
		}
		return false, nil
	}
	if len(p.rest) < prefixSize {
		return false, ErrBlocks
	}
	size := int(binary.BigEndian.Uint16(p.rest))
	if size > len(p.rest)-prefixSize {
		return false, ErrBlocks
	}
	body := p.rest[prefixSize:][:size:size]
	if err := check(body); err != nil {
		return false, err
	}
	p.rest = p.rest[prefixSize+size:]
	p.left--
	m := &messages[body[0]]
	if m.size == 0 {
		p.unknown++
	}
	rec.Topic = p.directory.topic(m, body)
	rec.Body, rec.Kind = body, m.kind
	if p.packet.NoTime && !p.clock.dated {
		rec.Event, rec.Flags = rec.Receive, wire.FlagNoEventTime
		return true, nil
	}
	rec.Event = p.clock.time(sinceMidnight(body), p.packet.Time)
	return true, nil
}

// Describe implements pcap.Parser.
func (p *parser) Describe(s pcap.Stream) string {
	return "session " + strings.TrimSpace(string(s[:sessionSize]))
}

// Encoding implements pcap.Parser.
func (p *parser) Encoding() feed.Encoding {
	d := map[string]string{keyVersion: version, keyFraming: framingMold}
	if p.date != "" {
		d[keyDate] = p.date
	}
	if len(p.venues) > 0 {
		d[keyVenue] = strings.Join(p.venues, ",")
	}
	return feed.Encoding{Format: Name, Detail: d}
}

// Notes implements pcap.Parser.
func (p *parser) Notes() []string {
	notes := pcap.NoteCount(nil, "heartbeats", p.heartbeats)
	notes = pcap.NoteCount(notes, "ends of session", p.ends)
	return pcap.NoteCount(notes, "messages of unknown types", p.unknown)
}
