package titanic

import (
	"encoding/binary"
	"fmt"
)

// Frames in a record: how many there are, then each with its size before it.
//
//	0  u32  count
//	4  count times: u32 size, bytes
const (
	frameHead   = 4
	framesLimit = 64 // in a record, whoever wrote it
)

// framesSize is how many bytes appendFrames appends.
func framesSize(frames [][]byte) int {
	n := frameHead
	for _, f := range frames {
		n += frameHead + len(f)
	}
	return n
}

func appendFrames(dst []byte, frames [][]byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(frames)))
	for _, f := range frames {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f)))
		dst = append(dst, f...)
	}
	return dst
}

// parseFrames takes frames apart, all of b. They are borrowed from b.
func parseFrames(b []byte) ([][]byte, error) {
	if len(b) < frameHead {
		return nil, fmt.Errorf("%w: no room for the number of frames", ErrRecord)
	}
	count := int(binary.LittleEndian.Uint32(b))
	if b = b[frameHead:]; count > framesLimit || count > len(b)/frameHead {
		return nil, fmt.Errorf("%w: %d frames in %d bytes", ErrRecord, count, len(b))
	}
	frames := make([][]byte, count)
	for i := range frames {
		if len(b) < frameHead {
			return nil, fmt.Errorf("%w: frame %d begins beyond the end", ErrRecord, i)
		}
		size := int(binary.LittleEndian.Uint32(b))
		if b = b[frameHead:]; size > len(b) {
			return nil, fmt.Errorf("%w: frame %d has %d bytes, %d are there", ErrRecord, i, size, len(b))
		}
		frames[i], b = b[:size:size], b[size:]
	}
	if len(b) > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last frame", ErrRecord, len(b))
	}
	return frames, nil
}
