package iex

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/wire"
)

// Name is the name of the format.
const Name = "iex"

// venue is the exchange's market identifier code (ISO 10383).
const venue = "IEXG"

var protocol = &pcap.Protocol{
	Name:   Name,
	Title:  "IEX TOPS 1.5 and 1.6, DEEP 1.0, DEEP+ 1.0 in pcap",
	Unit:   "messages",
	Detect: detect,
	New:    newParser,
	Decode: decode,
}

// Format is IEX in pcap, for the table of formats.
var Format = protocol.Format()

// parser takes segments apart. It is a pcap.Parser.
type parser struct {
	rest       []byte // of the segment's messages
	left       int    // messages in it
	topic      []byte // prefix and venue, then the symbol
	prefix     int    // length of the former
	system     []byte // ready topics
	other      []byte
	protocols  []uint16 // seen, ascending
	heartbeats int64
	unknown    int64
}

func newParser(_ *feed.Input, opts feed.Options) (pcap.Parser, error) {
	prefix, err := pcap.TopicPrefix(Name, &opts, venue, "a symbol", max(len("@system"), symbolSize))
	if err != nil {
		return nil, err
	}
	return &parser{
		topic: append(make([]byte, 0, wire.TopicSizeMax), prefix...), prefix: len(prefix),
		system: []byte(prefix + "@system"), other: []byte(prefix + "@other"),
	}, nil
}

// Begin implements pcap.Parser.
func (p *parser) Begin(packet *pcap.Packet, h *pcap.Head) error {
	b := packet.Payload
	if !isSegment(b) {
		return errForeign
	}
	if int(binary.LittleEndian.Uint16(b[lengthOff:])) != len(b)-headSize {
		return ErrLength
	}
	p.left = int(binary.LittleEndian.Uint16(b[countOff:]))
	p.rest = b[headSize:]
	if p.left == 0 {
		p.heartbeats++
	}
	if id := binary.LittleEndian.Uint16(b[protocolOff:]); !slices.Contains(p.protocols, id) {
		p.protocols = append(p.protocols, id)
		slices.Sort(p.protocols)
	}
	copy(h.Stream[:], b[protocolOff:lengthOff])
	h.Seq = binary.LittleEndian.Uint64(b[sequenceOff:])
	h.Count = p.left
	h.Sequenced = true
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
	if len(p.rest) < lengthSize {
		return false, ErrLength
	}
	size := int(binary.LittleEndian.Uint16(p.rest))
	if size == 0 || size > len(p.rest)-lengthSize {
		return false, ErrLength
	}
	body := p.rest[lengthSize:][:size:size]
	p.rest = p.rest[lengthSize+size:]
	p.left--
	m := &messages[body[0]]
	if size < m.size {
		return false, ErrShort
	}
	rec.Body, rec.Kind = body, m.kind
	switch {
	case m.size == 0:
		p.unknown++
		rec.Topic, rec.Event = p.other, rec.Receive
		rec.Flags = wire.FlagNoEventTime
		return true, nil
	case m.size == systemSize:
		rec.Topic = p.system
	default:
		rec.Topic = p.symbol(body[symbolOff:][:symbolSize])
	}
	rec.Event = wire.Nanos(binary.LittleEndian.Uint64(body[timeOff:]))
	return true, nil
}

// symbol returns the topic of a symbol, borrowed until the next call.
func (p *parser) symbol(padded []byte) []byte {
	topic, ok := fixed.AppendSymbol(p.topic[:p.prefix], padded)
	if !ok {
		return p.other
	}
	return topic
}

// Describe implements pcap.Parser.
func (p *parser) Describe(s pcap.Stream) string {
	return fmt.Sprintf("%s channel %d session %d", protocolName(binary.LittleEndian.Uint16(s[:])),
		binary.LittleEndian.Uint32(s[channelOff-protocolOff:]), binary.LittleEndian.Uint32(s[sessionOff-protocolOff:]))
}

// Encoding implements pcap.Parser.
func (p *parser) Encoding() feed.Encoding {
	enc := feed.Encoding{Format: Name}
	var names []string
	for _, id := range p.protocols {
		names = append(names, protocolName(id))
	}
	if len(names) > 0 {
		enc.Detail = map[string]string{"protocol": strings.Join(names, ",")}
	}
	return enc
}

// Notes implements pcap.Parser.
func (p *parser) Notes() []string {
	notes := pcap.NoteCount(nil, "heartbeats", p.heartbeats)
	return pcap.NoteCount(notes, "messages of unknown types", p.unknown)
}
