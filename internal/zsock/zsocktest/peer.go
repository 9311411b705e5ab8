package zsocktest

import (
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// NewContext is a context that is closed when the test ends.
func NewContext(t testing.TB) *zsock.Context {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	})
	return ctx
}

// Peer is a socket of a peer written by somebody else: what it sends and receives is
// spelled out frame by frame, and it waits for as long as that takes. One goroutine may
// use it.
type Peer struct {
	Socket *zsock.Socket
	t      testing.TB
}

// NewPeer is a peer whose socket is closed when the test ends.
func NewPeer(t testing.TB, ctx *zsock.Context, kind zsock.Type) *Peer {
	t.Helper()
	s, err := ctx.NewSocket(kind, zsock.SocketConfig{RecvTimeout: zsock.Forever, SendTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	p := &Peer{s, t}
	t.Cleanup(p.Close)
	return p
}

// Close closes the socket; it may be called again.
func (p *Peer) Close() {
	if p.Socket != nil {
		_ = p.Socket.Close()
		p.Socket = nil
	}
}

// Connect connects it.
func (p *Peer) Connect(endpoint string) {
	p.t.Helper()
	if err := p.Socket.Connect(endpoint); err != nil {
		p.t.Fatal(err)
	}
}

// Bind binds it, and returns where.
func (p *Peer) Bind(endpoint string) string {
	p.t.Helper()
	at, err := p.Socket.Bind(endpoint)
	if err != nil {
		p.t.Fatal(err)
	}
	return at
}

// Send sends a message of frames.
func (p *Peer) Send(frames ...string) {
	p.t.Helper()
	message := make([][]byte, len(frames))
	for i, f := range frames {
		message[i] = []byte(f)
	}
	if err := p.Socket.SendParts(nil, 0, message...); err != nil {
		p.t.Fatal(err)
	}
}

// Recv returns the frames of the next message.
func (p *Peer) Recv() []string {
	p.t.Helper()
	message, err := p.Socket.RecvFrames()
	if err != nil {
		p.t.Fatal(err)
	}
	frames := make([]string, len(message))
	for i, f := range message {
		frames[i] = string(f)
	}
	return frames
}

// Want fails the test where a message has other frames.
func (p *Peer) Want(got []string, want ...string) {
	p.t.Helper()
	if !slices.Equal(got, want) {
		p.t.Fatalf("got %q, want %q", got, want)
	}
}
