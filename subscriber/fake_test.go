package subscriber

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// fakePub is a publisher of one shard that can also misbehave. It belongs to the
// test's goroutine.
type fakePub struct {
	t        testing.TB
	source   source
	ctx      *zsock.Context
	socket   *zsock.Socket
	poller   *zsock.Poller
	endpoint string
	shard    uint16
	shards   uint16
	topicSeq uint32
	closed   bool
}

func newFake(t testing.TB, endpoint string, shard, shards uint16, epoch wire.Epoch) *fakePub {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(zsock.XPUB, zsock.SocketConfig{SendTimeout: zsock.Forever, NoDrop: true, Verbose: true})
	if err != nil {
		t.Fatal(err)
	}
	p := &fakePub{t: t, source: source{epoch: epoch}, ctx: ctx, socket: s, poller: zsock.NewPoller(s), shard: shard, shards: shards}
	if p.endpoint, err = s.Bind(endpoint); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	return p
}

// close goes away as a killed process does.
func (p *fakePub) close() {
	if p.closed {
		return
	}
	p.closed = true
	if err := errors.Join(p.socket.Close(), p.ctx.Close()); err != nil {
		p.t.Error(err)
	}
}

// await waits until a reader subscribes to a topic that begins with prefix.
func (p *fakePub) await(prefix string) {
	p.t.Helper()
	want := append([]byte{1}, prefix...)
	for {
		if _, err := p.poller.Wait(nil, time.Second); err != nil {
			p.t.Fatal(err)
		}
		frame, err := p.socket.TryRecvFrame()
		switch {
		case errors.Is(err, zsock.ErrAgain):
			continue
		case err != nil:
			p.t.Fatal(err)
		case bytes.HasPrefix(frame, want):
			return
		}
	}
}

const readyPrefix, donePrefix = "TPDK?ready:", "TPDK?done:"

// greet waits for a reader and until it has confirmed a hello.
func (p *fakePub) greet() {
	p.t.Helper()
	p.await("")
	p.hello()
	p.await(readyPrefix)
}

func (p *fakePub) hello() {
	payload, err := wire.AppendSession(nil, &wire.Session{Publisher: "fake", Mode: "lossless"})
	if err != nil {
		p.t.Fatal(err)
	}
	h := p.source.hello()
	h.PayloadSize, h.CRC = uint32(len(payload)), wire.CRC(payload, nil)
	p.send(h, payload)
}

// records makes a batch of n records.
func (p *fakePub) records(n int) (wire.Header, []byte) {
	var payload []byte
	for range n {
		body := binary.LittleEndian.AppendUint32(nil, p.topicSeq)
		var err error
		payload, err = wire.AppendRecord(payload, &wire.Fields{Topic: []byte("FAKE"), Body: body, Event: 1, Receive: 2, TopicSeq: p.topicSeq})
		if err != nil {
			p.t.Fatal(err)
		}
		p.topicSeq++
	}
	h := p.source.batch(uint32(n), wire.CRC(payload, nil))
	h.PayloadSize = uint32(len(payload))
	h.Send = 1
	return h, payload
}

func (p *fakePub) sendRecords(n int) {
	h, payload := p.records(n)
	p.send(h, payload)
}

func (p *fakePub) end() { p.send(p.source.end(), nil) }

// frame encodes a header as this publisher's shard would.
func (p *fakePub) frame(h wire.Header) []byte {
	h.Shard, h.Shards = p.shard, p.shards
	return wire.AppendHeader(nil, &h)
}

func (p *fakePub) send(h wire.Header, payload []byte) { p.sendRaw(p.frame(h), payload) }

func (p *fakePub) sendRaw(frames ...[]byte) {
	p.t.Helper()
	if err := p.socket.SendFrames(frames...); err != nil {
		p.t.Fatal(err)
	}
}

// gap is one call of HandleGap.
type gap struct {
	shard    int
	epoch    wire.Epoch
	from, to wire.Seq
}

// end is one call of HandleEnd.
type end struct {
	shard    int
	epoch    wire.Epoch
	complete bool
}

// notes is a Handler that writes down everything.
type notes struct {
	mu       sync.Mutex
	bodies   map[int][]uint32 // per shard, the number in each record's body
	gaps     []gap
	sessions []wire.Epoch
	ends     []end
	fail     error         // what HandleBatch returns
	batch    chan struct{} // if there is one, told of each batch
}

func (n *notes) HandleBatch(b *wire.Batch, skip uint32) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bodies == nil {
		n.bodies = map[int][]uint32{}
	}
	w := b.Records()
	for i := uint32(0); w.Next(); i++ {
		if i >= skip {
			n.bodies[int(b.Shard)] = append(n.bodies[int(b.Shard)], binary.LittleEndian.Uint32(w.Record().Body()))
		}
	}
	if n.batch != nil {
		n.batch <- struct{}{}
	}
	return errors.Join(w.Err(), n.fail)
}

func (n *notes) HandleGap(shard int, epoch wire.Epoch, from, to wire.Seq) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gaps = append(n.gaps, gap{shard, epoch, from, to})
}

func (n *notes) HandleSession(_ int, epoch wire.Epoch, _ *wire.Session) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sessions = append(n.sessions, epoch)
}

func (n *notes) HandleEnd(shard int, epoch wire.Epoch, complete bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ends = append(n.ends, end{shard, epoch, complete})
}

// upTo is 0, 1, 2, ... n-1.
func upTo(n uint32) []uint32 {
	var list []uint32
	for i := range n {
		list = append(list, i)
	}
	return list
}

// running is a Subscriber whose Run runs.
type running struct {
	*Subscriber
	notes *notes
	done  chan error

	mu    sync.Mutex
	warns []string
}

// start runs a subscriber until the test's end or its own.
func start(t testing.TB, cfg Config, n *notes) *running {
	t.Helper()
	r := &running{notes: n, done: make(chan error, 1)}
	cfg.Warn = func(_ int, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.warns = append(r.warns, err.Error())
	}
	var err error
	if r.Subscriber, err = New(cfg, n); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	go func() { r.done <- r.Run(ctx) }()
	return r
}

func (r *running) warnings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.warns)
}
