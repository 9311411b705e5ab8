package binarystar

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Config is what a Pair is made from. The zero value of a field means its default.
type Config struct {
	Role Role
	// Bind is where this server announces itself, Peer where the other one does: tcp,
	// ipc or inproc endpoints. The link should be another than the clients'.
	Bind, Peer string
	// Context that inproc peers share; borrowed until Close. Default: one of its own.
	Context *zsock.Context
	// Heartbeat is the interval of announcements; both must have the same. Default 1 s.
	Heartbeat time.Duration
	// Expiry is how long the peer may be silent. Default: two heartbeats.
	Expiry time.Duration
	// Failback is how long a primary must have been well before an active backup
	// gives the work back to it. Default: never.
	Failback time.Duration
	// Compatible makes announcements the single digit that servers of others expect.
	// It costs the epochs, and so the fence.
	Compatible bool
	// Dir is where the greatest epoch that is known is kept, so that epochs grow over
	// restarts. It is made where it is not there; New fails where nothing can be kept
	// in it. Default: nowhere.
	Dir string
	// Vote, where it is set, is called once a heartbeat while this server is not active
	// and the peer is silent: it is to ask for something over the way that clients take
	// to this server, and its success counts as a client's request.
	Vote func(ctx context.Context) error
	// OnActive and OnPassive are called when the server has become what they say,
	// one after the other, and nothing is accepted before OnActive has returned. They
	// must not call the Pair.
	OnActive, OnPassive func(epoch uint64, reason string)
	// OnNote is called with the notes of the active peer, after they have become as they
	// are: where it was fenced, or is not active, it is not heard. The note is owned. It
	// is called as OnActive is, and must not call the Pair.
	OnNote func(note []byte)
	// OnPassiveNote is OnNote for what the peer says while it is passive.
	OnPassiveNote func(note []byte)
	// Warn is told what an operator should know. Default: nothing.
	Warn func(error)
}

// farewellMax is how long Close lets the last announcement go out.
const farewellMax = 100 * time.Millisecond

const heartbeatDefault = time.Second

func (cfg *Config) fill() error {
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = heartbeatDefault
	}
	if cfg.Expiry == 0 {
		cfg.Expiry = 2 * cfg.Heartbeat
	}
	switch {
	case cfg.Role != Primary && cfg.Role != Backup:
		return fmt.Errorf("binarystar: %v is neither primary nor backup", cfg.Role)
	case cfg.Bind == "" || cfg.Peer == "":
		return errors.New("binarystar: a pair needs an endpoint of its own and its peer's")
	case cfg.Heartbeat < time.Millisecond || cfg.Failback < 0:
		return fmt.Errorf("binarystar: a heartbeat of %v, failback after %v", cfg.Heartbeat, cfg.Failback)
	case cfg.Expiry < cfg.Heartbeat+cfg.Heartbeat/2:
		return fmt.Errorf("binarystar: an expiry of %v is too short for heartbeats of %v", cfg.Expiry, cfg.Heartbeat)
	}
	if cfg.Warn == nil {
		cfg.Warn = func(error) {}
	}
	return nil
}

// Pair is one server's half of a pair. Run does the work; the other methods may be
// called from any goroutine.
type Pair struct {
	cfg    Config
	own    *zsock.Context // nil where it was given
	pub    *zsock.Socket
	sub    *zsock.Socket
	at     string
	waiter *zsock.Waiter
	now    func() time.Duration

	events   chan func() // what the deciding goroutine does, one after the other
	ended    chan struct{}
	keeping  sync.Mutex // over this and the next
	epochs   *Epochs
	unkept   uint64        // that could not be kept
	unsaved  chan struct{} // there is something to keep, and no hurry
	hush     chan struct{} // the peer has said that it goes
	active   atomic.Bool   // and OnActive has returned
	accepted atomic.Uint64
	announce atomic.Bool // without waiting for the heartbeat
	note     atomic.Pointer[[]byte]

	mu      sync.Mutex // over what follows
	machine *Machine
	since   time.Duration
	reason  string
	bad     uint64 // announcements that were none
	missed  uint64 // announcements that came faster than they were taken
}

