package export

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/tapedeck/tapedeck/feed/itch"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/wire"
)

// planPcap writes messages of ITCH in MoldUDP64, or datagrams where they came from.
func planPcap(c *Config) (job, error) {
	enc, err := c.single("pcap", itch.Name, pcap.Name)
	if err != nil {
		return nil, err
	}
	if enc.Format == itch.Name {
		return newMold(c, enc), nil
	}
	if c.Group.IsValid() || c.Session != "" || c.MTU != 0 {
		return nil, fmt.Errorf("%w: group, session and MTU are those that the datagrams had", ErrOption)
	}
	return &datagrams{}, nil
}

// datagrams writes each record as a datagram to the group and port that end its
// topic.
type datagrams struct {
	topic []byte
	to    netip.AddrPort
}

func (*datagrams) passes() int { return 1 }

func (d *datagrams) write(r *run) error {
	c, err := newCapture(r.w)
	if err != nil {
		return err
	}
	untimed := uint64(0)
	err = r.each(func(n uint64, rec wire.Record) error {
		if rec.Flags()&wire.FlagNoReceiveTime != 0 {
			untimed++
		}
		if string(rec.Topic()) != string(d.topic) {
			d.topic = append(d.topic[:0], rec.Topic()...)
			var ok bool
			if d.to, ok = destination(string(d.topic)); !ok {
				return &RecordError{n, errNoGroup}
			}
		}
		if err := c.datagram(d.to, rec.Body(), rec.Receive()); err != nil {
			return packetError(n, err)
		}
		r.report.Records++
		return nil
	})
	noteUntimed(r, untimed)
	return err
}

var errNoGroup = errors.New("the topic does not end in a group and port")

// destination returns the longest end of a topic that is an address and a port.
// What is before it is the prefix that the import gave.
func destination(topic string) (netip.AddrPort, bool) {
	for i := range topic {
		if to, err := netip.ParseAddrPort(topic[i:]); err == nil {
			return to, true
		}
	}
	return netip.AddrPort{}, false
}

// packetError adds the record to what makes it unfit for a packet; an error of the
// output is none of the record's.
func packetError(n uint64, err error) error {
	if errors.Is(err, errPacketTime) || errors.Is(err, errPacketSize) {
		return &RecordError{n, err}
	}
	return err
}

func noteUntimed(r *run, n uint64) {
	if n > 0 {
		r.note("records without a time of receipt, whose packets have the event time: %d", n)
	}
}

// The head of a MoldUDP64 packet, big-endian: 10 bytes of session, u64 sequence
// number of the first message, u16 message count; then the messages, each behind
// its u16 length. See "MoldUDP64 Protocol Specification", version 1.00.
const (
	moldSequenceOff = sessionSize
	moldCountOff    = moldSequenceOff + 8
	moldHeadSize    = moldCountOff + 2
	moldLengthSize  = 2
	moldCountMax    = 0xfffe // one more is the end of the session
)

// mold writes messages in MoldUDP64 packets.
type mold struct {
	to    netip.AddrPort
	limit int // bytes that a packet with more than one message may have

	c       *capture
	packet  []byte
	count   int
	next    uint64 // sequence number of the next message
	at      wire.Nanos
	number  uint64 // of the packet's first record
	untimed uint64
}

func newMold(c *Config, enc wire.Encoding) *mold {
	m := &mold{to: c.Group, next: 1}
	if !m.to.IsValid() {
		m.to = groupNasdaq
		if enc.Detail["venue"] == venueBX {
			m.to = groupBX
		}
	}
	mtu, session := c.MTU, c.Session
	if mtu == 0 {
		mtu = mtuDefault
	}
	if session == "" {
		session = sessionDefault
	}
	m.limit = payloadMax(m.to, mtu)
	m.packet = make([]byte, moldHeadSize, mtuMax)
	for i := range m.packet[:sessionSize] {
		m.packet[i] = ' '
	}
	copy(m.packet, session)
	return m
}

func (*mold) passes() int { return 1 }

func (m *mold) write(r *run) error {
	var err error
	if m.c, err = newCapture(r.w); err != nil {
		return err
	}
	err = r.each(func(n uint64, rec wire.Record) error {
		if err := m.add(n, rec); err != nil {
			return err
		}
		r.report.Records++
		return nil
	})
	if err == nil {
		err = m.flush()
	}
	noteUntimed(r, m.untimed)
	return err
}

// add puts a message into the packet, or into the next one.
func (m *mold) add(n uint64, rec wire.Record) error {
	body, at := rec.Body(), rec.Receive()
	size := moldLengthSize + len(body)
	if moldHeadSize+size > payloadMax(m.to, mtuMax) {
		return &RecordError{n, errPacketSize}
	}
	if m.count > 0 && (at != m.at || len(m.packet)+size > m.limit || m.count == moldCountMax) {
		if err := m.flush(); err != nil {
			return err
		}
	}
	if m.count == 0 {
		m.at, m.number = at, n
	}
	if rec.Flags()&wire.FlagNoReceiveTime != 0 {
		m.untimed++
	}
	m.packet = binary.BigEndian.AppendUint16(m.packet, uint16(len(body)))
	m.packet = append(m.packet, body...)
	m.count++
	return nil
}

// flush writes the packet, if it has messages.
func (m *mold) flush() error {
	if m.count == 0 {
		return nil
	}
	binary.BigEndian.PutUint64(m.packet[moldSequenceOff:], m.next)
	binary.BigEndian.PutUint16(m.packet[moldCountOff:], uint16(m.count))
	if err := m.c.datagram(m.to, m.packet, m.at); err != nil {
		return packetError(m.number, err)
	}
	m.next += uint64(m.count)
	m.packet, m.count = m.packet[:moldHeadSize], 0
	return nil
}
