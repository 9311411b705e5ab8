package resync

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// lossy is a publisher of one shard that forgets to send some of what a recorder
// has: that is what a full queue does.
type lossy struct {
	t        testing.TB
	socket   *zsock.Socket
	endpoint string
	shards   int
	live
}

func newLossy(t testing.TB, shard, shards int, kept *history) *lossy {
	t.Helper()
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := zctx.NewSocket(zsock.XPUB, zsock.SocketConfig{NoDrop: true, SendTimeout: zsock.Forever, RecvTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	p := &lossy{t: t, socket: s, shards: shards, live: live{shard: shard, epoch: 7, kept: kept, h: &Healer{shards: make([]*mender, shards)}}}
	if p.endpoint, err = s.Bind("tcp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.Close()
		_ = zctx.Close()
	})
	return p
}

// put sends a mark or a batch.
func (p *lossy) put(b *wire.Batch) {
	if err := p.socket.SendBatch(wire.AppendHeader(nil, &b.Header), b.Payload, b.Order, nil); err != nil {
		p.t.Error(err)
	}
}

func (p *lossy) say(flags wire.HeaderFlags, session *wire.Session) {
	b := wire.Batch{Header: wire.Header{Epoch: p.epoch, Shard: uint16(p.shard), Shards: uint16(p.shards), FirstSeq: p.next, Hash: p.hash, Flags: flags}}
	if session != nil {
		b.Payload, _ = wire.AppendSession(nil, session)
		b.PayloadSize, b.CRC = uint32(len(b.Payload)), wire.CRC(b.Payload, nil)
	}
	p.put(&b)
}

// publish waits for a reader and sends epochs of batches, of which it loses whole
// runs, the marks around the change of epoch included.
func (p *lossy) publish(rng *rand.Rand, epochs, batches int) {
	if _, err := p.socket.RecvFrames(); err != nil { // the reader's subscription
		p.t.Error(err)
		return
	}
	p.say(wire.FlagHello, &wire.Session{Publisher: "lossy"})
	for e := range epochs {
		away := 0 // batches still to be lost
		for i := range batches {
			if away == 0 && i > 0 && rng.IntN(20) == 0 {
				away = 1 + rng.IntN(30)
			}
			b := p.batch(1 + rng.IntN(50))
			if away > 0 {
				away--
				continue
			}
			p.put(b)
		}
		if e == epochs-1 {
			break
		}
		p.kept.end(p.epoch, p.shard)
		start := p.begin(p.epoch + 1)
		if rng.IntN(2) == 0 {
			p.say(wire.FlagHello, &wire.Session{Publisher: "lossy", Start: start})
		}
	}
	p.say(wire.FlagEnd, nil)
}

// TestHealsASubscriber: a subscriber of a stream that loses a third of its batches
// delivers all of it, in order and each record once, over changes of epoch, though
// one server stops on the way, and can prove the last epoch.
func TestHealsASubscriber(t *testing.T) {
	const shards, epochs, batches = 2, 3, 400
	m := newHistory(shards)
	first, stop := runServer(t, ServerConfig{Refills: m})
	second, _ := runServer(t, ServerConfig{Refills: m})
	c, err := NewClient(ClientConfig{Endpoints: []string{first.Endpoints()[0], second.Endpoints()[0]}, Silence: 200 * time.Millisecond, WindowBytes: 100_000})
	if err != nil {
		t.Fatal(err)
	}
	k := newSink()
	h, err := NewHealer(HealerConfig{Shards: shards, Client: c, HoldBytes: 200_000, Backoff: time.Millisecond, Attempts: 1000}, k)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	wg.Go(func() {
		if err := c.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	wg.Go(func() {
		if err := h.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	})
	var pubs []*lossy
	var endpoints []string
	for i := range shards {
		p := newLossy(t, i, shards, m)
		pubs, endpoints = append(pubs, p), append(endpoints, p.endpoint)
	}
	sub, err := subscriber.New(subscriber.Config{Endpoints: endpoints}, h)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range pubs {
		rng := rand.New(rand.NewPCG(11, uint64(i)))
		wg.Go(func() { p.publish(rng, epochs, batches) })
	}
	wg.Go(func() {
		eventually(func() bool { return h.Stats().Refilled > 3000 })
		stop()
	})
	if err := sub.Run(ctx); err != nil {
		t.Error(err)
	}
	settle(t, h)
	cancel()
	wg.Wait()
	records := uint64(0)
	for _, span := range m.Extents() {
		records += span.Len()
	}
	st := h.Stats()
	if k.wrong != nil || k.records != records || st.Lost != 0 || st.Broken != 0 || st.Completed != shards || st.Diverged != 0 {
		t.Errorf("%d of %d records: %v, %+v", k.records, records, k.wrong, st)
	}
	if sum := sub.Summary(); sum.Lost == 0 || sum.Complete {
		t.Errorf("nothing was lost: %+v", sum)
	}
	t.Logf("%d records, %+v, %+v", records, st, c.Stats())
}

// TestHealsUnderLoad: several shards at once, a Handler that takes its time, and
// servers that come and go: the race detector looks on.
func TestHealsUnderLoad(t *testing.T) {
	const shards, rounds = 3, 300
	m := newHistory(shards)
	a, b := startServer(t, m), startServer(t, m)
	k := newSink()
	c := startClient(t, ClientConfig{Silence: 100 * time.Millisecond, WindowBytes: 50_000}, a, b)
	h := startHealer(t, HealerConfig{Shards: shards, Client: c, HoldBytes: 100_000, Attempts: 1000, Patience: 200 * time.Millisecond}, k)
	var wg sync.WaitGroup
	for shard := range shards {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(5, uint64(shard)))
			l := &live{h: h, shard: shard, epoch: 7, kept: m, size: 100}
			l.hello("p", nil)
			for i := range rounds {
				if rng.IntN(10) == 0 {
					for range rng.IntN(20) {
						l.lose(1 + rng.IntN(20))
					}
				}
				if err := l.send(1 + rng.IntN(20)); err != nil {
					t.Error(err)
				}
				if rng.IntN(20) == 0 {
					l.mark(wire.FlagHeartbeat)
				}
				if shard == 0 && i%50 == 25 {
					for _, s := range []*testServer{a, b} {
						s.set(func(f *faults) { f.deaf = rng.IntN(3) == 0; f.stopAt = l.next - wire.Seq(rng.IntN(30)) })
					}
				}
			}
			if shard == 0 {
				for _, s := range []*testServer{a, b} {
					s.set(func(f *faults) { *f = faults{} })
				}
			}
			l.end()
		})
	}
	for range 50 {
		_, _ = h.Stats(), h.Positions()
	}
	wg.Wait()
	settle(t, h)
	records := uint64(0)
	for _, span := range m.Extents() {
		records += span.Len()
	}
	if st := h.Stats(); k.wrong != nil || k.records != records || st.Completed != shards || st.Lost != 0 {
		t.Errorf("%d of %d records: %v, %+v", k.records, records, k.wrong, st)
	}
}
