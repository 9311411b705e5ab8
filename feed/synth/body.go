package synth

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// The body layout; package comment.
const (
	numberOff      = 0
	topicOff       = 8
	topicNumberOff = 12
	priceOff       = 16
	sizeOff        = 24
	sideOff        = 28
	versionOff     = 29
	zeroOff        = 30

	// HeadSize is the size of a body's fixed part, and the smallest body, bytes.
	HeadSize = 32

	layoutVersion = 1
)

// Head is the fixed part of a body.
type Head struct {
	Number      uint64 // of the record in the stream, from 0
	Price       int64  // 1e-9
	Topic       uint32 // number of the topic, from 0
	TopicNumber uint32 // of the record in its topic, from 0
	Size        uint32
	Side        byte // 'B' or 'A'
}

// ErrBody: bytes that are no body of this package.
var ErrBody = errors.New("synth: not a body of the generator")

func putHead(b []byte, h *Head) {
	_ = b[HeadSize-1]
	le := binary.LittleEndian
	le.PutUint64(b[numberOff:], h.Number)
	le.PutUint32(b[topicOff:], h.Topic)
	le.PutUint32(b[topicNumberOff:], h.TopicNumber)
	le.PutUint64(b[priceOff:], uint64(h.Price))
	le.PutUint32(b[sizeOff:], h.Size)
	b[sideOff], b[versionOff] = h.Side, layoutVersion
	le.PutUint16(b[zeroOff:], 0)
}

// ParseHead takes the fixed part of a body apart. The error is ErrBody.
func ParseHead(body []byte) (Head, error) {
	le := binary.LittleEndian
	if len(body) < HeadSize || body[versionOff] != layoutVersion || le.Uint16(body[zeroOff:]) != 0 ||
		body[sideOff] != 'A' && body[sideOff] != 'B' {
		return Head{}, ErrBody
	}
	return Head{
		Number: le.Uint64(body[numberOff:]), Topic: le.Uint32(body[topicOff:]), TopicNumber: le.Uint32(body[topicNumberOff:]),
		Price: int64(le.Uint64(body[priceOff:])), Size: le.Uint32(body[sizeOff:]), Side: body[sideOff],
	}, nil
}

// Decode takes a body apart for people, as feed.Format.Decode. The fields borrow
// nothing.
func Decode(dst []feed.Field, enc feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	if enc.Format != Name {
		return dst, fmt.Errorf("synth: body of format %q", enc.Format)
	}
	h, err := ParseHead(body)
	if err != nil {
		return dst, err
	}
	side := "bid"
	if h.Side == 'A' {
		side = "ask"
	}
	return append(dst,
		feed.Field{Name: "number", Value: h.Number},
		feed.Field{Name: "topic_number", Value: uint64(h.TopicNumber)},
		feed.Field{Name: "side", Value: side},
		feed.Field{Name: "price", Value: formatPrice(h.Price)},
		feed.Field{Name: "size", Value: uint64(h.Size)},
		feed.Field{Name: "padding_bytes", Value: uint64(len(body) - HeadSize)},
	), nil
}

// formatPrice writes a price of 1e-9 with two digits or, where they are not
// enough, all nine.
func formatPrice(price int64) string {
	sign, abs := "", uint64(price)
	if price < 0 {
		sign, abs = "-", -abs
	}
	whole, part := abs/1e9, abs%1e9
	if part%1e7 == 0 {
		return fmt.Sprintf("%s%d.%02d", sign, whole, part/1e7)
	}
	return fmt.Sprintf("%s%d.%09d", sign, whole, part)
}
