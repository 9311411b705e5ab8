package keys

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// z85 is the alphabet of ZeroMQ RFC 32: each five characters are four bytes, a number
// in base 85, most significant first.
const z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

func encodeZ85(b []byte) string {
	var s strings.Builder
	for ; len(b) >= 4; b = b[4:] {
		n := binary.BigEndian.Uint32(b)
		for d := uint32(85 * 85 * 85 * 85); d > 0; d /= 85 {
			s.WriteByte(z85[n/d%85])
		}
	}
	return s.String()
}

// decodeZ85 fills dst, a multiple of four bytes, from exactly as many characters as
// that takes.
func decodeZ85(dst []byte, s string) error {
	if len(s) != len(dst)/4*5 {
		return fmt.Errorf("%w, got %d", ErrKey, len(s))
	}
	for ; len(s) > 0; s, dst = s[5:], dst[4:] {
		var n uint64
		for _, c := range []byte(s[:5]) {
			v := strings.IndexByte(z85, c)
			if v < 0 {
				return fmt.Errorf("%w: %q is none of them", ErrKey, c)
			}
			n = n*85 + uint64(v)
		}
		if n > 1<<32-1 {
			return fmt.Errorf("%w: %q is too large", ErrKey, s[:5])
		}
		binary.BigEndian.PutUint32(dst, uint32(n))
	}
	return nil
}
