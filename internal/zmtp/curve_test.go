package zmtp

import (
	"bytes"
	"crypto/ecdh"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// z85 are the characters of ZeroMQ RFC 32, in which libzmq wants its keys.
const z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

func encode(b []byte) string {
	var s strings.Builder
	for ; len(b) >= 4; b = b[4:] {
		for n, d := binary.BigEndian.Uint32(b), uint32(85*85*85*85); d > 0; d /= 85 {
			s.WriteByte(z85[n/d%85])
		}
	}
	return s.String()
}

type keyPair struct{ public, secret [32]byte }

func newKeys(t testing.TB, seed byte) keyPair {
	t.Helper()
	k, err := ecdh.X25519().NewPrivateKey(bytes.Repeat([]byte{seed}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return keyPair{[32]byte(k.PublicKey().Bytes()), [32]byte(k.Bytes())}
}

// lockedSub is libzmq's SUB, with keys.
func lockedSub(t *testing.T, own, server keyPair) *zsock.Socket {
	t.Helper()
	if !zsock.Has("curve") {
		t.Skip("this libzmq has no CURVE")
	}
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	ctx.SetLock(&zsock.Lock{Public: encode(own.public[:]), Secret: encode(own.secret[:]), ServerKey: func(string) (string, error) {
		return encode(server.public[:]), nil
	}})
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// accept takes a connection of a listener and greets it.
func accept(t *testing.T, l net.Listener, secret *[32]byte, check func([32]byte) error) (*Session, net.Conn, error) {
	t.Helper()
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return HandshakeCurve(conn, secret, check)
}

func listenAt(t *testing.T, endpoint string) (net.Listener, string) {
	t.Helper()
	l, at, err := Listen(endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, at
}

// TestCurve: libzmq's SUB, over tcp and ipc; messages of all sizes, in pieces of any.
func TestCurve(t *testing.T) {
	for _, endpoint := range []string{"tcp://127.0.0.1:*", "ipc://" + filepath.Join(t.TempDir(), "curve")} {
		t.Run(endpoint[:3], func(t *testing.T) {
			server, client := newKeys(t, 1), newKeys(t, 2)
			l, at := listenAt(t, endpoint)
			sub := lockedSub(t, client, server)
			topics := []string{"ES", strings.Repeat("x", 250), strings.Repeat("y", 300)}
			for _, topic := range topics {
				if err := sub.Subscribe(topic); err != nil {
					t.Fatal(err)
				}
			}
			if err := sub.Connect(at); err != nil {
				t.Fatal(err)
			}
			var shown [32]byte
			session, conn, err := accept(t, l, &server.secret, func(k [32]byte) error { shown = k; return nil })
			if err != nil || shown != client.public {
				t.Fatalf("%v, key %x", err, shown)
			}
			for range topics {
				e, err := session.Next()
				if err != nil || e.Kind != Subscribe || !slices.Contains(topics, string(e.Data)) {
					t.Fatalf("%+v, %v", e, err)
				}
			}
			var stream []byte
			sizes := []int{0, 1, 200, 255, 256, 5000, 300_000}
			for _, n := range sizes {
				stream = AppendFrame(stream, []byte("ES"), true)
				stream = AppendFrame(stream, bytes.Repeat([]byte{byte(n)}, n), false)
			}
			for i, step := 0, 1; i < len(stream); step = step*3 + 1 { // 1, 4, 13 ... bytes
				n := min(step, len(stream)-i)
				if wrote, err := conn.Write(stream[i : i+n]); err != nil || wrote != n {
					t.Fatalf("wrote %d of %d, %v", wrote, n, err)
				}
				i += n
			}
			for _, n := range sizes {
				m, err := sub.RecvFrames()
				if err != nil || len(m) != 2 || string(m[0]) != "ES" || !bytes.Equal(m[1], bytes.Repeat([]byte{byte(n)}, n)) {
					t.Fatalf("a message of %d bytes came as %d frames, %v", n, len(m), err)
				}
			}
			if err := sub.Unsubscribe("ES"); err != nil {
				t.Fatal(err)
			}
			if e, err := session.Next(); err != nil || e.Kind != Cancel || string(e.Data) != "ES" {
				t.Errorf("%+v, %v", e, err)
			}
			if _, plain := conn.(*net.TCPConn); plain || Unsent(conn) < 0 || PeerName(conn) == "" {
				t.Error("the connection is not sealed, or cannot be asked")
			}
		})
	}
}

func TestCurveRefuses(t *testing.T) {
	server, other, client := newKeys(t, 1), newKeys(t, 3), newKeys(t, 2)
	yes := func([32]byte) error { return nil }
	t.Run("wrong server key", func(t *testing.T) {
		l, at := listenAt(t, "tcp://127.0.0.1:*")
		if err := lockedSub(t, client, other).Connect(at); err != nil {
			t.Fatal(err)
		}
		if _, _, err := accept(t, l, &server.secret, yes); !errors.Is(err, ErrCurve) {
			t.Error(err)
		}
	})
	t.Run("refused", func(t *testing.T) {
		l, at := listenAt(t, "tcp://127.0.0.1:*")
		if err := lockedSub(t, client, server).Connect(at); err != nil {
			t.Fatal(err)
		}
		why := errors.New("revoked")
		if _, _, err := accept(t, l, &server.secret, func([32]byte) error { return why }); !errors.Is(err, ErrRefused) || !errors.Is(err, why) {
			t.Error(err)
		}
	})
	t.Run("no keys", func(t *testing.T) {
		ctx, err := zsock.NewContext(zsock.NoCPU)
		if err != nil {
			t.Fatal(err)
		}
		sub, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(sub.Close(), ctx.Close()); err != nil {
				t.Error(err)
			}
		}()
		l, at := listenAt(t, "tcp://127.0.0.1:*")
		if err := sub.Connect(at); err != nil {
			t.Fatal(err)
		}
		if _, _, err := accept(t, l, &server.secret, yes); !errors.Is(err, ErrMechanism) && !errors.Is(err, io.EOF) { // whoever sees it first
			t.Error(err)
		}
	})
}

// pipe is a peer that has said all it has to say.
type pipe struct {
	net.Conn
	r io.Reader
}

func (p pipe) Read(b []byte) (int, error)  { return p.r.Read(b) }
func (p pipe) Write(b []byte) (int, error) { return len(b), nil }

func TestCurveMalformed(t *testing.T) {
	server := newKeys(t, 1)
	hello := append([]byte{1, 0}, make([]byte, helloSize-2)...)
	for name, tc := range map[string]struct {
		said []byte
		want error
	}{
		"nothing":     {nil, io.EOF},
		"NULL":        {greeting[:], ErrMechanism},
		"no HELLO":    {slices.Concat(greetingCurve[:], appendCommand(nil, "READY", nil)), ErrProtocol},
		"short HELLO": {slices.Concat(greetingCurve[:], appendCommand(nil, "HELLO", hello[:100])), ErrProtocol},
		"a message":   {slices.Concat(greetingCurve[:], AppendFrame(nil, append([]byte("\x05HELLO"), hello...), false)), ErrProtocol},
		"zeros":       {slices.Concat(greetingCurve[:], appendCommand(nil, "HELLO", hello)), ErrCurve},
		"version 2":   {slices.Concat(greetingCurve[:], appendCommand(nil, "HELLO", append([]byte{2}, hello[1:]...))), ErrCurve},
	} {
		_, _, err := HandshakeCurve(pipe{r: bytes.NewReader(tc.said)}, &server.secret, func([32]byte) error { return nil })
		if !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
}

// TestOpenerRefuses: what was changed, comes again, or is none.
func TestOpenerRefuses(t *testing.T) {
	var key [32]byte
	seal := func(nonce uint64, text string) []byte {
		c := &sealed{key: &key, count: nonce - 1}
		n := c.nonce("CurveZMQMESSAGEC")
		return c.seal(append([]byte(messageName), n[:]...), []byte(text))
	}
	o := &opener{key: &key}
	if flags, text, err := o.open(seal(5, "\x01hello")); err != nil || flags != flagMore || string(text) != "hello" {
		t.Fatalf("%x %q %v", flags, text, err)
	}
	changed := seal(6, "\x00hello")
	changed[len(changed)-1]++
	for name, tc := range map[string]struct {
		body []byte
		want error
	}{
		"again": {seal(5, "\x00hello"), ErrCurve}, "older": {seal(4, "\x00hello"), ErrCurve}, "changed": {changed, ErrCurve},
		"short": {[]byte(messageName), ErrProtocol}, "flags": {seal(7, "\x07hello"), ErrProtocol}, "empty": {seal(8, ""), ErrProtocol},
	} {
		if _, _, err := o.open(tc.body); !errors.Is(err, tc.want) {
			t.Errorf("%s: %v, want %v", name, err, tc.want)
		}
	}
	if _, text, err := o.open(seal(9, "\x00x")); err != nil || string(text) != "x" {
		t.Errorf("%q, %v after what was refused", text, err)
	}
}

func FuzzHandshakeCurve(f *testing.F) {
	server := newKeys(f, 1)
	f.Add(slices.Concat(greetingCurve[:], appendCommand(nil, "HELLO", make([]byte, helloSize))))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, _, err := HandshakeCurve(pipe{r: bytes.NewReader(b)}, &server.secret, func([32]byte) error { return nil })
		if err == nil {
			t.Errorf("%x got in: %v", b, s)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, size := range []int{100, 4096} {
		frame := AppendFrame(nil, make([]byte, size), false)
		stream := bytes.Repeat(frame, 64<<10/len(frame))
		c := &sealed{Conn: pipe{}, key: new([32]byte)}
		b.Run(map[int]string{100: "100 bytes", 4096: "4 KiB"}[size], func(b *testing.B) {
			b.SetBytes(int64(len(stream)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := c.Write(stream); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*(len(stream)/len(frame)))/b.Elapsed().Seconds(), "messages/s")
		})
	}
}
