package hostile

import (
	"bufio"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
)

// Flags of ZMTP's frames.
const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
)

const greetingSize = 64

// greeting is ZMTP 3.1's.
func greeting(mechanism string) []byte {
	b := make([]byte, greetingSize)
	b[0], b[9], b[10], b[11] = 0xff, 0x7f, 3, 1
	copy(b[12:32], mechanism)
	return b
}

// appendFrame appends a frame with these flags.
func appendFrame(dst []byte, flags byte, body []byte) []byte {
	if len(body) > 255 {
		dst = binary.BigEndian.AppendUint64(append(dst, flags|flagLong), uint64(len(body)))
	} else {
		dst = append(dst, flags, byte(len(body)))
	}
	return append(dst, body...)
}

// appendMessage appends a message, a frame or more.
func appendMessage(dst []byte, message [][]byte) []byte {
	for i, frame := range message {
		flags := byte(flagMore)
		if i == len(message)-1 {
			flags = 0
		}
		dst = appendFrame(dst, flags, frame)
	}
	return dst
}

// commandBody is a command's name and data.
func commandBody(name string, data []byte) []byte {
	return append(append([]byte{byte(len(name))}, name...), data...)
}

// metadata are properties as READY and INITIATE have them.
func metadata(properties ...string) []byte {
	var b []byte
	for i := 0; i+1 < len(properties); i += 2 {
		b = append(append(b, byte(len(properties[i]))), properties[i]...)
		b = binary.BigEndian.AppendUint32(b, uint32(len(properties[i+1])))
		b = append(b, properties[i+1]...)
	}
	return b
}

// ready is the command that ends a handshake without keys.
func ready(socket string) []byte { return commandBody("READY", metadata("Socket-Type", socket)) }

var socketTypes = []string{"REQ", "REP", "DEALER", "ROUTER", "PUB", "SUB", "XPUB", "XSUB", "PUSH", "PULL", "PAIR", "STREAM", "NONE", ""}

// Greet makes a session without keys of a connection, as a socket of a type does, at
// either end of it, and returns where what the other end says is read from.
func Greet(conn net.Conn, socket string) (*bufio.Reader, error) {
	if _, err := conn.Write(appendFrame(greeting("NULL"), flagCommand, ready(socket))); err != nil {
		return nil, err
	}
	// libzmq takes messages once it has sent its own READY.
	in := bufio.NewReaderSize(conn, 512)
	if _, err := io.ReadFull(in, make([]byte, greetingSize)); err != nil {
		return nil, err
	}
	_, err := readFrame(in)
	return in, err
}

// badReady is a READY that is wrong, or of a socket that has no business here.
func badReady(r *rand.Rand, socket string) []byte {
	switch r.IntN(7) {
	case 0:
		return ready(socketTypes[r.IntN(len(socketTypes))])
	case 1: // lengths that lie
		b := ready(socket)
		binary.BigEndian.PutUint32(b[len(b)-len(socket)-4:], uint32(numbers[r.IntN(len(numbers))]))
		return b
	case 2:
		return commandBody("READY", random(r, 400))
	case 3: // an identity that is none, or that somebody else may have
		return commandBody("READY", metadata("Socket-Type", socket, "Identity", string(random(r, 400))))
	case 4: // many properties
		var p []string
		for range r.IntN(300) {
			p = append(p, "X-"+string(random(r, 20)), string(random(r, 40)))
		}
		return commandBody("READY", metadata(append(p, "Socket-Type", socket)...))
	case 5:
		return commandBody([]string{"ERROR", "HELLO", "INITIATE", "PING", "SUBSCRIBE", "ready", "", "READYREADY"}[r.IntN(8)], random(r, 300))
	}
	return mutateBytes(r, ready(socket))
}

// command is a command within a session: one that is none, or has wrong data.
func command(r *rand.Rand) []byte {
	names := []string{"PING", "PONG", "SUBSCRIBE", "CANCEL", "READY", "ERROR", "HELLO", "MESSAGE", "JOIN", "LEAVE", ""}
	b := commandBody(names[r.IntN(len(names))], random(r, 300))
	if r.IntN(4) == 0 {
		b[0] = byte(r.Uint32())
	}
	return b
}

// older is a greeting of ZMTP 1 or 2.
func older(r *rand.Rand) []byte {
	if r.IntN(2) == 0 { // 1.0: the identity, as a frame
		return append([]byte{1, 0}, random(r, 40)...)
	}
	b := []byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, byte(r.IntN(3)), byte(r.IntN(16))}
	return append(append(b, 0, 0), random(r, 300)...)
}
