package zmtp

import (
	"bufio"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"golang.org/x/crypto/curve25519"
	"golang.org/x/crypto/nacl/box"
	"golang.org/x/crypto/nacl/secretbox"
)

// Errors of a handshake with keys.
var (
	// ErrCurve: what the peer sends does not fit its keys, or it does not know ours.
	ErrCurve = errors.New("zmtp: the peer's CURVE handshake is wrong")
	// ErrRefused: the peer has shown its key, and may not connect.
	ErrRefused = errors.New("zmtp: the peer is refused")
)

// Sizes of CurveZMQ's commands (ZeroMQ RFC 26), bytes, without the command's name.
const (
	keySize      = 32
	nonceSize    = 8  // of those that count
	longNonce    = 16 // of those that are random
	helloSize    = 2 + 72 + keySize + nonceSize + 64 + box.Overhead
	cookieSize   = longNonce + 2*keySize + secretbox.Overhead
	vouchSize    = longNonce + 2*keySize + box.Overhead
	initiateMin  = cookieSize + nonceSize + box.Overhead + keySize + vouchSize
	messageName  = "\x07MESSAGE"
	messageAdded = len(messageName) + nonceSize + box.Overhead + 1 // and the flags
)

// The flags of a message within a MESSAGE command.
const (
	sealedMore    = 1
	sealedCommand = 2
)

var greetingCurve = [greetingSize]byte{0: 0xff, 9: 0x7f, 10: 3, 12: 'C', 13: 'U', 14: 'R', 15: 'V', 16: 'E', 32: 1}

