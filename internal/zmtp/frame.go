package zmtp

import "encoding/binary"

// The flags of a frame.
const (
	flagMore    = 1
	flagLong    = 2
	flagCommand = 4
)

const (
	shortMax  = 255
	shortHead = 2
	longHead  = 9
)

// FrameSize is how many bytes AppendFrame adds for a body of size bytes.
func FrameSize(size int) int {
	if size > shortMax {
		return longHead + size
	}
	return shortHead + size
}

// AppendFrameHead appends what goes before a body of size bytes and returns the
// extended slice. more says that another frame of the same message follows.
func AppendFrameHead(dst []byte, size int, more bool) []byte {
	flags := byte(0)
	if more {
		flags = flagMore
	}
	if size > shortMax {
		return binary.BigEndian.AppendUint64(append(dst, flags|flagLong), uint64(size))
	}
	return append(dst, flags, byte(size))
}

// AppendFrame appends a frame of a message and returns the extended slice. body
// is copied.
func AppendFrame(dst, body []byte, more bool) []byte {
	return append(AppendFrameHead(dst, len(body), more), body...)
}

// appendCommand appends a command: its name and data.
func appendCommand(dst []byte, name string, data []byte) []byte {
	size := 1 + len(name) + len(data)
	if size > shortMax {
		dst = binary.BigEndian.AppendUint64(append(dst, flagCommand|flagLong), uint64(size))
	} else {
		dst = append(dst, flagCommand, byte(size))
	}
	dst = append(append(dst, byte(len(name))), name...)
	return append(dst, data...)
}

// AppendPong appends the answer to a ping and returns the extended slice. It may
// stand between messages, not within one.
func AppendPong(dst, context []byte) []byte { return appendCommand(dst, "PONG", context) }

// AppendPing appends a ping, whose context of at most 16 bytes the answer repeats, and
// returns the extended slice. It may stand between messages, not within one. libzmq
// answers when it has handed on all messages before it.
func AppendPing(dst, context []byte) []byte {
	b := [18]byte{} // a time to live of 0: none
	return appendCommand(dst, "PING", b[:2+copy(b[2:], context)])
}

// readyData is what the READY command of a PUB socket says.
func readyData() []byte {
	const property, value = "Socket-Type", "PUB"
	data := append([]byte{byte(len(property))}, property...)
	data = binary.BigEndian.AppendUint32(data, uint32(len(value)))
	return append(data, value...)
}

// property finds a property of a READY command's data. ok is false where the data
// are not properties.
func property(data []byte, name string) (value []byte, ok bool) {
	for len(data) > 0 {
		n := int(data[0])
		if len(data) < 1+n+4 {
			return nil, false
		}
		key := data[1 : 1+n]
		size := binary.BigEndian.Uint32(data[1+n:])
		data = data[1+n+4:]
		if uint64(size) > uint64(len(data)) {
			return nil, false
		}
		if equalFold(key, name) {
			value = data[:size]
		}
		data = data[size:]
	}
	return value, true
}

// equalFold compares ASCII: names of properties are case-insensitive.
func equalFold(key []byte, name string) bool {
	if len(key) != len(name) {
		return false
	}
	for i := range key {
		a, b := key[i], name[i]
		if a != b && (a|0x20 != b|0x20 || a|0x20 < 'a' || a|0x20 > 'z') {
			return false
		}
	}
	return true
}

// NextFrame takes the first frame of b, which AppendFrame wrote, and returns what
// follows it. ok is false at the end.
func NextFrame(b []byte) (body []byte, more bool, rest []byte, ok bool) {
	if len(b) < shortHead {
		return nil, false, nil, false
	}
	n, size := shortHead, uint64(b[1])
	if b[0]&flagLong != 0 {
		if len(b) < longHead {
			return nil, false, nil, false
		}
		n, size = longHead, binary.BigEndian.Uint64(b[1:])
	}
	if size > uint64(len(b)-n) {
		return nil, false, nil, false
	}
	end := n + int(size)
	return b[n:end], b[0]&flagMore != 0, b[end:], true
}
