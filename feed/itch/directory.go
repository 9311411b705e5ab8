package itch

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	systemName  = "@system"
	unknownMark = '#'

	// Venues, as market identifier codes (ISO 10383).
	venueNasdaq = "XNAS"
	venueBX     = "XBOS"
)

// directory names the stocks of one feed by their locate codes.
type directory struct {
	prefix []byte // of every topic, venue and "." included
	system []byte // topic of messages about the market
	pages  [256]*[256]entry
}

// entry is one locate code.
type entry struct {
	stock uint64 // as it stands in messages; 0 where none is known
	topic []byte // nil where the code has not come
}

func newDirectory(prefix, venue string) *directory {
	p := prefix + venue + "."
	return &directory{prefix: []byte(p), system: []byte(p + systemName)}
}

// topic returns the topic of a message, borrowed until its locate code is given to
// another stock.
func (d *directory) topic(m *message, b []byte) []byte {
	locate := binary.BigEndian.Uint16(b[locateOff:])
	page := d.pages[locate>>8]
	if page == nil {
		page = new([256]entry)
		d.pages[locate>>8] = page
	}
	e := &page[locate&0xff]
	if m.stockOff != 0 {
		if stock := binary.LittleEndian.Uint64(b[m.stockOff:]); stock != e.stock || e.topic == nil {
			d.learn(e, locate, stock, b[m.stockOff:][:stockSize])
		}
		return e.topic
	}
	if e.topic == nil {
		if locate == 0 {
			return d.system
		}
		e.topic = d.number(nil, locate)
	}
	return e.topic
}

// learn takes in that a locate code stands for a stock. A name that is not
// printable is passed over. The old topic may be borrowed still, so it is not
// written over.
func (d *directory) learn(e *entry, locate uint16, stock uint64, name []byte) {
	topic, ok := fixed.AppendSymbol(append(make([]byte, 0, len(d.prefix)+stockSize), d.prefix...), name)
	switch {
	case ok:
		e.stock, e.topic = stock, topic
	case e.topic == nil:
		e.topic = d.number(topic, locate)
	}
}

// number makes the topic of a locate code without a name.
func (d *directory) number(dst []byte, locate uint16) []byte {
	dst = append(append(dst[:0], d.prefix...), unknownMark)
	return strconv.AppendUint(dst, uint64(locate), 10)
}

// checkNames refuses a topic prefix and a venue that leave no room for a symbol or
// that are no text.
func checkNames(o *feed.Options) error {
	if strings.ContainsFunc(o.Dataset, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return fmt.Errorf("itch: venue %q is not printable", o.Dataset)
	}
	if n := len(o.Topic) + max(len(o.Dataset), len(venueNasdaq)) + 1 + stockSize; n > wire.TopicSizeMax {
		return fmt.Errorf("itch: topic prefix and venue leave no room for a symbol in %d bytes", wire.TopicSizeMax)
	}
	return nil
}
