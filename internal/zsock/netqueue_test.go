package zsock

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// published is an XPUB socket and a plain connection to it that speaks just enough
// ZMTP 3.0 to subscribe: a reader whose reading the test decides, byte by byte.
type published struct {
	t    testing.TB
	pub  *Socket
	conn net.Conn
}

// publish binds an XPUB to an endpoint and connects to it. It returns the peer that
// the subscription came from.
func publish(t testing.TB, endpoint string, cfg SocketConfig) (*published, Peer) {
	t.Helper()
	ctx, err := NewContext(NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := ctx.NewSocket(XPUB, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(pub.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	bound, err := pub.Bind(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	network, address, _ := strings.Cut(bound, "://")
	if network == "ipc" {
		network = "unix"
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	// A buffer that is set does not grow while the reader stands still.
	if err := conn.(interface{ SetReadBuffer(int) error }).SetReadBuffer(64 << 10); err != nil {
		t.Fatal(err)
	}
	p := &published{t, pub, conn}
	p.shakeHands()
	return p, p.subscription()
}

// shakeHands goes through the greeting and the NULL mechanism of ZMTP 3.0 (RFC 23)
// and subscribes to everything.
func (p *published) shakeHands() {
	p.t.Helper()
	greeting := make([]byte, 64)
	copy(greeting, "\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f\x03\x00NULL")
	ready := "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
	if _, err := p.conn.Write(append(greeting, ready...)); err != nil {
		p.t.Fatal(err)
	}
	answer := make([]byte, 64)
	if _, err := p.read(answer); err != nil {
		p.t.Fatal(err)
	}
	command := make([]byte, 2)
	if _, err := p.read(command); err != nil || command[0] != 4 {
		p.t.Fatalf("got %q, want a command; %v", command, err)
	}
	if _, err := p.read(make([]byte, command[1])); err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.conn.Write([]byte("\x00\x01\x01")); err != nil {
		p.t.Fatal(err)
	}
}

func (p *published) read(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var m int
		m, err = p.conn.Read(b[n:])
		n += m
	}
	return n, err
}

// subscription waits for the subscription and returns who sent it.
func (p *published) subscription() Peer {
	p.t.Helper()
	poller := NewPoller(p.pub)
	for {
		if _, err := poller.Wait(nil, time.Second); err != nil {
			p.t.Fatal(err)
		}
		frame, from, err := p.pub.TryRecvFrameFrom()
		if errors.Is(err, ErrAgain) {
			if from.FD != NoFD {
				p.t.Fatalf("nothing came from %+v", from)
			}
			continue
		}
		if err != nil || !bytes.Equal(frame, []byte{1}) {
			p.t.Fatalf("got %q, %v", frame, err)
		}
		return from
	}
}

// fill sends until the connection's queue takes no more, which it shows by standing
// still: the reader reads nothing, but its kernel goes on for a while.
func (p *published) fill(c *Connection) NetQueue {
	p.t.Helper()
	block := make([]byte, 1<<20)
	var at NetQueue
	for same := 0; same < 20; same++ {
		var err error
		for err == nil {
			err = p.pub.TrySend(block, nil)
		}
		if !errors.Is(err, ErrAgain) {
			p.t.Fatal(err)
		}
		now, err := c.Queue()
		if err != nil {
			p.t.Fatal(err)
		}
		if now != at || now.Queued == 0 {
			at, same = now, 0
		}
		pause(p.t)
	}
	return at
}

// pause lets a little time pass where a test polls.
func pause(t testing.TB) {
	select {
	case <-t.Context().Done():
	case <-time.After(10 * time.Millisecond):
	}
}

// TestStuckReader: of a reader that stops reading, bytes are queued and none are
// taken, however often one looks; once it reads again, they are.
func TestStuckReader(t *testing.T) {
	for name, endpoint := range map[string]string{"tcp": "tcp://127.0.0.1:*", "ipc": "ipc://" + t.TempDir() + "/s"} {
		t.Run(name, func(t *testing.T) {
			p, from := publish(t, endpoint, SocketConfig{NoDrop: true, SendQueue: 1, SendBuffer: 64 << 10})
			c, err := OpenConnection(from)
			if err != nil {
				t.Fatalf("%+v: %v", from, err)
			}
			if name == "ipc" {
				if !strings.HasPrefix(c.Remote(), "pid ") {
					t.Errorf("remote %q", c.Remote())
				}
			} else if c.Remote() != p.conn.LocalAddr().String() {
				t.Errorf("remote %q, want %v", c.Remote(), p.conn.LocalAddr())
			}
			if q, err := c.Queue(); err != nil || q.Queued != 0 {
				t.Errorf("before anything was sent: %+v, %v", q, err)
			}
			stuck := p.fill(c)
			for same, changes := 0, 0; same < 20; same++ {
				q, err := c.Queue()
				if err != nil {
					t.Fatal(err)
				}
				if q != stuck {
					// It stood still because nobody had time to send; that ends when all is full.
					if changes++; changes > 100 {
						t.Fatalf("%+v, then %+v, and so on, though nothing is read", stuck, q)
					}
					stuck, same = p.fill(c), 0
				}
				pause(t)
			}
			if stuck.Unsent > stuck.Queued || stuck.Queued < 1000 {
				t.Errorf("%+v", stuck)
			}
			for q := stuck; q.Taken <= stuck.Taken; {
				if _, err := p.conn.Read(make([]byte, 64<<10)); err != nil {
					t.Fatal(err)
				}
				if q, err = c.Queue(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// TestConnectionIsGone: a descriptor that was closed, and one that has become
// another's, are both not the connection.
func TestConnectionIsGone(t *testing.T) {
	mine, other := localPair(t)
	c, err := OpenConnection(Peer{Address: "127.0.0.1", FD: mine.fd})
	if err != nil {
		t.Fatal(err)
	}
	write(t, mine.fd)
	for q, err := c.Queue(); q.Queued == 0; q, err = c.Queue() { // nobody reads
		if err != nil {
			t.Fatal(err)
		}
		write(t, mine.fd)
	}
	// Another connection with bytes queued takes over the number.
	third, _ := localPair(t)
	for {
		if n, err := unix.IoctlGetInt(third.fd, unix.SIOCOUTQ); err != nil || n > 0 {
			break
		}
		write(t, third.fd)
	}
	if err := unix.Dup3(third.fd, mine.fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if q, err := c.Queue(); !errors.Is(err, ErrConnectionGone) || q != (NetQueue{}) {
		t.Errorf("another connection: %+v, %v", q, err)
	}
	file, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := unix.Dup3(int(file.Fd()), mine.fd, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Queue(); !errors.Is(err, ErrConnectionGone) {
		t.Errorf("a file: %v", err)
	}
	if err := unix.Close(mine.fd); err != nil {
		t.Fatal(err)
	}
	mine.closed = true
	if _, err := c.Queue(); !errors.Is(err, ErrConnectionGone) {
		t.Errorf("a closed descriptor: %v", err)
	}
	for _, p := range []Peer{
		{FD: NoFD}, {Address: "127.0.0.1", FD: 1 << 30}, {Address: "127.0.0.1", FD: int(file.Fd())},
		{Address: "127.0.0.2", FD: other.fd}, {Address: "", FD: other.fd}, {Address: ":0:0:1", FD: other.fd},
	} {
		if c, err := OpenConnection(p); !errors.Is(err, ErrConnectionGone) {
			t.Errorf("%+v: %+v, %v", p, c, err)
		}
	}
}

func TestSamePeer(t *testing.T) {
	for address, ok := range map[string]bool{"127.0.0.1": true, "::ffff:127.0.0.1": true, "127.0.0.2": false, "::1": false, "": false} {
		if err := samePeer(address, netip.MustParseAddr("127.0.0.1")); (err == nil) != ok {
			t.Errorf("%q: %v", address, err)
		}
	}
	if err := samePeer("fe80::1%lo", netip.MustParseAddr("fe80::1")); err != nil {
		t.Error(err)
	}
}

// rawFD is a descriptor that nobody else uses.
type rawFD struct {
	fd     int
	closed bool
}

// localPair is both ends of a TCP connection.
func localPair(t *testing.T) (*rawFD, *rawFD) {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	a, err := net.Dial("tcp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	b, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	var ends []*rawFD
	for _, conn := range []net.Conn{a, b} {
		file, err := conn.(*net.TCPConn).File()
		if err != nil {
			t.Fatal(err)
		}
		fd, err := unix.FcntlInt(file.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		if err := errors.Join(err, file.Close(), unix.SetNonblock(fd, true)); err != nil {
			t.Fatal(err)
		}
		end := &rawFD{fd: fd}
		t.Cleanup(func() {
			if !end.closed {
				_ = unix.Close(end.fd)
			}
		})
		ends = append(ends, end)
	}
	return ends[0], ends[1]
}

func write(t *testing.T, fd int) {
	t.Helper()
	if _, err := unix.Write(fd, make([]byte, 64<<10)); err != nil && !errors.Is(err, unix.EAGAIN) {
		t.Fatal(err)
	}
}

// TestFramesFromNowhere: what libzmq itself says has no peer.
func TestFramesFromNowhere(t *testing.T) {
	p, from := publish(t, "tcp://127.0.0.1:*", SocketConfig{})
	if from.Address != "127.0.0.1" || from.FD == NoFD {
		t.Errorf("the subscription came from %+v", from)
	}
	if err := p.conn.Close(); err != nil {
		t.Fatal(err)
	}
	poller := NewPoller(p.pub)
	for {
		if _, err := poller.Wait(nil, time.Second); err != nil {
			t.Fatal(err)
		}
		frame, from, err := p.pub.TryRecvFrameFrom()
		if errors.Is(err, ErrAgain) {
			continue
		}
		if err != nil || !bytes.Equal(frame, []byte{0}) || from.FD != NoFD || from.Address != "" {
			t.Errorf("%q from %+v, %v", frame, from, err)
		}
		return
	}
}

// BenchmarkNetQueue is one look at a connection.
func BenchmarkNetQueue(b *testing.B) {
	for name, fill := range map[string]bool{"idle": false, "queued": true} {
		b.Run(name, func(b *testing.B) {
			p, from := publish(b, "tcp://127.0.0.1:*", SocketConfig{NoDrop: true, SendQueue: 1})
			c, err := OpenConnection(from)
			if err != nil {
				b.Fatal(err)
			}
			if fill {
				p.fill(c)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Queue(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
