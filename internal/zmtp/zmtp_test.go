package zmtp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// script is a peer that has said all it has to say, and hears nothing.
type script struct{ *bytes.Reader }

func (script) Write(b []byte) (int, error) { return len(b), nil }

func say(parts ...[]byte) script { return script{bytes.NewReader(slices.Concat(parts...))} }

func ready(kind string) []byte {
	data := append([]byte("\x0bSocket-Type\x00\x00\x00"), byte(len(kind)))
	return appendCommand(nil, "READY", append(data, kind...))
}

func edited(at int, b byte) []byte {
	g := slices.Clone(greeting[:])
	g[at] = b
	return g
}

func TestHandshakeRefuses(t *testing.T) {
	for _, c := range []struct {
		name string
		peer script
		want error
	}{
		{"nothing", say(), io.EOF},
		{"HTTP", say([]byte("GET / HTTP/1.1\r\n\r\n")), ErrGreeting},
		{"ZMTP 1.0", say([]byte{1, 0}), ErrGreeting},
		{"ZMTP 2.0", say([]byte{0xff, 0, 0, 0, 0, 0, 0, 0, 1, 0x7f, 1, 1}), ErrVersion},
		{"greeting cut off", say(greeting[:40]), io.ErrUnexpectedEOF},
		{"CURVE", say(edited(12, 'X')), ErrMechanism},
		{"PUB", say(greeting[:], ready("PUB")), ErrSocketType},
		{"no type", say(greeting[:], appendCommand(nil, "READY", nil)), ErrSocketType},
		{"message first", say(greeting[:], AppendFrame(nil, []byte("\x01x"), false)), ErrProtocol},
		{"property cut off", say(greeting[:], appendCommand(nil, "READY", []byte("\x0bSocket-Type\x00\x00\x00\x09SUB"))), ErrProtocol},
		{"huge frame", say(greeting[:], []byte{flagCommand | flagLong, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), ErrProtocol},
		{"unknown flag", say(greeting[:], []byte{0x10, 0}), ErrProtocol},
	} {
		if _, err := Handshake(c.peer); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	for _, kind := range []string{"SUB", "XSUB"} {
		if _, err := Handshake(say(edited(11, 1), ready(kind))); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

func TestEvents(t *testing.T) {
	long := strings.Repeat("x", 300)
	s, err := Handshake(say(greeting[:], ready("SUB"),
		AppendFrame(nil, []byte("\x01topic"), false), AppendFrame(nil, []byte("\x01"), false), AppendFrame(nil, []byte("\x00topic"), false),
		AppendFrame(nil, []byte("\x01"+long), false),
		appendCommand(nil, "SUBSCRIBE", []byte("new")), appendCommand(nil, "CANCEL", []byte(long)),
		appendCommand(nil, "PING", []byte("\x00\x0acontext")), appendCommand(nil, "PING", []byte("\x00\x0a")),
		appendCommand(nil, "OTHER", nil), AppendFrame(nil, nil, false), AppendFrame(nil, []byte("user"), false),
		AppendFrame(nil, []byte("\x01of"), true), AppendFrame(nil, []byte("\x01several"), true), AppendFrame(nil, []byte("\x01frames"), false),
		AppendFrame(nil, []byte("\x01end"), false), []byte{0}))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []Event{
		{Subscribe, []byte("topic")}, {Subscribe, nil}, {Cancel, []byte("topic")}, {Subscribe, []byte(long)},
		{Subscribe, []byte("new")}, {Cancel, []byte(long)}, {Ping, []byte("context")}, {Ping, nil},
		{Kind: Foreign}, {Kind: Foreign}, {Kind: Foreign}, {Kind: Foreign}, {Subscribe, []byte("end")},
	} {
		if got, err := s.Next(); err != nil || got.Kind != want.Kind || !bytes.Equal(got.Data, want.Data) {
			t.Fatalf("got %d %q, %v, want %d %q", got.Kind, got.Data, err, want.Kind, want.Data)
		}
	}
	if _, err := s.Next(); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("at the end: %v", err)
	}
	for name, b := range map[string][]byte{
		"command within a message": slices.Concat(AppendFrame(nil, nil, true), appendCommand(nil, "PING", []byte{0, 0})),
		"ping too long":            appendCommand(nil, "PING", make([]byte, 19)),
		"empty command":            {flagCommand, 0},
	} {
		s, err := Handshake(say(greeting[:], ready("SUB"), b))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Next(); !errors.Is(err, ErrProtocol) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestFrames: what AppendFrame writes is what its size says, and is read back.
func TestFrames(t *testing.T) {
	for _, size := range []int{0, 1, 255, 256, FrameMax} {
		body := bytes.Repeat([]byte{7}, size)
		b := AppendFrame([]byte("x"), body, true)
		if len(b) != 1+FrameSize(size) {
			t.Errorf("%d bytes: a frame of %d", size, len(b)-1)
		}
		if got, more, rest, ok := NextFrame(append(b[1:len(b):len(b)], "next"...)); !ok || !more || string(rest) != "next" || !bytes.Equal(got, body) {
			t.Errorf("%d bytes: NextFrame gives %d, %v, %q, %v", size, len(got), more, rest, ok)
		}
		for cut := range min(len(b)-1, 20) {
			if _, _, _, ok := NextFrame(b[1 : 1+cut]); ok {
				t.Errorf("%d bytes: NextFrame takes %d of them", size, cut)
			}
		}
		s, err := Handshake(say(greeting[:], ready("SUB"), b[1:], AppendFrame(nil, body, false)))
		if err != nil {
			t.Fatal(err)
		}
		for _, more := range []byte{flagMore, 0} {
			if flags, got, err := s.frame(); err != nil || flags&flagMore != more || !bytes.Equal(got, body) {
				t.Errorf("%d bytes: flags %#x, %d bytes, %v", size, flags, len(got), err)
			}
		}
	}
}

// TestLibzmq: SUB sockets of libzmq join, subscribe, receive and leave, by every
// transport.
func TestLibzmq(t *testing.T) {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	}()
	longest := strings.Repeat("t", 255) // whose length libzmq 4.3.4 writes wrong
	for _, endpoint := range []string{"tcp://127.0.0.1:*", "tcp://*:*", "tcp://lo:*", "ipc://" + filepath.Join(t.TempDir(), "s"), "ipc://*", "ipc://@tapedeck-" + filepath.Base(t.TempDir())} {
		t.Run(endpoint, func(t *testing.T) {
			l, bound, err := Listen(endpoint)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if dir, ok := strings.CutPrefix(bound, "ipc://"); ok && endpoint == "ipc://*" {
				defer os.Remove(filepath.Dir(dir))
			}
			sub, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever})
			if err != nil {
				t.Fatal(err)
			}
			closed := false
			defer func() {
				if !closed {
					_ = sub.Close()
				}
			}()
			for _, err := range []error{sub.Connect(strings.Replace(bound, "0.0.0.0", "127.0.0.1", 1)), sub.Subscribe("A"), sub.Subscribe(longest)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			conn, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			s, err := Handshake(conn)
			if err != nil {
				t.Fatal(err)
			}
			heard := map[string]bool{}
			for range 2 {
				e, err := s.Next()
				if err != nil || e.Kind != Subscribe {
					t.Fatal(e, err)
				}
				heard[string(e.Data)] = true
			}
			if !heard["A"] || !heard[longest] {
				t.Errorf("heard %v", heard)
			}
			body := bytes.Repeat([]byte{9}, 1000)
			var b []byte
			b = AppendFrame(b, []byte("B not wanted"), false)
			b = AppendFrame(b, []byte("A.1"), true)
			b = AppendPong(AppendFrame(b, body, false), []byte("nobody asked"))
			b = AppendFrame(b, []byte(longest), false)
			if _, err := conn.Write(b); err != nil {
				t.Fatal(err)
			}
			if frames, err := sub.RecvFrames(); err != nil || len(frames) != 2 || string(frames[0]) != "A.1" || !bytes.Equal(frames[1], body) {
				t.Errorf("got %d frames, %v", len(frames), err)
			}
			if frames, err := sub.RecvFrames(); err != nil || len(frames) != 1 || string(frames[0]) != longest {
				t.Errorf("got %q, %v", frames, err)
			}
			if name := PeerName(conn); name == "" || name == "ipc" {
				t.Errorf("peer is named %q", name)
			}
			closed = true
			if err := sub.Close(); err != nil {
				t.Fatal(err)
			}
			for {
				if _, err := s.Next(); err != nil {
					return // unsubscriptions may come first
				}
			}
		})
	}
}

// TestUnsent: what nobody reads waits, and is seen.
func TestUnsent(t *testing.T) {
	l, _, err := Listen("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	peer, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := errors.Join(conn.(*net.TCPConn).SetWriteBuffer(1<<16), peer.(*net.TCPConn).SetReadBuffer(1<<12)); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = conn.Write(make([]byte, 16<<20))
	}()
	for Unsent(conn) == 0 {
	}
	_ = conn.Close()
	<-done
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, bound, err := Listen("ipc://" + filepath.Join(dir, "taken"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, endpoint := range []string{"", "udp://x:1", "tcp://127.0.0.1", "tcp://:80", "tcp://127.0.0.1:http", "tcp://127.0.0.1:70000", "ipc://", "ipc://" + file, bound} {
		if l, _, err := Listen(endpoint); err == nil {
			_ = l.Close()
			t.Errorf("%q was bound", endpoint)
		} else if !strings.Contains(err.Error(), endpoint) {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	// A file that a dead process left is no hindrance.
	left := filepath.Join(dir, "left")
	dead, err := net.Listen("unix", left)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = dead.Close()
	l2, _, err := Listen("ipc://" + left)
	if err != nil {
		t.Fatal(err)
	}
	_ = l2.Close()
}

// FuzzSession: whatever a peer says, it is refused or heard, within bounds.
func FuzzSession(f *testing.F) {
	f.Add(AppendFrame(nil, []byte("\x01topic"), false))
	f.Add(appendCommand(nil, "PING", []byte("\x00\x0acontext")))
	f.Add([]byte{flagLong, 0, 0, 0, 0, 0, 0, 0x20, 0})
	f.Add(slices.Concat(AppendFrame(nil, []byte("a"), true), AppendFrame(nil, []byte("b"), false)))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Handshake(say(b))
		s, err := Handshake(say(greeting[:], ready("SUB"), b))
		if err != nil {
			t.Fatal(err)
		}
		for {
			e, err := s.Next()
			if err != nil {
				break
			}
			if e.Kind == 0 || len(e.Data) > FrameMax {
				t.Fatalf("event %d of %d bytes", e.Kind, len(e.Data))
			}
		}
		if cap(s.buf) > FrameMax {
			t.Fatalf("a buffer of %d bytes", cap(s.buf))
		}
	})
}