// HandshakeCurve is Handshake with the CURVE mechanism: ZeroMQ RFC 26, as the server.
// secret is this side's secret key. check is called with the client's public key,
// after the client has proven that it has the secret one; an error of it refuses the
// client, which is told no more than that. What is written to the connection that is
// returned, whole frames in pieces of any size, goes out sealed.
func HandshakeCurve(conn net.Conn, secret *[32]byte, check func(client [32]byte) error) (*Session, net.Conn, error) {
	h := &curve{secret: secret, s: &Session{r: bufio.NewReaderSize(conn, 1<<10), buf: make([]byte, 0, 512)}}
	if _, err := conn.Write(greetingCurve[:]); err != nil {
		return nil, nil, err
	}
	if err := h.s.takeGreeting(&greetingCurve); err != nil {
		return nil, nil, err
	}
	hello, err := h.command("HELLO", helloSize, helloSize)
	if err != nil {
		return nil, nil, err
	}
	welcome, err := h.welcome(hello)
	if err != nil {
		return nil, nil, err
	}
	if _, err := conn.Write(appendCommand(nil, "WELCOME", welcome)); err != nil {
		return nil, nil, err
	}
	initiate, err := h.command("INITIATE", initiateMin, FrameMax)
	if err != nil {
		return nil, nil, err
	}
	client, metadata, err := h.initiate(initiate)
	if err != nil {
		return nil, nil, err
	}
	if err := check(client); err != nil {
		_, _ = conn.Write(appendCommand(nil, "ERROR", []byte("\x03400"))) // ends either way
		return nil, nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	if err := checkSubscriber(metadata); err != nil {
		return nil, nil, err
	}
	out := &sealed{Conn: conn, key: h.shared}
	nonce := out.nonce("CurveZMQREADY---")
	ready := out.seal(nonce[:], readyData())
	if _, err := conn.Write(appendCommand(nil, "READY", ready)); err != nil {
		return nil, nil, err
	}
	h.s.opener = &opener{key: h.shared, last: h.last}
	return h.s, out, nil
}

// curve is a handshake.
type curve struct {
	s          *Session
	secret     *[32]byte // ours, long-term
	ours       [32]byte  // of this connection, secret
	cookieKey  [32]byte
	theirs     [32]byte // of this connection, public
	oursPublic *[32]byte
	last       uint64    // the client's nonce
	shared     *[32]byte // of this connection
}

// command reads a command of the handshake.
func (h *curve) command(name string, least, most int) ([]byte, error) {
	flags, body, err := h.s.frame()
	if err != nil {
		return nil, err
	}
	got, data, ok := command(body)
	if flags != flagCommand && flags != flagCommand|flagLong || !ok || string(got) != name || len(data) < least || len(data) > most {
		return nil, fmt.Errorf("%w: no %s", ErrProtocol, name)
	}
	return data, nil
}

// welcome answers HELLO: [version 2][padding 72][client's key 32][nonce 8][box 80].
func (h *curve) welcome(hello []byte) ([]byte, error) {
	if hello[0] != 1 || hello[1] != 0 {
		return nil, fmt.Errorf("%w: version %d.%d", ErrCurve, hello[0], hello[1])
	}
	rest := hello[2+72:]
	h.theirs = [32]byte(rest[:keySize])
	zeros, err := h.openCounted("CurveZMQHELLO---", rest[keySize:], &h.theirs, h.secret)
	if err != nil || [64]byte(zeros) != [64]byte{} {
		return nil, fmt.Errorf("%w: HELLO was not made for this server's key", ErrCurve)
	}
	public, secret, err := box.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	h.ours, h.oursPublic = *secret, public
	// The cookie keeps what a server that forgets its clients would need; this one
	// does not, and checks that it comes back.
	if _, err := rand.Read(h.cookieKey[:]); err != nil {
		return nil, err
	}
	nonce, err := randomNonce("COOKIE--")
	if err != nil {
		return nil, err
	}
	cookie := secretbox.Seal(nonce[8:], append(h.theirs[:], h.ours[:]...), nonce, &h.cookieKey)
	if nonce, err = randomNonce("WELCOME-"); err != nil {
		return nil, err
	}
	return box.Seal(nonce[8:], append(public[:], cookie...), nonce, &h.theirs, h.secret), nil
}

// randomNonce returns a nonce of a prefix of eight bytes and sixteen random ones.
func randomNonce(prefix string) (*[24]byte, error) {
	n := new([24]byte)
	copy(n[:], prefix)
	_, err := rand.Read(n[8:])
	return n, err
}

// openCounted opens [nonce 8][box], whose nonce has to be greater than the last one.
func (h *curve) openCounted(prefix string, b []byte, public, secret *[32]byte) ([]byte, error) {
	n := binary.BigEndian.Uint64(b)
	if n <= h.last {
		return nil, fmt.Errorf("%w: a nonce again", ErrCurve)
	}
	h.last = n
	nonce := countedNonce(prefix, b)
	text, ok := box.Open(nil, b[nonceSize:], &nonce, public, secret)
	if !ok {
		return nil, ErrCurve
	}
	return text, nil
}

func countedNonce(prefix string, n []byte) (nonce [24]byte) {
	copy(nonce[:], prefix)
	copy(nonce[16:], n[:nonceSize])
	return nonce
}

// initiate takes INITIATE: [cookie 96][nonce 8][box of [client's key 32][vouch 96]
// [metadata]], and returns the client's long-term key, which the vouch proves.
func (h *curve) initiate(b []byte) (client [32]byte, metadata []byte, err error) {
	var nonce [24]byte
	copy(nonce[:], "COOKIE--")
	copy(nonce[8:], b[:longNonce])
	cookie, ok := secretbox.Open(nil, b[longNonce:cookieSize], &nonce, &h.cookieKey)
	if !ok || [32]byte(cookie) != h.theirs {
		return client, nil, fmt.Errorf("%w: the cookie is another", ErrCurve)
	}
	text, err := h.openCounted("CurveZMQINITIATE", b[cookieSize:], &h.theirs, &h.ours)
	if err != nil {
		return client, nil, fmt.Errorf("%w: INITIATE", ErrCurve)
	}
	client = [32]byte(text)
	vouch := text[keySize : keySize+vouchSize]
	copy(nonce[:], "VOUCH---")
	copy(nonce[8:], vouch[:longNonce])
	said, ok := box.Open(nil, vouch[longNonce:], &nonce, &client, &h.ours)
	if !ok || [32]byte(said) != h.theirs {
		return client, nil, fmt.Errorf("%w: the vouch is for another connection", ErrCurve)
	}
	var public [32]byte
	curve25519.ScalarBaseMult(&public, h.secret)
	if [32]byte(said[keySize:]) != public {
		return client, nil, fmt.Errorf("%w: the vouch is for another server", ErrCurve)
	}
	h.shared = new([32]byte)
	box.Precompute(h.shared, &h.theirs, &h.ours)
	return client, text[keySize+vouchSize:], nil
}
