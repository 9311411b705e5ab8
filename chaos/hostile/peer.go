package hostile

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"
)

// Bounds of one connection.
const (
	sessionFrames = 4096             // within a session, at most; 2048 on average
	pieceBytes    = 64 << 10         // are written at once
	patience      = 20 * time.Second // with an end that takes nothing; it is then left
)

// peer is one connection and what is said over it.
type peer struct {
	r     *rand.Rand
	port  *Port
	conn  net.Conn
	in    *bufio.Reader // nil where somebody else reads
	tally *Tally
	curve *curve // once the handshake stands
	buf   []byte
}

// errOver: what was sent ends the connection.
var errOver = errors.New("hostile: over")

// attack makes one connection and says something over it, frames at most.
func attack(r *rand.Rand, port *Port, tally *Tally, frames uint64) {
	conn, err := net.DialTimeout("tcp", port.Address, patience)
	if err != nil {
		tally.Refused++
		return
	}
	tally.Connections++
	p := &peer{r: r, port: port, conn: conn, tally: tally}
	defer func() {
		if tcp, ok := conn.(*net.TCPConn); ok && r.IntN(2) == 0 {
			_ = tcp.SetLinger(0) // ends with a reset
		}
		_ = conn.Close()
	}()
	_ = conn.SetDeadline(time.Now().Add(patience))
	switch err := p.talk(frames); {
	case err == nil, errors.Is(err, errOver), errors.Is(err, os.ErrDeadlineExceeded):
	default:
		tally.Cut++
	}
}

func (p *peer) talk(frames uint64) error {
	if p.port.Socket == "" {
		return p.browse(frames)
	}
	if p.r.IntN(2) == 0 {
		return p.greetBadly()
	}
	if err := p.greet(); err != nil {
		return err
	}
	if p.r.IntN(8) != 0 { // some read nothing of what they are sent
		in := io.Reader(p.conn)
		if p.in != nil {
			in = p.in
		}
		ended := make(chan struct{})
		go func() { defer close(ended); _, _ = io.Copy(io.Discard, in) }()
		defer func() { _ = p.conn.SetReadDeadline(time.Unix(1, 0)); <-ended }()
	}
	return p.session(min(frames, uint64(1+p.r.IntN(sessionFrames))))
}

// say writes what counts as one frame of a move.
func (p *peer) say(m Move, b []byte) error {
	p.count(m, 1)
	n, err := p.conn.Write(b)
	p.tally.Bytes += uint64(n)
	return err
}

func (p *peer) count(m Move, frames int) {
	p.tally.Moves[m] += uint64(frames)
	p.tally.Frames += uint64(frames)
}

func (p *peer) mechanism() string {
	if p.port.Lock != nil {
		return "CURVE"
	}
	return "NULL"
}

// greetBadly breaks the connection before there is a session.
func (p *peer) greetBadly() error {
	g := greeting(p.mechanism())
	switch p.r.IntN(6) {
	case 0:
		return p.say(Garbage, append(random(p.r, 2000), byte(p.r.Uint32())))
	case 1:
		return p.say(Greeting, g[:p.r.IntN(greetingSize)])
	case 2:
		return p.say(Greeting, mutateBytes(p.r, g))
	case 3:
		return p.say(Older, older(p.r))
	case 4:
		names := []string{"NULL", "PLAIN", "CURVE", "GSSAPI", "null", "\x00\x01", "NULLNULLNULLNULLNULL"}
		return p.say(Mechanism, appendFrame(greeting(names[p.r.IntN(len(names))]), flagCommand, badReady(p.r, p.port.Socket)))
	}
	if p.port.Lock != nil {
		return p.shakeBadly(g)
	}
	flags := byte(flagCommand)
	if p.r.IntN(8) == 0 {
		flags = byte(p.r.IntN(8))
	}
	return p.say(Handshake, appendFrame(g, flags, badReady(p.r, p.port.Socket)))
}

// shakeBadly breaks one of the steps of a CURVE handshake.
func (p *peer) shakeBadly(g []byte) error {
	c := newCurve(p.r, p.port.Lock)
	hello := c.hello()
	switch p.r.IntN(4) {
	case 0:
		return p.say(Handshake, appendFrame(g, flagCommand, mutateBytes(p.r, hello)))
	case 1:
		return p.say(Handshake, appendFrame(g, flagCommand, commandBody("HELLO", random(p.r, 400))))
	case 2: // a pair that is on no list
		public, secret := keyPair(p.r)
		c.lock = &Lock{Server: c.lock.Server, Public: public, Secret: secret}
	}
	welcome, err := p.greetCurve(c, g, hello)
	if err != nil {
		return err
	}
	initiate := c.initiate(p.r, welcome, p.port.Socket)
	if p.r.IntN(2) == 0 {
		initiate = mutateBytes(p.r, initiate)
	}
	return p.say(Handshake, appendFrame(nil, flagCommand, initiate))
}

// greetCurve goes as far as the server's welcome.
func (p *peer) greetCurve(c *curve, g, hello []byte) ([]byte, error) {
	if _, err := p.conn.Write(appendFrame(g, flagCommand, hello)); err != nil {
		return nil, err
	}
	p.in = bufio.NewReaderSize(p.conn, 512)
	if _, err := io.ReadFull(p.in, make([]byte, greetingSize)); err != nil {
		return nil, err
	}
	return c.welcomed(p.in)
}

