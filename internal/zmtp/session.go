package zmtp

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Errors of a handshake or a session. Each ends the connection.
var (
	// ErrGreeting: the peer does not speak ZMTP.
	ErrGreeting = errors.New("zmtp: peer does not speak ZMTP")
	// ErrVersion: the peer speaks a version before 3.0.
	ErrVersion = errors.New("zmtp: peer speaks a version before ZMTP 3.0")
	// ErrMechanism: the peer wants another security mechanism, such as none where keys
	// are needed.
	ErrMechanism = errors.New("zmtp: peer wants another security mechanism")
	// ErrSocketType: the peer is no SUB or XSUB socket.
	ErrSocketType = errors.New("zmtp: peer is no SUB or XSUB socket")
	// ErrProtocol: the peer breaks the protocol, or sends more than FrameMax.
	ErrProtocol = errors.New("zmtp: peer breaks the protocol")
)

// FrameMax is the largest frame that is accepted from a subscriber, bytes.
const FrameMax = 8 << 10

const greetingSize = 64

// greeting is what this side sends first: signature, version 3.0, mechanism NULL,
// not as server.
var greeting = [greetingSize]byte{0: 0xff, 9: 0x7f, 10: 3, 12: 'N', 13: 'U', 14: 'L', 15: 'L'}

// Session is what comes from one subscriber. It belongs to one goroutine.
type Session struct {
	r       *bufio.Reader
	buf     []byte
	within  bool    // in the middle of a message
	skipped bool    // the message at hand is no subscription
	minor   byte    // of the peer's version, where that is 3
	opener  *opener // of a connection with keys, once it stands
}

// Handshake greets a peer that has connected and waits for its greeting and that
// it is a subscriber. Deadlines are the caller's to set. Nothing but the session
// may read from rw afterwards.
func Handshake(rw io.ReadWriter) (*Session, error) {
	if _, err := rw.Write(greeting[:]); err != nil {
		return nil, err
	}
	s := &Session{r: bufio.NewReaderSize(rw, 1<<10), buf: make([]byte, 0, 256)}
	if err := s.takeGreeting(&greeting); err != nil {
		return nil, err
	}
	if _, err := rw.Write(appendCommand(nil, "READY", readyData())); err != nil {
		return nil, err
	}
	flags, body, err := s.frame()
	if err != nil {
		return nil, err
	}
	name, data, ok := command(body)
	if flags&flagCommand == 0 || !ok || string(name) != "READY" {
		return nil, fmt.Errorf("%w: no READY", ErrProtocol)
	}
	if err := checkSubscriber(data); err != nil {
		return nil, err
	}
	return s, nil
}

// checkSubscriber looks at what a peer says of itself.
func checkSubscriber(metadata []byte) error {
	switch kind, ok := property(metadata, "Socket-Type"); {
	case !ok:
		return fmt.Errorf("%w: what the peer says of itself is cut off", ErrProtocol)
	case string(kind) != "SUB" && string(kind) != "XSUB":
		return fmt.Errorf("%w, but %.16q", ErrSocketType, kind)
	}
	return nil
}

// takeGreeting reads a greeting. Of one that is refused no more is read than it
// takes to know: a peer of an older version sends less.
func (s *Session) takeGreeting(ours *[greetingSize]byte) error {
	b := make([]byte, greetingSize)
	for _, step := range []struct {
		from, to int
		bad      func() error
	}{
		{0, 1, func() error { return check(b[0] == 0xff, ErrGreeting) }},
		{1, 10, func() error { return check(b[9]&1 == 1, ErrGreeting) }},
		{10, 11, func() error { return check(b[10] >= 3, ErrVersion) }},
		{11, greetingSize, func() error { return check([20]byte(b[12:32]) == [20]byte(ours[12:32]), ErrMechanism) }},
	} {
		if _, err := io.ReadFull(s.r, b[step.from:step.to]); err != nil {
			return err
		}
		if err := step.bad(); err != nil {
			return err
		}
	}
	if s.minor = b[11]; b[10] > 3 {
		s.minor = 1 // and knows what came before
	}
	return nil
}

// AnswersPings reports whether the peer's version of the protocol has pings: 3.1.
func (s *Session) AnswersPings() bool { return s.minor >= 1 }

func check(ok bool, err error) error {
	if ok {
		return nil
	}
	return err
}

