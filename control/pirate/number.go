package pirate

import "encoding/binary"

// A number frame is the first frame of the body of a request and of its reply. A
// client that retries tells by it which request a reply is to. Servers that know
// nothing of it give back what they got, or leave it where it is.
//
//	0  4    signature "TPLP"
//	4  u8   version, 1
//	5  u8   0: request or reply; 1: the request has failed, the next frame says why
//	6  u16  zero
//	8  u64  number, little-endian
const (
	// NumberSize is the size of a number frame, bytes.
	NumberSize = 16

	numberSignature = "TPLP"
	numberVersion   = 1
	numberFailedOff = 5
	numberValueOff  = 8
)

// AppendNumber appends a number frame to dst and returns the extended slice.
// failed is for whoever answers with a reason instead of a reply.
func AppendNumber(dst []byte, n uint64, failed bool) []byte {
	flag := byte(0)
	if failed {
		flag = 1
	}
	dst = append(append(dst, numberSignature...), numberVersion, flag, 0, 0)
	return binary.LittleEndian.AppendUint64(dst, n)
}

// ParseNumber takes a number frame apart; ok is false where it is none.
func ParseNumber(b []byte) (n uint64, failed, ok bool) {
	if len(b) != NumberSize || string(b[:4]) != numberSignature || b[4] != numberVersion ||
		b[numberFailedOff] > 1 || b[6] != 0 || b[7] != 0 {
		return 0, false, false
	}
	return binary.LittleEndian.Uint64(b[numberValueOff:]), b[numberFailedOff] == 1, true
}
