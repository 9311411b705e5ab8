package nyse

import (
	"bytes"
	"encoding/binary"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	// Name is the name of the format.
	Name = "nyse"
	// venueDefault is NYSE's market identifier code (ISO 10383).
	venueDefault = "XNYS"
	// symbolsMax bounds the symbols that are kept; a mapping beyond it is not heeded.
	symbolsMax = 1 << 20
)

var protocol = &pcap.Protocol{
	Name:    Name,
	Title:   "NYSE XDP in pcap",
	Unit:    "messages",
	Options: []string{"Dataset"},
	Detect:  detect,
	New:     newParser,
	Decode:  decode,
}

// Format is XDP in pcap, for the table of formats.
var Format = protocol.Format()

// parser takes datagrams apart. It is a pcap.Parser.
type parser struct {
	rest    []byte // of the datagram's messages
	left    int    // messages in it
	sent    wire.Nanos
	refresh bool
	onePair bool // all lines are those of one channel

	prefix  int               // length of prefix, venue and "." in topic
	topic   []byte            // and an index
	symbols map[uint32][]byte // topics by symbol index
	index   uint32            // of last
	last    []byte            // topic of index; nil at first
	system  []byte            // ready topics
	other   []byte

	heartbeats, unknown, full int64
}

func newParser(_ *feed.Input, opts feed.Options) (pcap.Parser, error) {
	prefix, err := pcap.TopicPrefix(Name, &opts, venueDefault, "a symbol", symbolSize)
	if err != nil {
		return nil, err
	}
	return &parser{
		topic: append(make([]byte, 0, wire.TopicSizeMax), prefix...), prefix: len(prefix),
		symbols: make(map[uint32][]byte), system: []byte(prefix + "@system"), other: []byte(prefix + "@other"),
		onePair: opts.AB == "merge" && len(opts.Groups) == 2,
	}, nil
}

// Begin implements pcap.Parser.
func (p *parser) Begin(packet *pcap.Packet, h *pcap.Head) error {
	b := packet.Payload
	if !isPacket(b) {
		return errForeign
	}
	p.sent, _ = timeAt(b[sendTimeOff:])
	p.left = int(b[countOff])
	p.rest = b[packetHeadSize:]
	p.refresh = isRefresh(b[deliveryOff])
	if !p.onePair {
		binary.LittleEndian.PutUint32(h.Stream[:], packet.Line.Index)
	}
	h.Seq = uint64(binary.LittleEndian.Uint32(b[sequenceOff:]))
	h.Count = p.left
	h.Sequenced = !p.refresh
	if b[deliveryOff] == deliveryHeartbeat {
		p.heartbeats++
		h.Count = 0
	}
	return nil
}

// Next implements pcap.Parser.
func (p *parser) Next(rec *feed.Record) (bool, error) {
	if p.left == 0 {
		if len(p.rest) > 0 {
			return false, ErrSize
		}
		return false, nil
	}
	m, ok := take(p.rest)
	if !ok {
		return false, ErrSize
	}
	p.rest = p.rest[len(m):]
	p.left--
	t := typeOf(m)
	if len(m) < sizeMin[t.shape] {
		return false, ErrShort
	}
	rec.Body, rec.Kind, rec.Event = m, t.kind, p.sent
	if p.refresh {
		rec.Flags |= wire.FlagSnapshot
	}
	switch t.shape {
	case timed, full:
		if rec.Event, ok = timeAt(m[sourceTimeOff:]); !ok {
			return false, ErrTime
		}
	case nanosy:
		ns := binary.LittleEndian.Uint32(m[sourceTimeOff:])
		if ns >= second {
			return false, ErrTime
		}
		rec.Event = nearest(p.sent, ns)
	}
	rec.Topic = p.topicOf(t, m)
	return true, nil
}

// topicOf returns the topic of a message, borrowed until the next call.
func (p *parser) topicOf(t *messageType, m []byte) []byte {
	switch t.shape {
	case plain, timed:
		if t.name == "" {
			p.unknown++
			return p.other
		}
		return p.system
	}
	id := binary.LittleEndian.Uint32(m[indexOff[t.shape]:])
	if t == &types[typeMapping] {
		p.learn(id, m)
	}
	if p.last == nil || id != p.index {
		p.index = id
		if p.last = p.symbols[id]; p.last == nil {
			p.topic = strconv.AppendUint(p.topic[:p.prefix], uint64(id), 10)
			p.last = p.topic
		}
	}
	return p.last
}

// learn takes in a mapping. One without a usable symbol changes nothing.
func (p *parser) learn(id uint32, m []byte) {
	if len(m) < symbolOff+symbolSize {
		return
	}
	topic, ok := appendSymbol(p.topic[:p.prefix], m[symbolOff:][:symbolSize])
	switch known := p.symbols[id]; {
	case !ok || string(known) == string(topic):
		return
	case known == nil && len(p.symbols) >= symbolsMax:
		p.full++
		return
	}
	p.symbols[id] = append([]byte(nil), topic...)
	p.last = nil
}

// appendSymbol appends a symbol and reports whether it is one: printable ASCII. Those
// of preferred shares and the like have a blank inside.
func appendSymbol(dst, padded []byte) ([]byte, bool) {
	symbol := bytes.TrimRight(padded, " \x00")
	for _, c := range symbol {
		if c < ' ' || c > '~' {
			return dst, false
		}
	}
	return append(dst, symbol...), len(symbol) > 0
}

// Describe implements pcap.Parser.
func (p *parser) Describe(pcap.Stream) string { return "the channel" }

// Encoding implements pcap.Parser.
func (p *parser) Encoding() feed.Encoding { return feed.Encoding{Format: Name} }

// Notes implements pcap.Parser.
func (p *parser) Notes() []string {
	notes := pcap.NoteCount(nil, "heartbeats", p.heartbeats)
	notes = pcap.NoteCount(notes, "messages of unknown types", p.unknown)
	return pcap.NoteCount(notes, "symbol index mappings not heeded, being too many", p.full)
}
