package columns

import (
	"encoding/binary"
	"math/bits"
)

// Predictors: what a number of a column is held against. The values are part of
// the format.
const (
	predFirst    = 0 // the column's first number
	predPrevious = 1 // the number before
	predTopic    = 2 // the last number of the same topic, or else the number before
	predEvent    = 3 // the first number, moved on by as much as the event time was
	predReceive  = 4 // the same with the receive time

	predictors = 5
)

// number says how a column of numbers is stored: what is left of each number
// when its prediction is taken off, divided by scale, in zigzag form, as that
// many planes of bytes.
type number struct {
	pred   uint8
	planes uint8  // bytes stored of each number, 0 to 8
	scale  uint64 // not 0
	first  uint64 // the first number itself
}

func (c *number) append(plan []byte) []byte {
	plan = append(plan, c.pred|c.planes<<4)
	plan = binary.AppendUvarint(plan, c.scale)
	return binary.AppendUvarint(plan, c.first)
}

func zigzag(d int64) uint64   { return uint64(d<<1) ^ uint64(d>>63) }
func unzigzag(z uint64) int64 { return int64(z>>1) ^ -int64(z&1) }

// extend returns the low bytes of v as a signed number; shift is 64 less their
// bits.
func extend(v uint64, shift uint) int64 { return int64(v<<shift) >> shift }

// gcd returns the greatest common divisor of g and the magnitude of d; 0 is the
// gcd of nothing.
func gcd(g uint64, d int64) uint64 {
	a := magnitude(d)
	if g == 0 || a == 0 {
		return g | a
	}
	if g == 1 || a == g {
		return g
	}
	for a != 0 {
		g, a = a, g%a
	}
	return g
}

func magnitude(d int64) uint64 {
	if d < 0 {
		return -uint64(d)
	}
	return uint64(d)
}

// column is a column of numbers on its way into planes, or out of them.
type column struct {
	values  []uint64
	prev    []int32  // predTopic: the place held against; unused otherwise
	event   []uint64 // predEvent: event times of the same records
	receive []uint64 // predReceive
	shift   uint     // 64 less the bits of a number
}

// residuals fills d, as long as the values, with what the predictor leaves.
func (c *column) residuals(d []int64, pred uint8) {
	v := c.values
	if len(v) == 0 {
		return
	}
	first := v[0]
	switch pred {
	case predFirst:
		for i, x := range v {
			d[i] = extend(x-first, c.shift)
		}
	case predPrevious:
		before := first
		for i, x := range v {
			d[i] = extend(x-before, c.shift)
			before = x
		}
	case predTopic:
		for i, x := range v {
			d[i] = extend(x-v[c.prev[i]], c.shift)
		}
	case predEvent, predReceive:
		times := c.times(pred)
		offset := first - times[0]
		for i, x := range v {
			d[i] = extend(x-times[i]-offset, c.shift)
		}
	}
	d[0] = 0
}

// residual is what the predictor leaves of one number.
func (c *column) residual(i int, pred uint8) int64 {
	v := c.values
	p := v[0]
	switch {
	case i == 0:
	case pred == predPrevious:
		p = v[i-1]
	case pred == predTopic:
		p = v[c.prev[i]]
	case pred >= predEvent:
		times := c.times(pred)
		p += times[i] - times[0]
	}
	return extend(v[i]-p, c.shift)
}

func (c *column) times(pred uint8) []uint64 {
	if pred == predReceive {
		return c.receive
	}
	return c.event
}

// restore is the inverse of residuals: it turns the residuals in values, already
// multiplied, into the numbers. The bits above a number's are undefined.
func (c *column) restore(pred uint8, first uint64) {
	v := c.values
	if len(v) == 0 {
		return
	}
	v[0] = first
	switch pred {
	case predFirst:
		for i := 1; i < len(v); i++ {
			v[i] += first
		}
	case predPrevious:
		before := first
		for i := 1; i < len(v); i++ {
			before += v[i]
			v[i] = before
		}
	case predTopic:
		prev := c.prev[:len(v)]
		for i := 1; i < len(v); i++ {
			v[i] += v[prev[i]]
		}
	case predEvent, predReceive:
		times := c.times(pred)[:len(v)]
		offset := first - times[0]
		for i := 1; i < len(v); i++ {
			v[i] += times[i] + offset
		}
	}
}

