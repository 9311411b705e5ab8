package resync

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// runServer runs a server until the test ends or stop is called.
func runServer(t testing.TB, cfg ServerConfig) (s *Server, stop func()) {
	t.Helper()
	if cfg.Endpoints == nil {
		cfg.Endpoints = []string{"tcp://127.0.0.1:*"}
	}
	s, err := NewServer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(stop)
	return s, stop
}

// eventually waits for a condition that other goroutines bring about.
func eventually(cond func() bool) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !cond() {
		<-again.C
	}
}

// peer is a client of which every message is spelled out.
type peer struct {
	t  testing.TB
	s  *zsock.Socket
	in *zsock.Parts
}

func newPeer(t testing.TB, endpoint string) *peer {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(zsock.DEALER, zsock.SocketConfig{RecvTimeout: zsock.Forever, SendTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Connect(endpoint); err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, s: s, in: zsock.NewParts()}
	t.Cleanup(func() {
		p.close()
		p.in.Close()
		if err := ctx.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

func (p *peer) close() {
	if p.s != nil {
		_ = p.s.Close()
		p.s = nil
	}
}

func (p *peer) send(frames ...[]byte) {
	p.t.Helper()
	if err := p.s.SendParts(nil, 0, frames...); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) recv() Head {
	p.t.Helper()
	if err := p.s.RecvParts(p.in); err != nil {
		p.t.Fatal(err)
	}
	h, err := ParseHead(p.in.Frame(0), p.in.Len())
	if err != nil {
		p.t.Fatal(err)
	}
	return h
}

func (p *peer) want(c Command, id RequestID) {
	p.t.Helper()
	if h := p.recv(); h.Command != c || h.ID != id {
		p.t.Fatalf("got %v of %d%s, want %v of %d", h.Command, h.ID, p.why(h), c, id)
	}
}

func (p *peer) why(h Head) string {
	if h.Command != CommandError {
		return ""
	}
	e, _ := ParseError(p.in.Frame(0), p.in.Frame(1))
	return " (" + e.Error() + ")"
}

// wantError receives an error and returns it.
func (p *peer) wantError(id RequestID, code Code, advice Advice) RequestError {
	p.t.Helper()
	p.want(CommandError, id)
	e, err := ParseError(p.in.Frame(0), p.in.Frame(1))
	if err != nil || e.Code != code || e.Advice != advice {
		p.t.Fatalf("got %+v, %v, want code %v and advice %d", e, err, code, advice)
	}
	return e
}

// ping asks whether the server has a request. Messages before the pong are lost.
func (p *peer) ping(id RequestID) Pong {
	p.t.Helper()
	p.send(AppendPing(nil, id))
	for p.recv().Command != CommandPong {
	}
	pong, err := ParsePong(p.in.Frame(0))
	if err != nil || pong.ID != id {
		p.t.Fatalf("%+v, %v", pong, err)
	}
	return pong
}

// counted returns the server's counters, with all in them that p was answered so
// far.
func (p *peer) counted(s *Server) ServerCounters {
	p.t.Helper()
	p.ping(0)
	return s.Counters()
}

const plenty = 1 << 40 // bytes of credit

func refillOf(id RequestID, s Span) *RefillRequest {
	return &RefillRequest{ID: id, Span: s, Credit: plenty, Deadline: time.Minute}
}

func (p *peer) ask(r *RefillRequest) {
	p.t.Helper()
	p.send(AppendRefill(nil, r))
}

func (p *peer) askSnapshot(r *SnapshotRequest) {
	p.t.Helper()
	head, prefixes, err := AppendSnapshot(nil, nil, r)
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(head, prefixes)
}

// incoming is a refill as it arrives.
type incoming struct {
	id     RequestID
	next   wire.Seq
	digest Digest
	chunks int
	end    End
}

// chunk takes in the chunk that was received last.
func (in *incoming) chunk(p *peer) wire.Batch {
	p.t.Helper()
	id, b, err := ParseChunk(p.in.Frame(0), p.in.Frame(1), p.in.Frame(2))
	if err == nil {
		err = b.Check()
	}
	if err != nil || id != in.id || b.FirstSeq != in.next {
		p.t.Fatalf("chunk of %d from %d: %v; want %d from %d", id, b.FirstSeq, err, in.id, in.next)
	}
	in.next = b.Next()
	in.digest.Add(b.Count, b.CRC, len(b.Payload)+len(b.Order))
	in.chunks++
	return b
}

// refill receives a whole refill, up to its end or, then with that, an error.
func (p *peer) refill(id RequestID, from wire.Seq) (in incoming, failed *RequestError) {
	p.t.Helper()
	in = incoming{id: id, next: from}
	for {
		switch h := p.recv(); h.Command {
		case CommandChunk:
			in.chunk(p)
		case CommandEnd:
			e, err := ParseEnd(p.in.Frame(0), p.in.Frame(1))
			if err != nil || e.ID != id || e.Digest != in.digest || e.Next != in.next || len(e.Positions) != 0 {
				p.t.Fatalf("end is %+v, %v; received %+v", e, err, in)
			}
			in.end = e
			return in, nil
		case CommandError:
			e, err := ParseError(p.in.Frame(0), p.in.Frame(1))
			if err != nil || e.ID != id {
				p.t.Fatalf("error is %+v, %v", e, err)
			}
			return in, &e
		default:
			p.t.Fatalf("got %v of %d", h.Command, h.ID)
		}
	}
}

// whole wants a refill to come whole.
func (p *peer) whole(id RequestID, s Span) incoming {
	p.t.Helper()
	in, e := p.refill(id, s.From)
	if e != nil || in.next != s.To {
		p.t.Fatalf("came up to %d, want %d; %v", in.next, s.To, e)
	}
	return in
}
