package tape

import (
	"bytes"
	"fmt"
)

// A JSON file of a tape ends in the checksum field, at a fixed place from the
// end: CRC32C of the whole file with the eight digits as zeros.
const (
	sealedTail   = "\"\n}\n"
	checksumZero = "00000000"
	sealedField  = "\"checksum\": \""
)

// sealJSON fills the checksum in at the end of b, which it returns.
func sealJSON(b []byte) []byte {
	copy(b[len(b)-len(sealedTail)-len(checksumZero):], fmt.Sprintf("%08x", checksum(b)))
	return b
}

// checkSealedJSON returns why b is not a file that sealJSON made, or "".
func checkSealedJSON(b []byte) string {
	at := len(b) - len(sealedTail) - len(checksumZero)
	if at < len(sealedField) || string(b[at-len(sealedField):at]) != sealedField ||
		string(b[at+len(checksumZero):]) != sealedTail {
		return "does not end in the checksum"
	}
	zeroed := append(append(bytes.Clone(b[:at]), checksumZero...), sealedTail...)
	if fmt.Sprintf("%08x", checksum(zeroed)) != string(b[at:at+len(checksumZero)]) {
		return "checksum differs"
	}
	return ""
}