// scaleOf returns the greatest number that divides all of d, 1 where all are 0.
func scaleOf(d []int64) uint64 {
	g := uint64(0)
	for _, x := range d {
		if x == 0 {
			continue
		}
		if g = gcd(g, x); g == 1 {
			return 1
		}
	}
	return max(g, 1)
}

// planesOf turns d into scaled zigzag form in z and returns how many bytes of
// each are needed.
func planesOf(z []uint64, d []int64, scale uint64) uint8 {
	all := uint64(0)
	if scale == 1 {
		for i, x := range d {
			z[i] = zigzag(x)
			all |= z[i]
		}
	} else {
		for i, x := range d {
			z[i] = 0
			if x != 0 {
				z[i] = zigzag(divide(x, scale))
				all |= z[i]
			}
		}
	}
	return uint8((bits.Len64(all) + 7) / 8)
}

// divide returns d / scale, which is whole. The scale may be 2^63.
func divide(d int64, scale uint64) int64 {
	q := int64(magnitude(d) / scale)
	if d < 0 {
		return -q
	}
	return q
}

// appendPlane appends byte k of each number.
func appendPlane(dst []byte, z []uint64, k uint8) []byte {
	n := len(dst)
	dst = grow(dst, len(z))
	out := dst[n:]
	shift := 8 * uint(k)
	for i, x := range z {
		out[i] = byte(x >> (shift & 63))
	}
	return dst
}

// grow returns dst longer by n bytes of undefined content.
func grow(dst []byte, n int) []byte {
	if need := len(dst) + n; need > cap(dst) {
		bigger := make([]byte, len(dst), need+need/4)
		copy(bigger, dst)
		dst = bigger
	}
	return dst[:len(dst)+n]
}

// resize returns a slice of n elements of undefined content, reusing s.
func resize[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n, n+n/4)
	}
	return s[:n]
}

// joinPlanes puts the planes of len(v) bytes each together, undoes zigzag and
// multiplies.
func joinPlanes(v []uint64, data []byte, planes uint8, scale uint64) {
	n := len(v)
	switch planes {
	case 0:
		clear(v)
		return
	case 1:
		for i, b := range data[:n] {
			v[i] = uint64(unzigzag(uint64(b)))
		}
	case 2:
		a, b := data[:n], data[n:][:n]
		for i := range v {
			v[i] = uint64(unzigzag(uint64(a[i]) | uint64(b[i])<<8))
		}
	case 3:
		a, b, c := data[:n], data[n:][:n], data[2*n:][:n]
		for i := range v {
			v[i] = uint64(unzigzag(uint64(a[i]) | uint64(b[i])<<8 | uint64(c[i])<<16))
		}
	default:
		joinMany(v, data, planes)
	}
	if scale != 1 {
		for i := range v {
			v[i] *= scale
		}
	}
}

// joinMany is joinPlanes for four planes and more: four at once, the others one
// by one.
func joinMany(v []uint64, data []byte, planes uint8) {
	n := len(v)
	a, b, c, d := data[:n], data[n:][:n], data[2*n:][:n], data[3*n:][:n]
	for i := range v {
		v[i] = uint64(a[i]) | uint64(b[i])<<8 | uint64(c[i])<<16 | uint64(d[i])<<24
	}
	for k := uint(4); k < uint(planes); k++ {
		for i, b := range data[int(k)*n:][:n] {
			v[i] |= uint64(b) << (8 * k & 63)
		}
	}
	for i, z := range v {
		v[i] = uint64(unzigzag(z))
	}
}
