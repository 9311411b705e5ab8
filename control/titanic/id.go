package titanic

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strings"
)

// IDSize is the size of an ID, bytes.
const IDSize = 16

// ID names a job: random, and so hard to guess that whoever has it may ask for the
// job's reply. Written down it is 32 hexadecimal characters.
type ID [IDSize]byte

// newID returns an ID that no other job has.
func newID() ID {
	var id ID
	_, _ = rand.Read(id[:]) // it never fails
	return id
}

// ParseID reads 32 hexadecimal characters, of either case. The error is
// ErrUnknown: no job has such a name.
func ParseID(text string) (ID, error) {
	var id ID
	if len(text) != hex.EncodedLen(IDSize) {
		return ID{}, fmt.Errorf("%w: an id has 32 characters, this one %d", ErrUnknown, len(text))
	}
	if _, err := hex.Decode(id[:], []byte(text)); err != nil {
		return ID{}, fmt.Errorf("%w: an id is hexadecimal", ErrUnknown)
	}
	return id, nil
}

// String returns the ID as 32 hexadecimal characters, upper case.
func (id ID) String() string { return strings.ToUpper(hex.EncodeToString(id[:])) }

// MarshalText implements encoding.TextMarshaler.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (id *ID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseID(string(text))
	return err
}
