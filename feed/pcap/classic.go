package pcap

import (
	"fmt"
	"io"

	"github.com/gopacket/gopacket/pcapgo"
)

// openClassic reads the file head of a pcap.
func (c *capture) openClassic() error {
	r, err := pcapgo.NewReader(c.in.buf)
	if err != nil {
		return c.bad(err)
	}
	link := r.LinkType()
	if !known(link) {
		return fmt.Errorf("%w: %d (%v)", ErrLink, uint16(link), link)
	}
	// The reader takes the snap length of the head at its word, and 0 for nothing.
	r.SetSnaplen(snapMax)
	c.read = func(f *frame) error {
		f.link = link
		return c.readClassic(r, f)
	}
	return nil
}

// readClassic reads a packet.
func (c *capture) readClassic(r *pcapgo.Reader, f *frame) error {
	c.offset = c.in.offset()
	data, ci, err := r.ZeroCopyReadPacketData()
	switch {
	case err == nil:
	case err == io.EOF && c.in.read == c.offset:
		return io.EOF // io.EOF stands for a packet's head without a packet as well
	case ci.CaptureLength > snapMax:
		return damaged("a packet of %d bytes", ci.CaptureLength)
	case ci.CaptureLength > ci.Length:
		// The reader refuses it between head and data. It is not for us to say that
		// the length on the line is the right one of the two.
		if ci.CaptureLength > c.in.buf.Size() {
			return damaged("%d bytes of a packet of %d", ci.CaptureLength, ci.Length)
		}
		if data, err = c.in.buf.Peek(ci.CaptureLength); err != nil {
			return c.cut(err)
		}
		c.in.buf.Discard(len(data))
	default:
		return c.cut(err)
	}
	c.number++
	f.data, f.length, f.noTime = data, ci.Length, false
	return f.setTime(ci.Timestamp.Unix(), int64(ci.Timestamp.Nanosecond()))
}
