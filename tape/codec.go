package tape

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Codec says how the bytes of a block are stored. The numbers are part of the
// format.
type Codec uint8

// The codecs. A writer stores a block plain where compression gains nothing.
const (
	CodecPlain Codec = 1 // as it travels
	CodecS2    Codec = 2 // one S2 block (klauspost/compress/s2, block format)
	CodecZstd  Codec = 3 // one Zstandard frame (RFC 8878) with its content size
	// CodecColumns stores the columns of package tape/columns in Zstandard
	// frames. A block that has none, or whose columns gain nothing, is stored as
	// with CodecZstd.
	CodecColumns Codec = 4

	// CodecDefault is what a Config without a codec gets; docs/TAPE.md has the
	// measurement behind it.
	CodecDefault = CodecS2
)

var codecNames = [...]string{CodecPlain: "plain", CodecS2: "s2", CodecZstd: "zstd", CodecColumns: "columns"}

func (c Codec) known() bool { return c >= CodecPlain && int(c) < len(codecNames) }

// String returns the codec's name.
func (c Codec) String() string {
	if c.known() {
		return codecNames[c]
	}
	return strconv.Itoa(int(c))
}

// CodecNames returns the names of all codecs, in the order of their numbers.
func CodecNames() []string { return slices.Clone(codecNames[CodecPlain:]) }

// ParseCodec is the inverse of Codec.String.
func ParseCodec(s string) (Codec, error) {
	for c, name := range codecNames {
		if name == s && s != "" {
			return Codec(c), nil
		}
	}
	return 0, fmt.Errorf("tape: unknown codec %q (known: %s)", s, strings.Join(CodecNames(), ", "))
}

// MarshalText implements encoding.TextMarshaler.
func (c Codec) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (c *Codec) UnmarshalText(text []byte) error {
	got, err := ParseCodec(string(text))
	*c = got
	return err
}

// encoder compresses blocks. It belongs to one goroutine.
type encoder struct {
	zstd    *zstd.Encoder
	columns columnsEncoder
}

func newEncoder(c Codec) (*encoder, error) {
	e := &encoder{}
	if c != CodecZstd && c != CodecColumns {
		return e, nil
	}
	var err error
	// The block has checksums of its own, so the frame needs none; a frame of a
	// single segment always states its content size, which readers rely on.
	e.zstd, err = zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault),
		zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithSingleSegment(true))
	return e, err
}

// encode appends the compressed raw, a payload of that size and an order, to dst
// and returns the extended slice and the codec that it is stored with.
func (e *encoder) encode(dst, raw []byte, payloadSize int, c Codec) ([]byte, Codec) {
	if c == CodecColumns {
		if out, ok := e.encodeColumns(dst, raw, payloadSize); ok {
			return out, c
		}
		c = CodecZstd
	}
	if c == CodecZstd {
		return e.zstd.EncodeAll(raw, dst), c
	}
	n, max := len(dst), s2.MaxEncodedLen(len(raw))
	if cap(dst)-n < max {
		dst = append(make([]byte, 0, n+max), dst...)
	}
	return dst[:n+len(s2.Encode(dst[n:n+max], raw))], c
}

// decoder decompresses blocks. It belongs to one goroutine at a time.
type decoder struct {
	zstd    *zstd.Decoder
	columns columnsDecoder
}

var errDecodedSize = errors.New("decoded size differs from the block header")

// checkDecodedSize holds the size that compressed bytes state against the block
// header's, so that no memory is set aside because one of them lies.
func checkDecodedSize(stored []byte, c Codec, size int) error {
	if c == CodecS2 {
		if n, err := s2.DecodedLen(stored); err != nil || n != size {
			return errDecodedSize
		}
		return nil
	}
	if c == CodecColumns {
		return checkColumnsSize(stored, size)
	}
	var h zstd.Header
	if err := h.Decode(stored); err != nil {
		return err
	}
	if !h.HasFCS || h.FrameContentSize != uint64(size) {
		return errDecodedSize
	}
	return nil
}

// decode fills dst, which has exactly the size that the block header states,
// from stored, which checkDecodedSize has accepted.
func (d *decoder) decode(dst, stored []byte, c Codec) error {
	if c == CodecS2 {
		_, err := s2.Decode(dst, stored)
		return err
	}
	if c == CodecColumns {
		return d.decodeColumns(dst, stored)
	}
	return d.unzstd(dst, stored)
}

// unzstd fills dst from frames.
func (d *decoder) unzstd(dst, frames []byte) error {
	if d.zstd == nil {
		// DecodeAll never writes past dst, whatever the frame holds.
		z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
			zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(rawSizeMax))
		if err != nil {
			return err
		}
		d.zstd = z
	}
	out, err := d.zstd.DecodeAll(frames, dst[:0:len(dst)])
	if err == nil && len(out) != len(dst) {
		err = errDecodedSize
	}
	return err
}
