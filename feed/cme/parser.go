package cme

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/wire"
)

// Name is the name of the format.
const Name = "cme"

// venue is the exchange's market identifier code (ISO 10383).
const venue = "GLBX"

var protocol = &pcap.Protocol{
	Name:   Name,
	Title:  "CME MDP 3.0 in pcap",
	Unit:   "packets",
	Detect: detect,
	New:    newParser,
	Decode: decode,
}

// Format is MDP 3.0 in pcap, for the table of formats.
var Format = protocol.Format()

// parser takes datagrams apart. It is a pcap.Parser.
type parser struct {
	rest    []byte     // messages of the datagram
	sent    wire.Nanos // its sending time
	line    *pcap.Line // of channel
	channel []byte     // topic
	topic   []byte     // prefix and venue, then the security id
	prefix  int        // length of the former
	id      int32      // in topic
	ready   bool       // topic has an id
	unknown int64      // messages
}

func newParser(_ *feed.Input, opts feed.Options) (pcap.Parser, error) {
	prefix, err := pcap.TopicPrefix(Name, &opts, venue, "a security id", len("-2147483648"))
	if err != nil {
		return nil, err
	}
	return &parser{topic: append(make([]byte, 0, wire.TopicSizeMax), prefix...), prefix: len(prefix)}, nil
}

// Ports of one channel have the same last three digits; the thousands of line A
// are even, those of line B one more.
const (
	channelsMax = 1000
	portsOfPair = 2 * channelsMax
)

// Begin implements pcap.Parser.
func (p *parser) Begin(packet *pcap.Packet, h *pcap.Head) error {
	b := packet.Payload
	if !isPacket(b) {
		return errForeign
	}
	if p.line != packet.Line {
		p.line = packet.Line
		p.channel = append(append(p.channel[:0], p.topic[:p.prefix]...), '@')
		p.channel = strconv.AppendUint(p.channel, uint64(p.line.Port%channelsMax), 10)
	}
	p.sent = wire.Nanos(binary.LittleEndian.Uint64(b[sendingTimeOff:]))
	p.rest = b[packetHeadSize:]
	binary.LittleEndian.PutUint16(h.Stream[:], p.line.Port%channelsMax)
	h.Stream[2] = byte(p.line.Port / portsOfPair)
	h.Stream[3] = byte(feedOf(p.rest))
	h.Seq = uint64(binary.LittleEndian.Uint32(b[sequenceOff:]))
	h.Count, h.Whole, h.Sequenced = 1, true, true
	return nil
}

// feedOf says which feed of its channel a datagram with these messages is of.
func feedOf(messages []byte) feedKind {
	const reportsOff = headSize + 1
	m, ok := take(messages)
	if !ok {
		return incremental
	}
	t := m.layout()
	if t.feed != either {
		return t.feed
	}
	if m.block() >= 5 && binary.LittleEndian.Uint32(m[reportsOff:]) != math.MaxUint32 {
		return replay
	}
	return incremental
}

// Next implements pcap.Parser.
func (p *parser) Next(rec *feed.Record) (bool, error) {
	if len(p.rest) == 0 {
		return false, nil
	}
	m, ok := take(p.rest)
	if !ok {
		return false, ErrSize
	}
	p.rest = p.rest[len(m):]
	t := m.layout()
	if t.name == "" {
		p.unknown++
	}
	if t.feed == snapshot || t.feed == orderSnapshot {
		rec.Flags |= wire.FlagSnapshot
	}
	rec.Topic, rec.Body, rec.Kind, rec.Event = p.topicOf(m, t), m, t.kind, p.sent
	return true, nil
}

// topicOf returns the topic of a message, borrowed until the next call.
func (p *parser) topicOf(m message, t *template) []byte {
	id, ok := m.securityID(t)
	switch {
	case !ok:
		return p.channel
	case !p.ready || id != p.id:
		p.id, p.ready = id, true
		p.topic = strconv.AppendInt(p.topic[:p.prefix], int64(id), 10)
	}
	return p.topic
}

// Describe implements pcap.Parser.
func (p *parser) Describe(s pcap.Stream) string {
	text := fmt.Sprintf("channel %d", binary.LittleEndian.Uint16(s[:]))
	switch feedKind(s[3]) {
	case snapshot:
		text += " snapshots"
	case orderSnapshot:
		text += " snapshots of orders"
	case replay:
		text += " definitions"
	}
	return text
}

// Encoding implements pcap.Parser.
func (p *parser) Encoding() feed.Encoding { return feed.Encoding{Format: Name} }

// Notes implements pcap.Parser.
func (p *parser) Notes() []string {
	return pcap.NoteCount(nil, "messages of unknown templates", p.unknown)
}
