package tape

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// ID is the identity of a tape: 16 random bytes, hexadecimal as text.
type ID [16]byte

func newID() ID {
	var id ID
	rand.Read(id[:]) // never fails
	return id
}

// String returns the identity as 32 hexadecimal digits.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) error { return unhex(id[:], text, "id") }

// Digest is a chain hash: over the records of every block up to one. Two tapes
// with the same digest have the same records in the same blocks' order.
type Digest [32]byte

// String returns the digest as 64 hexadecimal digits.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// MarshalText implements encoding.TextMarshaler.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Digest) UnmarshalText(text []byte) error { return unhex(d[:], text, "digest") }

func unhex(dst, text []byte, what string) error {
	if len(text) != 2*len(dst) {
		return fmt.Errorf("tape: %s must have %d hexadecimal digits", what, 2*len(dst))
	}
	_, err := hex.Decode(dst, text)
	return err
}
