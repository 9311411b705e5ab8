package ice

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	// Name is the name of the format.
	Name = "ice"
	// venueDefault stands for all exchanges of the group.
	venueDefault = "ICE"
)

var protocol = &pcap.Protocol{
	Name:    Name,
	Title:   "ICE iMpact in pcap",
	Unit:    "messages",
	Options: []string{"Dataset"},
	Detect:  detect,
	New:     newParser,
	Decode:  decode,
}

// Format is iMpact in pcap, for the table of formats.
var Format = protocol.Format()

// parser takes datagrams apart. It is a pcap.Parser.
type parser struct {
	rest    []byte // of the datagram's messages
	left    int    // messages in it
	sent    wire.Nanos
	line    *pcap.Line // of channel
	channel []byte     // topic
	topic   []byte     // prefix, venue and ".", then the market id
	prefix  int        // length of the former
	market  int32      // in topic
	ready   bool       // topic has a market

	heartbeats, unknown int64
}

func newParser(_ *feed.Input, opts feed.Options) (pcap.Parser, error) {
	prefix, err := pcap.TopicPrefix(Name, &opts, venueDefault, "a market id", len("-2147483648"))
	if err != nil {
		return nil, err
	}
	return &parser{topic: append(make([]byte, 0, wire.TopicSizeMax), prefix...), prefix: len(prefix)}, nil
}

// Begin implements pcap.Parser.
func (p *parser) Begin(packet *pcap.Packet, h *pcap.Head) error {
	b := packet.Payload
	if !isPacket(b) {
		return errForeign
	}
	if p.line != packet.Line {
		p.line = packet.Line
		p.channel = append(append(p.channel[:0], p.topic[:p.prefix]...), '@')
		p.channel = strconv.AppendUint(p.channel, uint64(p.line.Port), 10)
	}
	const milli = 1_000_000
	p.sent = wire.Nanos(binary.BigEndian.Uint64(b[timeOff:])) * milli
	p.left = int(binary.BigEndian.Uint16(b[countOff:]))
	p.rest = b[packetHeadSize:]
	if p.left == 0 {
		p.heartbeats++
	}
	copy(h.Stream[:], b[sessionOff:sequenceOff])
	binary.BigEndian.PutUint16(h.Stream[sequenceOff:], p.line.Port)
	h.Seq = uint64(binary.BigEndian.Uint32(b[sequenceOff:]))
	h.Count, h.Sequenced = p.left, true
	return nil
}

// Next implements pcap.Parser.
func (p *parser) Next(rec *feed.Record) (bool, error) {
	if p.left == 0 {
		if len(p.rest) > 0 {
			return false, ErrLength
		}
		return false, nil
	}
	m, ok := take(p.rest)
	if !ok {
		return false, ErrLength
	}
	p.rest = p.rest[len(m):]
	p.left--
	t := &types[m[typeOff]]
	if t.snapshot {
		rec.Flags |= wire.FlagSnapshot
	}
	rec.Topic, rec.Body, rec.Kind, rec.Event = p.channel, m, t.kind, p.sent
	switch {
	case t.name == "":
		p.unknown++
	case !t.market:
	case len(m) < marketOff+4:
		return false, ErrShort
	default:
		rec.Topic = p.topicOf(int32(binary.BigEndian.Uint32(m[marketOff:])))
	}
	return true, nil
}

// topicOf returns the topic of a market, borrowed until the next call.
func (p *parser) topicOf(market int32) []byte {
	if !p.ready || market != p.market {
		p.market, p.ready = market, true
		p.topic = strconv.AppendInt(p.topic[:p.prefix], int64(market), 10)
	}
	return p.topic
}

// Describe implements pcap.Parser.
func (p *parser) Describe(s pcap.Stream) string {
	return fmt.Sprintf("session %d on port %d", binary.BigEndian.Uint16(s[:]), binary.BigEndian.Uint16(s[sequenceOff:]))
}

// Encoding implements pcap.Parser.
func (p *parser) Encoding() feed.Encoding { return feed.Encoding{Format: Name} }

// Notes implements pcap.Parser.
func (p *parser) Notes() []string {
	notes := pcap.NoteCount(nil, "heartbeats", p.heartbeats)
	return pcap.NoteCount(notes, "messages of unknown types", p.unknown)
}