// eventsMax bounds the events that wait while a callback runs.
const eventsMax = 256

// New opens the link. The error names the endpoint that could not be used.
func New(cfg Config) (*Pair, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	epochs, err := OpenEpochs(fsys.OS{}, cfg.Dir)
	if err != nil {
		return nil, err
	}
	begun := time.Now()
	p := &Pair{cfg: cfg, epochs: epochs, events: make(chan func(), eventsMax), ended: make(chan struct{}), unsaved: make(chan struct{}, 1), hush: make(chan struct{}, 1), now: func() time.Duration { return time.Since(begun) }}
	p.machine = NewMachine(MachineConfig{Role: cfg.Role, Expiry: cfg.Expiry, Failback: cfg.Failback, Epoch: epochs.Known()}, 0)
	if err := p.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("binarystar: %w", err), p.Close())
	}
	return p, nil
}

func (p *Pair) open() (err error) {
	ctx := p.cfg.Context
	if ctx == nil {
		if ctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
			return err
		}
		p.own = ctx
	}
	if p.pub, err = ctx.NewSocket(zsock.PUB, zsock.SocketConfig{Channel: zsock.ChannelPair, MessageMax: announcementMax, Linger: farewellMax}); err != nil {
		return err
	}
	if p.at, err = p.pub.Bind(p.cfg.Bind); err != nil {
		return err
	}
	if p.sub, err = ctx.NewSocket(zsock.SUB, zsock.SocketConfig{MessageMax: announcementMax}); err != nil {
		return err
	}
	if err = errors.Join(p.sub.Subscribe(""), p.sub.Connect(p.cfg.Peer)); err != nil {
		return err
	}
	p.waiter, err = zsock.NewWaiter(p.sub)
	return err
}

// Endpoint is where this server announces itself, with a wildcard port resolved.
func (p *Pair) Endpoint() string { return p.at }

// Run keeps the link until ctx ends; then it returns nil. It may be called once.
func (p *Pair) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { p.decide(ctx) })
	wg.Go(func() { p.keepOn(ctx) })
	if p.cfg.Vote != nil {
		wg.Go(func() { p.voteOnSilence(ctx) })
	}
	err := p.link(ctx)
	cancel()
	wg.Wait()
	p.active.Store(false)
	return err
}

// Close closes the sockets, after Run has returned.
func (p *Pair) Close() error {
	var errs []error
	if p.waiter != nil {
		errs = append(errs, p.waiter.Close())
	}
	for _, s := range []*zsock.Socket{p.pub, p.sub} {
		if s != nil {
			errs = append(errs, s.Close())
		}
	}
	p.waiter, p.pub, p.sub = nil, nil, nil
	if p.own != nil {
		errs = append(errs, p.own.Close())
		p.own = nil
	}
	return errors.Join(errs...)
}

// Accept asks whether a client's request may be served, and takes it for a vote.
// While the server is active that costs an atomic load; otherwise it waits for the
// decision and, where the server becomes active, for OnActive.
func (p *Pair) Accept(ctx context.Context) Refusal {
	if p.active.Load() {
		p.accepted.Add(1)
		return ""
	}
	refused := RefusedPassive
	err := p.do(ctx, func() {
		var out Outcome
		p.locked(func(m *Machine) { refused, out = m.Request(p.now()) })
		p.act(out)
	})
	if err != nil {
		return Refusal("this server is stopping")
	}
	return refused
}

// ErrPeerActive: a server was not promoted because its peer is active and heard.
var ErrPeerActive = errors.New("binarystar: the other one is active")

