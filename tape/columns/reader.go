package columns

import (
	"encoding/binary"
	"errors"
)

// ErrFormat: bytes that no Encoder wrote, or other sizes than it was given.
var ErrFormat = errors.New("columns: not what an encoder writes")

// cursor reads bytes from the front. After the first failure it is at its end
// and all it gives is zero.
type cursor struct {
	b   []byte
	bad bool
}

func (c *cursor) fail() {
	c.b, c.bad = nil, true
}

// take returns the next n bytes, or nil where there are not so many.
func (c *cursor) take(n int) []byte {
	if n < 0 || n > len(c.b) {
		c.fail()
		return nil
	}
	out := c.b[:n:n]
	c.b = c.b[n:]
	return out
}

func (c *cursor) byte() byte {
	if len(c.b) == 0 {
		c.fail()
		return 0
	}
	v := c.b[0]
	c.b = c.b[1:]
	return v
}

func (c *cursor) uvarint() uint64 {
	v, n := binary.Uvarint(c.b)
	if n <= 0 {
		c.fail()
		return 0
	}
	c.b = c.b[n:]
	return v
}

// count reads a number from least to most.
func (c *cursor) count(least, most int) int {
	v := c.uvarint()
	if v < uint64(least) || v > uint64(most) {
		c.fail()
		return 0
	}
	return int(v)
}

// number reads the description of a column of numbers of that many bits; its
// predictor must be one of those allowed.
func (c *cursor) number(allowed uint8, shift uint) (d number) {
	b := c.byte()
	d = number{pred: b & 15, planes: b >> 4, scale: c.uvarint(), first: c.uvarint()}
	if d.pred >= predictors || allowed>>d.pred&1 == 0 || d.planes > 8 || d.scale == 0 || d.first<<shift>>shift != d.first {
		c.fail()
	}
	return d
}
