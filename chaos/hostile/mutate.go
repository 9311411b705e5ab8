package hostile

import (
	"encoding/binary"
	"math/rand/v2"
)

// numbers are values at which parsers go wrong.
var numbers = []uint64{0, 1, 2, 127, 128, 255, 256, 1<<15 - 1, 1 << 15, 1<<16 - 1, 1 << 16, 1 << 24, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 32,
	1 << 40, 1<<62 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}

// frameMax bounds what a frame is made to grow to, bytes, but for one in growRarely.
const (
	frameMax   = 4 << 10
	frameHuge  = 300 << 10
	growRarely = 4096
)

// mutate returns a message with something of it changed. The message is not touched,
// but what is returned may share frames with it.
func mutate(r *rand.Rand, message [][]byte) [][]byte {
	m := make([][]byte, len(message), len(message)+2)
	copy(m, message)
	for range 1 + r.IntN(3) {
		if len(m) == 0 || r.IntN(5) == 0 {
			m = mutateFrames(r, m)
			continue
		}
		i := r.IntN(len(m))
		m[i] = mutateBytes(r, append([]byte(nil), m[i]...))
	}
	if len(m) == 0 {
		m = append(m, nil)
	}
	return m
}

// mutateFrames drops, repeats, swaps or adds a frame.
func mutateFrames(r *rand.Rand, m [][]byte) [][]byte {
	if len(m) == 0 {
		return append(m, random(r, 64))
	}
	i, j := r.IntN(len(m)), r.IntN(len(m))
	switch r.IntN(5) {
	case 0:
		return append(m[:i:i], m[i+1:]...)
	case 1:
		return append(m, m[i])
	case 2:
		m[i], m[j] = m[j], m[i]
		return m
	case 3:
		for range r.IntN(40) { // many frames
			m = append(m, m[j])
		}
		return m
	}
	return append(m[:i:i], append([][]byte{random(r, 64)}, m[i:]...)...)
}

// mutateBytes changes a frame, which it owns.
func mutateBytes(r *rand.Rand, b []byte) []byte {
	if len(b) == 0 {
		return random(r, 64)
	}
	i := r.IntN(len(b))
	switch r.IntN(8) {
	case 0:
		b[i] ^= 1 << r.IntN(8)
	case 1:
		b[i] = byte(r.Uint32())
	case 2:
		return b[:i]
	case 3:
		return append(b, random(r, 64)...)
	case 4: // a number, of either order of bytes
		v := numbers[r.IntN(len(numbers))] + uint64(r.IntN(3)) - 1
		var n [8]byte
		if r.IntN(4) == 0 {
			binary.BigEndian.PutUint64(n[:], v)
		} else {
			binary.LittleEndian.PutUint64(n[:], v)
		}
		copy(b[i:], n[:1<<r.IntN(4)])
	case 5: // a stretch of it again
		j := i + r.IntN(len(b)-i)
		return append(b, b[i:j]...)
	case 6: // zeros, or nothing but ones
		fill := byte(0)
		if r.IntN(2) == 0 {
			fill = 0xff
		}
		for j := i; j < min(len(b), i+1+r.IntN(8)); j++ {
			b[j] = fill
		}
	default:
		return grow(r, b)
	}
	return b
}

// grow makes a frame larger.
func grow(r *rand.Rand, b []byte) []byte {
	most := frameMax
	if r.IntN(growRarely) == 0 {
		most = frameHuge
	}
	for size := r.IntN(most); len(b) < size; {
		b = append(b, b[:min(len(b), size-len(b))]...)
	}
	return b
}

// random is up to most random bytes, short ones more often than long ones.
func random(r *rand.Rand, most int) []byte {
	b := make([]byte, r.IntN(1+r.IntN(most+1)))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}
