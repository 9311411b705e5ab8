package chp

import (
	"bytes"
	"encoding/binary"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Form is how key-value messages are framed. A server has one form; the request
// of a client does not say which it expects.
type Form uint8

// The forms. The first is CHP's.
const (
	KVMsg    Form = iota // key, sequence, UUID, properties, value: models 5 and 6, CHP
	KVSimple             // key, sequence, value: models 2 to 4
)

// frames is how many frames a message of the form has.
func (f Form) frames() int {
	if f == KVSimple {
		return 3
	}
	return 5
}

// String implements fmt.Stringer.
func (f Form) String() string {
	if f == KVSimple {
		return "kvsimple"
	}
	return "kvmsg"
}

// keyMax is the longest key, bytes: what the guide's clients keep of one.
const keyMax = 255

// Keys that are words of the protocol, and so no entry's.
const (
	keyHugz = "HUGZ"
	keyEnd  = "KTHXBAI"
)

// Message is one key-value message: KVSYNC, KTHXBAI, KVPUB, HUGZ or KVSET. All
// its bytes are borrowed.
type Message struct {
	Key        []byte
	Sequence   uint64
	UUID       []byte     // 16 bytes, or empty
	Properties Properties // checked; always empty in a KVSimple message
	Value      []byte     // empty: the key is deleted
}

// Hugz reports whether the message says only that the server is alive.
func (m *Message) Hugz() bool { return string(m.Key) == keyHugz }

// End reports whether the message ends a snapshot.
func (m *Message) End() bool { return string(m.Key) == keyEnd }

// Parse reads a message of the given form. Its bytes are borrowed from frames.
// Any error is a *FormatError.
func Parse(form Form, frames [][]byte) (Message, error) {
	if len(frames) != form.frames() {
		return Message{}, malformed(reasonFrames)
	}
	m := Message{Key: frames[0], Value: frames[len(frames)-1]}
	if err := checkKey(m.Key); err != nil {
		return Message{}, err
	}
	if len(frames[1]) != 8 {
		return Message{}, malformed(reasonSequence)
	}
	m.Sequence = binary.BigEndian.Uint64(frames[1])
	if form == KVMsg {
		m.UUID, m.Properties = frames[2], frames[3]
		if len(m.UUID) != 0 && len(m.UUID) != 16 {
			return Message{}, malformed(reasonUUID)
		}
		if err := m.Properties.check(); err != nil {
			return Message{}, err
		}
	}
	return m, nil
}

func checkKey(key []byte) error {
	switch {
	case len(key) == 0:
		return malformed(reasonKeyEmpty)
	case len(key) > keyMax:
		return malformed(reasonKeyLong)
	case bytes.IndexByte(key, 0) >= 0:
		return malformed(reasonKeyZero)
	}
	return nil
}

// usableKey reports whether key can be an entry's.
func usableKey(key []byte) bool {
	return checkKey(key) == nil && string(key) != keyHugz && string(key) != keyEnd
}

// AppendFrames appends the frames of m in the given form to dst. They borrow
// m's bytes and the eight of sequence, which it fills. A KVSimple message loses
// UUID and properties.
func (m *Message) AppendFrames(dst [][]byte, form Form, sequence *[8]byte) [][]byte {
	binary.BigEndian.PutUint64(sequence[:], m.Sequence)
	if form == KVSimple {
		return append(dst, m.Key, sequence[:], m.Value)
	}
	return append(dst, m.Key, sequence[:], m.UUID, m.Properties, m.Value)
}

// put puts m into an outbox, behind the identity of a ROUTER's peer if there is
// one.
func (m *Message) put(out *zsock.Outbox, form Form, identity []byte) {
	var sequence [8]byte
	binary.BigEndian.PutUint64(sequence[:], m.Sequence)
	if len(identity) > 0 {
		out.Frame(identity, false)
	}
	out.Frame(m.Key, false)
	out.Frame(sequence[:], false)
	if form == KVMsg {
		out.Frame(m.UUID, false)
		out.Frame(m.Properties, false)
	}
	out.Frame(m.Value, true)
}
