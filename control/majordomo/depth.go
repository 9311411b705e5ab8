package majordomo

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
)

// The protocol gives a worker one request at a time. A worker of ours that takes
// more says so where no peer of others looks: in the identity of its socket.
//
//	0  4    signature "TPMW"
//	4  u8   version, 1
//	5  u16  how many requests it takes at once, little-endian, 1 to 1024
//	7  8    random, so that no other has the same
const (
	identitySignature = "TPMW"
	identityVersion   = 1
	identitySize      = 15
	depthMax          = 1024
)

// identityOf returns a new identity for a worker that takes so many requests at
// once.
func identityOf(depth int) []byte {
	b := make([]byte, identitySize)
	copy(b, identitySignature)
	b[4] = identityVersion
	binary.LittleEndian.PutUint16(b[5:], uint16(depth))
	_, _ = rand.Read(b[7:]) // it does not fail
	return b
}

// depthOf is how many requests the worker of this address takes at once.
func depthOf(address []byte) int {
	if len(address) != identitySize || !bytes.HasPrefix(address, []byte(identitySignature)) || address[4] != identityVersion {
		return 1
	}
	if d := int(binary.LittleEndian.Uint16(address[5:])); d >= 1 && d <= depthMax {
		return d
	}
	return 1
}

// A client that lives in the process of a broker says so in the same place.
//
//	0  4    signature "TPML"
//	4  u8   version, 1
//	5  10   random
const localSignature = "TPML"

func localIdentity() []byte {
	b := make([]byte, identitySize)
	copy(b, localSignature)
	b[4] = identityVersion
	_, _ = rand.Read(b[5:]) // it does not fail
	return b
}

// local reports whether the client of this address lives in the process of a broker.
func local(address []byte) bool {
	return len(address) == identitySize && bytes.HasPrefix(address, []byte(localSignature)) && address[4] == identityVersion
}