// greet makes a session.
func (p *peer) greet() error {
	if p.port.Lock == nil {
		in, err := Greet(p.conn, p.port.Socket)
		p.in = in
		return err
	}
	g := greeting(p.mechanism())
	c := newCurve(p.r, p.port.Lock)
	welcome, err := p.greetCurve(c, g, c.hello())
	if err != nil {
		return err
	}
	p.curve = c
	if _, err = p.conn.Write(appendFrame(nil, flagCommand, c.initiate(p.r, welcome, p.port.Socket))); err != nil {
		return err
	}
	_, err = readFrame(p.in)
	return err
}

// session sends frames of all kinds, and one in the end that cuts the connection.
func (p *peer) session(frames uint64) error {
	before := p.tally.Frames
	for p.tally.Frames-before < frames {
		p.buf = p.buf[:0]
		for len(p.buf) < pieceBytes && p.tally.Frames-before < frames {
			p.buf = p.next(p.buf)
		}
		if err := p.flush(); err != nil {
			return err
		}
	}
	if p.r.IntN(2) == 0 {
		return nil // leaves as a good peer does
	}
	p.buf = p.last(p.buf[:0])
	if err := p.flush(); err != nil {
		return err
	}
	return errOver
}

func (p *peer) flush() error {
	b := p.buf
	if p.curve != nil && (!p.port.Lock.Unsealed || p.r.IntN(4) != 0) { // else as it is, which is wrong there
		b = p.curve.seal(nil, b)
	}
	n, err := p.conn.Write(b)
	p.tally.Bytes += uint64(n)
	return err
}

// next appends something that leaves the framing whole.
func (p *peer) next(b []byte) []byte {
	r := p.r
	subscriber := p.port.Socket == "SUB" || p.port.Socket == "XSUB"
	switch n := r.IntN(100); {
	case n == 0:
		p.count(Command, 1)
		return appendFrame(b, flagCommand, command(r))
	case n < 15:
		m := make([][]byte, 1+r.IntN(1+r.IntN(6)))
		for i := range m {
			m[i] = random(r, 300)
		}
		p.count(Random, len(m))
		return appendMessage(b, m)
	case subscriber && n < 70:
		return p.subscription(b)
	case len(p.port.Samples) == 0:
		p.count(Random, 1)
		return appendFrame(b, 0, random(r, 300))
	case n < 98:
		m := mutate(r, p.port.Samples[r.IntN(len(p.port.Samples))])
		p.count(Mutated, len(m))
		return appendMessage(b, m)
	}
	m := p.port.Samples[r.IntN(len(p.port.Samples))]
	p.count(Good, len(m))
	return appendMessage(b, m)
}

// topicMax is the length of the longest topics that are subscribed to, bytes: some are
// longer than libzmq's own.
const topicMax = 300

// subscription appends a subscription or the end of one, the word of a reader among
// them.
func (p *peer) subscription(b []byte) []byte {
	r := p.r
	frame := append(make([]byte, 0, topicMax+2), byte(r.IntN(2)))
	move := Subscribe
	switch r.IntN(4) {
	case 0: // one of few, so that they are taken back, too
		frame = append(frame, "topic-"...)
		frame = append(frame, byte('0'+r.IntN(50)))
	case 1:
		frame = append(frame, random(r, topicMax)...)
		if r.IntN(16) == 0 {
			frame = frame[:255+r.IntN(topicMax-255)]
		}
	case 2:
		frame = append(frame, "TPDK"...)
		frame = append(frame, random(r, 20)...)
	default:
		move = Word
		words := []string{"TPDK?ready:", "TPDK?done:", "TPDK?lag:", "TPDK?step:"}
		frame = append(frame, words[r.IntN(len(words))]...)
		frame = append(frame, "00112233445566778899aabbccddeeff:"...)
		frame = append(frame, []string{"desk", "1000:0:ok", "17:0:5", "-1:99:stuck"}[r.IntN(4)]...)
		if r.IntN(4) != 0 {
			frame = append(frame[:1], mutateBytes(r, frame[1:])...)
		}
	}
	p.count(move, 1)
	return appendFrame(b, 0, frame)
}

// last appends something behind which nothing can come.
func (p *peer) last(b []byte) []byte {
	r, kinds := p.r, 3
	if p.curve != nil && !p.port.Lock.Unsealed {
		kinds = 2 // flags that do not exist cannot be sealed
	}
	switch r.IntN(kinds) {
	case 0:
		p.count(Length, 1)
		b = append(b, flagLong|byte(r.IntN(2)))
		b = binary.BigEndian.AppendUint64(b, numbers[len(numbers)-1-r.IntN(12)])
		return append(b, random(r, 5000)...)
	case 1:
		p.count(Unfinished, 1)
		f := appendFrame(nil, byte(r.IntN(2)), random(r, 600))
		return append(b, f[:r.IntN(len(f))]...)
	}
	p.count(Flags, 1)
	f := appendFrame(nil, 0, random(r, 300))
	f[0] |= 8 << r.IntN(5)
	return append(b, f...)
}