// Promote makes this server active because an operator says so: the only way for a
// backup that has never heard its primary. While the peer is active and heard it
// returns ErrPeerActive, unless force is set; then the peer yields.
func (p *Pair) Promote(ctx context.Context, force bool) error {
	done := false
	err := p.do(ctx, func() {
		var out Outcome
		p.locked(func(m *Machine) { out, done = m.Promote(p.now(), force) })
		p.act(out)
	})
	if err == nil && !done {
		err = ErrPeerActive
	}
	return err
}

// SetNote makes a note, of at most NoteMax bytes, go with every announcement from now
// on, and announces at once; nil takes it back. The note is owned by the Pair. A server
// that says Compatible says none.
func (p *Pair) SetNote(note []byte) error {
	if len(note) > NoteMax {
		return fmt.Errorf("binarystar: a note of %d bytes", len(note))
	}
	p.note.Store(&note)
	p.announce.Store(true)
	p.waiter.Wake()
	return nil
}

// do has f done by the deciding goroutine.
func (p *Pair) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case p.events <- func() { defer close(done); f() }:
	case <-p.ended:
		return context.Canceled
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	select {
	case <-done:
		return nil
	case <-p.ended:
		return context.Canceled
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// decide does what happens, one after the other.
func (p *Pair) decide(ctx context.Context) {
	defer close(p.ended)
	for {
		select {
		case f := <-p.events:
			f()
		case <-ctx.Done():
			return
		}
	}
}

// act does what an outcome asks for.
func (p *Pair) act(out Outcome) {
	if out.Announce {
		p.announce.Store(true)
		p.waiter.Wake()
	}
	if out.Became == Passive {
		p.active.Store(false)
	}
	if out.Became == Active {
		p.keep() // an epoch of its own must outlive it before anybody hears of it
	} else {
		// The peer has kept its own. A disk that takes its time must not make this server
		// deaf and dumb meanwhile.
		select {
		case p.unsaved <- struct{}{}:
		default:
		}
	}
	if out.Became == 0 {
		return
	}
	p.locked(func(*Machine) { p.since, p.reason = p.now(), out.Reason })
	switch out.Became {
	case Active:
		if p.cfg.OnActive != nil {
			p.cfg.OnActive(out.Epoch, out.Reason)
		}
		p.active.Store(true)
	case Passive:
		if p.cfg.OnPassive != nil {
			p.cfg.OnPassive(out.Epoch, out.Reason)
		}
	}
}

// keep keeps the greatest epoch that is known, also where it is the peer's: whoever has
// seen that one must not see a lesser one of this server, should it come back alone.
func (p *Pair) keep() {
	p.keeping.Lock()
	defer p.keeping.Unlock()
	known := uint64(0)
	p.locked(func(m *Machine) { known = m.epoch })
	if err := p.epochs.Keep(known); err != nil && p.unkept != known {
		p.unkept = known // it is tried again, and told of once
		p.cfg.Warn(err)
	}
}

// keepOn keeps what there is no hurry with, until ctx ends, and then once more.
func (p *Pair) keepOn(ctx context.Context) {
	for {
		select {
		case <-p.unsaved:
			p.keep()
		case <-ctx.Done():
			p.keep()
			return
		}
	}
}

func (p *Pair) locked(f func(m *Machine)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(p.machine)
}

// voteOnSilence has the synthetic voter ask while the peer is silent.
func (p *Pair) voteOnSilence(ctx context.Context) {
	for {
		var wait time.Duration
		vote := false
		p.locked(func(m *Machine) {
			_, until := m.PeerState()
			wait = until - p.now()
			vote = m.state != Active && wait <= 0
		})
		if vote && p.cfg.Vote(ctx) == nil {
			_ = p.do(ctx, func() { // an error means that Run ends
				var out Outcome
				p.locked(func(m *Machine) { out = m.Vote(p.now()) })
				p.act(out)
			})
		}
		if wait <= 0 {
			wait = p.cfg.Heartbeat
		}
		select {
		case <-time.After(wait):
		case <-p.hush:
		case <-ctx.Done():
			return
		}
	}
}
