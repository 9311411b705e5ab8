package tape

import (
	"bytes"
	"encoding/binary"

	"github.com/tapedeck/tapedeck/tape/columns"
)

// Stored bytes of CodecColumns, little-endian. The layout is part of the format.
//
//	0  u32  size of the columns, bytes
//	4       the columns (package columns) in Zstandard frames, one or more, one
//	        after the other
const (
	columnsHeadSize = 4
	// columnsPartMin is the least of the columns that gets a frame of its own,
	// bytes. A frame has tables that suit its bytes, and costs about 40 of them.
	columnsPartMin = 512
)

// columnsEncoder and columnsDecoder are the state of CodecColumns.
type columnsEncoder struct {
	columns columns.Encoder
	inverse columns.Decoder
	buf     []byte // columns
	back    []byte // what becomes of them
}

type columnsDecoder struct {
	columns columns.Decoder
	buf     []byte // columns
}

// encodeColumns appends raw as it is stored, or reports that it has no columns.
func (e *encoder) encodeColumns(dst, raw []byte, payloadSize int) ([]byte, bool) {
	c := &e.columns
	var ok bool
	if c.buf, ok = c.columns.Encode(c.buf[:0], raw[:payloadSize], raw[payloadSize:]); !ok || !c.comeBack(raw) {
		return dst, false
	}
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.buf)))
	at := 0
	for _, cut := range c.columns.Cuts() {
		if cut-at >= columnsPartMin {
			dst = e.zstd.EncodeAll(c.buf[at:cut], dst)
			at = cut
		}
	}
	if at < len(c.buf) {
		dst = e.zstd.EncodeAll(c.buf[at:], dst)
	}
	return dst, true
}

// comeBack reports whether the columns become raw again. They always should; but
// a recording cannot be repeated, and the reading back takes an eighth of the
// time.
func (c *columnsEncoder) comeBack(raw []byte) bool {
	if cap(c.back) < len(raw) {
		c.back = make([]byte, len(raw)+len(raw)/8)
	}
	c.back = c.back[:len(raw)]
	return c.inverse.Decode(c.back, c.buf) == nil && bytes.Equal(c.back, raw)
}

// checkColumnsSize is checkDecodedSize: columns are never larger than what they
// are made of.
func checkColumnsSize(stored []byte, size int) error {
	if len(stored) < columnsHeadSize || uint64(binary.LittleEndian.Uint32(stored)) > uint64(size) {
		return errDecodedSize
	}
	return nil
}

// decodeColumns is decode for CodecColumns.
func (d *decoder) decodeColumns(dst, stored []byte) error {
	size := int(binary.LittleEndian.Uint32(stored))
	if cap(d.columns.buf) < size {
		d.columns.buf = make([]byte, size+size/8)
	}
	buf := d.columns.buf[:size]
	if err := d.unzstd(buf, stored[columnsHeadSize:]); err != nil {
		return err
	}
	return d.columns.columns.Decode(dst, buf)
}
