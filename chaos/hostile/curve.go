package hostile

import (
	"bufio"
	"crypto/ecdh"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"

	"golang.org/x/crypto/nacl/box"
)

// errHandshake: the other end did not answer as RFC 26 says.
var errHandshake = errors.New("hostile: no answer to the handshake")

// curve is a client's half of a CURVE connection (ZeroMQ RFC 26).
type curve struct {
	lock           *Lock
	public, secret [32]byte // of this connection
	shared         [32]byte // with the server's key of this connection
	nonce          uint64
}

func newCurve(r *rand.Rand, lock *Lock) *curve {
	c := &curve{lock: lock}
	c.public, c.secret = keyPair(r)
	return c
}

func keyPair(r *rand.Rand) (public, secret [32]byte) {
	for i := 0; i < len(secret); i += 8 {
		binary.LittleEndian.PutUint64(secret[i:], r.Uint64())
	}
	k, err := ecdh.X25519().NewPrivateKey(secret[:])
	if err != nil {
		panic("BUG: any 32 bytes are a key of X25519: " + err.Error())
	}
	return [32]byte(k.PublicKey().Bytes()), secret
}

// counted is the next nonce that counts, and its eight bytes.
func (c *curve) counted(prefix string) (nonce [24]byte, short []byte) {
	c.nonce++
	copy(nonce[:], prefix)
	binary.BigEndian.PutUint64(nonce[16:], c.nonce)
	return nonce, nonce[16:]
}

// hello is the client's first command.
func (c *curve) hello() []byte {
	nonce, short := c.counted("CurveZMQHELLO---")
	data := append(make([]byte, 0, 200), 1, 0)
	data = append(data, make([]byte, 72)...)
	data = append(append(data, c.public[:]...), short...)
	var zeros [64]byte
	return commandBody("HELLO", box.Seal(data, zeros[:], &nonce, &c.lock.Server, &c.secret))
}

// welcomed reads the server's answer and returns what initiate needs: what is vouched
// for (64 bytes), the server's key of this connection (32) and its cookie (96).
func (c *curve) welcomed(in *bufio.Reader) ([]byte, error) {
	body, err := readFrame(in)
	if err != nil {
		return nil, err
	}
	const name = "\x07WELCOME"
	if len(body) != len(name)+16+128+box.Overhead || string(body[:len(name)]) != name {
		return nil, errHandshake
	}
	var nonce [24]byte
	copy(nonce[:], "WELCOME-")
	copy(nonce[8:], body[len(name):])
	plain, ok := box.Open(nil, body[len(name)+16:], &nonce, &c.lock.Server, &c.secret)
	if !ok || len(plain) != 128 {
		return nil, errHandshake
	}
	box.Precompute(&c.shared, (*[32]byte)(plain[:32]), &c.secret)
	vouched := append(append([]byte(nil), c.public[:]...), c.lock.Server[:]...)
	return append(vouched, plain...), nil
}

// initiate is the client's second command: cookie, who it is, and what socket.
func (c *curve) initiate(r *rand.Rand, welcome []byte, socket string) []byte {
	vouched, server, cookie := welcome[:64], (*[32]byte)(welcome[64:96]), welcome[96:]
	var vouchNonce [24]byte
	copy(vouchNonce[:], "VOUCH---")
	for i := 8; i < 24; i++ {
		vouchNonce[i] = byte(r.Uint32())
	}
	plain := append([]byte(nil), c.lock.Public[:]...)
	plain = append(plain, vouchNonce[8:]...)
	plain = box.Seal(plain, vouched, &vouchNonce, server, &c.lock.Secret)
	plain = append(plain, metadata("Socket-Type", socket)...)
	nonce, short := c.counted("CurveZMQINITIATE")
	data := append(append([]byte(nil), cookie...), short...)
	return commandBody("INITIATE", box.SealAfterPrecomputation(data, plain, &nonce, &c.shared))
}

// seal appends the frames of b as MESSAGE commands.
func (c *curve) seal(dst, b []byte) []byte {
	for len(b) > 0 {
		flags, body, rest, ok := cutFrame(b)
		if !ok {
			return append(dst, b...) // what is no frame goes out as it is
		}
		plain := append([]byte{flags & flagMore}, body...)
		if flags&flagCommand != 0 {
			plain[0] |= 2
		}
		nonce, short := c.counted("CurveZMQMESSAGEC")
		data := box.SealAfterPrecomputation(append([]byte(nil), short...), plain, &nonce, &c.shared)
		dst = appendFrame(dst, 0, commandBody("MESSAGE", data))
		b = rest
	}
	return dst
}

// cutFrame takes the first frame of b.
func cutFrame(b []byte) (flags byte, body, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, nil, false
	}
	n, size := 2, uint64(b[1])
	if b[0]&flagLong != 0 {
		if len(b) < 9 {
			return 0, nil, nil, false
		}
		n, size = 9, binary.BigEndian.Uint64(b[1:])
	}
	if b[0]&^(flagMore|flagLong|flagCommand) != 0 || size > uint64(len(b)-n) {
		return 0, nil, nil, false
	}
	return b[0], b[n : n+int(size)], b[n+int(size):], true
}

// readFrame reads a frame of the handshake.
func readFrame(in *bufio.Reader) ([]byte, error) {
	flags, err := in.ReadByte()
	if err != nil {
		return nil, err
	}
	size := uint64(0)
	if flags&flagLong != 0 {
		var b [8]byte
		if _, err := io.ReadFull(in, b[:]); err != nil {
			return nil, err
		}
		size = binary.BigEndian.Uint64(b[:])
	} else {
		b, err := in.ReadByte()
		if err != nil {
			return nil, err
		}
		size = uint64(b)
	}
	if size > frameMax {
		return nil, errHandshake
	}
	body := make([]byte, size)
	_, err = io.ReadFull(in, body)
	return body, err
}