// Kind is what a subscriber says.
type Kind uint8

// The kinds of events.
const (
	Subscribe Kind = iota + 1
	Cancel
	Ping    // to be answered with AppendPong
	Pong    // the answer to AppendPing
	Foreign // a message or command that is no word of a subscriber
)

// Event is one word of a subscriber.
type Event struct {
	Kind Kind
	// Data is the topic, what a pong is to repeat, or what it repeats. Borrowed until the next call.
	Data []byte
}

// Next waits for the next event. The error is the connection's, io.EOF where the
// peer closed it, or ErrProtocol.
func (s *Session) Next() (Event, error) {
	for {
		flags, body, err := s.opened()
		if err != nil {
			return Event{}, err
		}
		if flags&flagCommand != 0 {
			return s.takeCommand(flags, body)
		}
		first := !s.within
		s.within = flags&flagMore != 0
		if first {
			s.skipped = s.within || len(body) == 0 || body[0] > 1
		}
		switch {
		case s.within:
			continue
		case s.skipped:
			return Event{Kind: Foreign}, nil
		case body[0] == 1:
			return Event{Subscribe, body[1:]}, nil
		}
		return Event{Cancel, body[1:]}, nil
	}
}

func (s *Session) takeCommand(flags byte, body []byte) (Event, error) {
	name, data, ok := command(body)
	if !ok || s.within || flags&flagMore != 0 {
		return Event{}, fmt.Errorf("%w: a command that is none", ErrProtocol)
	}
	switch string(name) {
	case "SUBSCRIBE": // of version 3.1, though 3.0 was announced
		return Event{Subscribe, data}, nil
	case "CANCEL":
		return Event{Cancel, data}, nil
	case "PING":
		if len(data) < 2 || len(data) > 18 { // time to live, up to 16 bytes of context
			return Event{}, fmt.Errorf("%w: ping of %d bytes", ErrProtocol, len(data))
		}
		return Event{Ping, data[2:]}, nil
	case "PONG":
		return Event{Pong, data}, nil
	}
	return Event{Kind: Foreign}, nil
}

// command takes a command's body apart.
func command(body []byte) (name, data []byte, ok bool) {
	if len(body) == 0 || len(body) < 1+int(body[0]) {
		return nil, nil, false
	}
	n := 1 + int(body[0])
	return body[1:n], body[n:], true
}

// opened reads one frame and opens it. The body is borrowed until the next call.
func (s *Session) opened() (flags byte, body []byte, err error) {
	flags, body, err = s.frame()
	if err != nil || s.opener == nil {
		return flags, body, err
	}
	return s.opener.open(body)
}

// frame reads one frame. The body is borrowed until the next call.
func (s *Session) frame() (flags byte, body []byte, err error) {
	if flags, err = s.r.ReadByte(); err != nil {
		return 0, nil, err
	}
	var size uint64
	if flags&flagLong != 0 {
		var b [8]byte
		if _, err = io.ReadFull(s.r, b[:]); err != nil {
			return 0, nil, unexpected(err)
		}
		size = binary.BigEndian.Uint64(b[:])
	} else {
		b, err := s.r.ReadByte()
		if err != nil {
			return 0, nil, unexpected(err)
		}
		if size = uint64(b); size == 0 && s.brokenLong() {
			size = shortMax + 1
		}
	}
	if flags&^(flagMore|flagLong|flagCommand) != 0 || size > FrameMax {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes, flags %#x", ErrProtocol, size, flags)
	}
	if uint64(cap(s.buf)) < size {
		s.buf = make([]byte, size)
	}
	body = s.buf[:size]
	if _, err = io.ReadFull(s.r, body); err != nil {
		return 0, nil, unexpected(err)
	}
	return flags, body, nil
}

// brokenLong reports whether what looks like an empty frame is libzmq 4.3.4's
// subscription to a topic of 255 bytes: a length of eight bytes, of which the
// first was read, without the flag that says so. It then takes the rest of the
// length. No subscriber sends empty frames, so waiting for more does no harm.
func (s *Session) brokenLong() bool {
	rest := [7]byte{5: 1} // 256, without its first byte
	b, err := s.r.Peek(len(rest))
	if err != nil || [7]byte(b) != rest {
		return false
	}
	_, err = s.r.Discard(len(rest))
	return err == nil
}

// unexpected names an end within a frame what it is.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
