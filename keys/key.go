package keys

import (
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
)

// Key is a public key.
type Key [32]byte

// String returns the key as 40 characters of Z85.
func (k Key) String() string { return encodeZ85(k[:]) }

// Short returns the first eight characters of a key: enough for a log.
func (k Key) Short() string { return k.String()[:8] }

// ErrKey: a text is no key.
var ErrKey = errors.New("keys: want a key of 40 characters of Z85")

// ParseKey reads a key from 40 characters of Z85.
func ParseKey(s string) (Key, error) {
	var k Key
	if err := decodeZ85(k[:], s); err != nil {
		return Key{}, err
	}
	return k, nil
}

// Secret is a secret key. It does not print itself.
type Secret [32]byte

// String implements fmt.Stringer without telling.
func (Secret) String() string { return "(secret)" }

// GoString implements fmt.GoStringer without telling.
func (Secret) GoString() string { return "(secret)" }

// Z85 returns the secret as 40 characters of Z85: for libzmq, and for the file that
// keeps it.
func (s Secret) Z85() string { return encodeZ85(s[:]) }

// Public returns the public key of a secret one.
func (s Secret) Public() (Key, error) {
	p, err := ecdh.X25519().NewPrivateKey(s[:])
	if err != nil {
		return Key{}, fmt.Errorf("keys: %w", err)
	}
	return Key(p.PublicKey().Bytes()), nil
}

// Pair is a key pair.
type Pair struct {
	Name   string // for people
	Public Key
	Secret Secret
}

// NewPair makes a key pair.
func NewPair(name string) (Pair, error) {
	if err := CheckName(name); err != nil {
		return Pair{}, err
	}
	p, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return Pair{}, fmt.Errorf("keys: %w", err)
	}
	return Pair{Name: name, Public: Key(p.PublicKey().Bytes()), Secret: Secret(p.Bytes())}, nil
}

// nameMax bounds a name, bytes.
const nameMax = 64

// CheckName refuses names that cannot be those of files or of labels: a name has 1 to
// 64 letters, digits, dots, dashes and underscores, and does not begin with a dot.
func CheckName(name string) error {
	if name == "" || len(name) > nameMax || name[0] == '.' {
		return fmt.Errorf("keys: the name %q: want 1 to %d letters, digits, dots, dashes and underscores, not beginning with a dot", name, nameMax)
	}
	for _, c := range []byte(name) {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '.' && c != '-' && c != '_' {
			return fmt.Errorf("keys: the name %q has a %q: want letters, digits, dots, dashes and underscores", name, c)
		}
	}
	return nil
}
