package cboe

import (
	"encoding/binary"
	"fmt"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	// Name is the name of the format.
	Name = "cboe"
	// venueDefault is the futures exchange's market identifier code (ISO 10383).
	venueDefault = "XCBF"
	// symbolsMax bounds the topics that are kept ready; beyond it all are forgotten
	// and made again as they are needed.
	symbolsMax = 1 << 20
	// unitsMax bounds the units whose time is followed, likewise.
	unitsMax = 1 << 16
)

var protocol = &pcap.Protocol{
	Name:    Name,
	Title:   "Cboe Futures PITCH in pcap",
	Unit:    "messages",
	Options: []string{"Dataset"},
	Detect:  detect,
	New:     newParser,
	Decode:  decode,
}

// Format is PITCH in pcap, for the table of formats.
var Format = protocol.Format()

// parser takes datagrams apart. It is a pcap.Parser.
type parser struct {
	rest  []byte // of the datagram's messages
	left  int    // messages in it
	port  uint16
	merge bool

	unit     *unit // of the datagram
	units    map[uint64]*unit
	unitKey  uint64 // of unit
	symbols  map[[symbolSize]byte][]byte
	orders   orders
	prefix   []byte // with venue and "."
	scratch  []byte
	symbol   [symbolSize]byte // of lastName
	lastName []byte           // topic of symbol; nil at first

	heartbeats, unknown, strange int64
}

func newParser(_ *feed.Input, opts feed.Options) (pcap.Parser, error) {
	prefix, err := pcap.TopicPrefix(Name, &opts, venueDefault, "a symbol", symbolSize)
	if err != nil {
		return nil, err
	}
	return &parser{
		merge: opts.AB == "merge", units: make(map[uint64]*unit), symbols: make(map[[symbolSize]byte][]byte),
		orders: newOrders(ordersMax), prefix: []byte(prefix),
	}, nil
}

// Begin implements pcap.Parser.
func (p *parser) Begin(packet *pcap.Packet, h *pcap.Head) error {
	b := packet.Payload
	if !isPacket(b) {
		return errForeign
	}
	p.port = packet.Line.Port
	p.left = int(b[countOff])
	p.rest = b[packetHeadSize:]
	if p.left == 0 {
		p.heartbeats++
	}
	// With merge the time messages of one line are left out, so the lines share a
	// clock. If both are kept each needs its own, since they do not run in step.
	key := uint64(packet.Line.Index)
	if p.merge {
		key = uint64(p.port)
	}
	if key = key<<8 | uint64(b[unitOff]); p.unit == nil || key != p.unitKey {
		p.unit, p.unitKey = p.unitOf(key), key
	}
	binary.BigEndian.PutUint16(h.Stream[:], p.port)
	h.Stream[2] = b[unitOff]
	h.Seq = uint64(binary.LittleEndian.Uint32(b[sequenceOff:]))
	h.Count, h.Sequenced = p.left, h.Seq != 0
	return nil
}

// unitOf returns what is known about a unit, of which the number is in the key's
// last byte.
func (p *parser) unitOf(key uint64) *unit {
	u := p.units[key]
	if u == nil {
		if len(p.units) >= unitsMax {
			clear(p.units)
		}
		u = &unit{topic: strconv.AppendUint(append(append([]byte(nil), p.prefix...), '@'), key&0xff, 10)}
		p.units[key] = u
	}
	return u
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
	if len(m) < t.sizeMin {
		return false, ErrShort
	}
	event, timed, err := p.unit.eventTime(t, m)
	if err != nil {
		return false, err
	}
	rec.Body, rec.Kind, rec.Event = m, t.kind, event
	if !timed {
		rec.Event, rec.Flags = rec.Receive, rec.Flags|wire.FlagNoEventTime
	}
	if t.name == "" {
		p.unknown++
	}
	rec.Topic = p.topicOf(t, m)
	return true, nil
}

// topicOf returns the topic of a message. It is kept and must not be changed.
func (p *parser) topicOf(t *messageType, m []byte) []byte {
	var topic []byte
	if t.symbolOff != 0 {
		topic = p.named(m[t.symbolOff:])
	}
	if t.order != noOrder {
		key := orderKey{binary.LittleEndian.Uint64(m[orderOff:]), p.port}
		switch t.order {
		case adds:
			if topic != nil {
				p.orders.add(key, topic)
			}
		case changes, deletes:
			if topic = p.orders.find(key); topic == nil {
				p.strange++
			} else if t.order == deletes {
				p.orders.forget(key)
			}
		}
	}
	if topic == nil {
		return p.unit.topic
	}
	return topic
}

// named returns the topic of the symbol at the start of b, or nil where it is none.
func (p *parser) named(b []byte) []byte {
	symbol := [symbolSize]byte(b)
	if p.lastName != nil && symbol == p.symbol {
		return p.lastName
	}
	topic, known := p.symbols[symbol]
	if !known {
		var ok bool
		if p.scratch, ok = fixed.AppendSymbol(append(p.scratch[:0], p.prefix...), b[:symbolSize]); !ok {
			return nil
		}
		if len(p.symbols) >= symbolsMax {
			clear(p.symbols)
		}
		topic = append([]byte(nil), p.scratch...)
		p.symbols[symbol] = topic
	}
	p.symbol, p.lastName = symbol, topic
	return topic
}

// Describe implements pcap.Parser.
func (p *parser) Describe(s pcap.Stream) string {
	return fmt.Sprintf("unit %d on port %d", s[2], binary.BigEndian.Uint16(s[:]))
}

// Encoding implements pcap.Parser.
func (p *parser) Encoding() feed.Encoding { return feed.Encoding{Format: Name} }

// Notes implements pcap.Parser.
func (p *parser) Notes() []string {
	notes := pcap.NoteCount(nil, "heartbeats", p.heartbeats)
	notes = pcap.NoteCount(notes, "messages of unknown types", p.unknown)
	return pcap.NoteCount(notes, "messages about orders whose adding the capture does not have", p.strange)
}
