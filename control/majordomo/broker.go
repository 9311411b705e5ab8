package majordomo

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// BrokerConfig is what a Broker is made from. The zero value of a field means its
// default.
type BrokerConfig struct {
	// Endpoints that clients and workers connect to. At least one; tcp, ipc and
	// inproc.
	Endpoints []string
	// Context that inproc peers share; it is borrowed until Close. Default: one of
	// its own.
	Context *zsock.Context
	// Heartbeat is the interval of heartbeats. Workers should have the same.
	// Default 2.5 s.
	Heartbeat time.Duration
	// Liveness is for how many intervals a waiting worker may be silent. Default 3.
	Liveness int
	// BusySilence is how long a worker may be silent at work before its request
	// goes to another. Workers that do not beat while they work, as the guide's do
	// not, need as long as their work takes. Default: Liveness intervals.
	BusySilence time.Duration
	// Life is how long after its arrival, or its last repeat, a request is worth
	// answering. Default 30 s.
	Life time.Duration
	// Lives are the lives of services that need another one than Life, by name.
	Lives map[string]time.Duration
	// UnknownLife is how long a request waits for a service that has no worker.
	// Default 5 s.
	UnknownLife time.Duration
	// Services bounds how many services are known. Default 1000.
	Services int
	// Requests bounds how many requests are held, waiting or at work;
	// ServiceRequests those of one service, ClientRequests those of one client.
	// Default 20,000, 10,000 and 10,000.
	Requests, ServiceRequests, ClientRequests int
	// Bytes bounds the size of the requests held, bytes. Default 64 MiB.
	Bytes int
	// ClientBytes bounds those of one client, beyond its first. Default: half of Bytes.
	ClientBytes int
	// RequestBytes bounds one request, bytes. Who sends more is told so.
	// Default 1 MiB.
	RequestBytes int
	// ReplyBytes bounds a frame of a reply, bytes. Who sends a larger one is
	// disconnected. Default 128 MiB.
	ReplyBytes int64
	// WorkersMax bounds how many workers are listed. Default 1000.
	WorkersMax int
	// May decides whether a request, or whatever a worker says, is taken in: user is who
	// it came from, as the Check of the context's zsock.Lock has named him; service is ""
	// for a worker that says what has none in it, body the frames of a request, borrowed.
	// It is called by Run, for peers of other processes alone. Default: they may.
	May func(user string, worker bool, service []byte, body [][]byte) bool
	// Accept, where it is set, makes the broker one of a pair: it is asked before anything
	// that a client asks for is taken in, and reports whether this is the active one. vote
	// is false for a client that lives in a broker's process, which is no witness of what
	// became of the other one, and for one that only looks which one is active. What is not accepted is refused with ReasonPassive. Workers
	// are listed all the same, so that a takeover finds them. It is called by Run, which
	// waits for it.
	Accept func(vote bool) bool
	// StopWait is how long Run waits, when it is to stop, for workers to answer
	// what they have. Default 1 s.
	StopWait time.Duration
}

// Reason says why a broker could not have a request answered.
type Reason = pirate.Reason

// The reasons of a broker, beside those of pirate's queue: ReasonNoWorker,
// ReasonDeadline, ReasonDied, ReasonFull, ReasonTooLarge and ReasonStopping.
const (
	ReasonNoWorker = pirate.ReasonNoWorker
	ReasonDeadline = pirate.ReasonDeadline
	ReasonDied     = pirate.ReasonDied
	ReasonFull     = pirate.ReasonFull
	ReasonTooLarge = pirate.ReasonTooLarge
	ReasonStopping = pirate.ReasonStopping
	// ReasonNoRight: BrokerConfig.May does not allow it. Asking again does not help.
	ReasonNoRight Reason = "no right to it"
	// ReasonPassive: another broker takes requests, BrokerConfig.Accept says.
	ReasonPassive Reason = "this broker is the passive one of a pair"
)

// The broker's own services.
const (
	// ServiceServices answers with a JSON array of ServiceState, in the order of
	// the names.
	ServiceServices = ReservedPrefix + "services"
	// ServiceCounters answers with BrokerCounters as a JSON object.
	ServiceCounters = ReservedPrefix + "counters"
	// ServiceMMI is mmi.service: whether a service has a worker.
	ServiceMMI = "mmi.service"
	// ServicePing answers [200]; brokers of others, as MMI has it, [501]. Either says that
	// the broker takes requests.
	ServicePing = "mmi.ping"
	// ReservedPrefix begins the names of the broker's services that are ours.
	ReservedPrefix = "tapedeck.broker."
)

const (
	heartbeatDefault = 2500 * time.Millisecond
	livenessDefault  = 3
	deathInterval    = 5 * time.Second // ZMTP pings on silent connections
	deathTimeout     = 15 * time.Second
)

func (cfg *BrokerConfig) fill() error {
	if len(cfg.Endpoints) == 0 {
		return errors.New("majordomo: a broker needs endpoints")
	}
	if cfg.Heartbeat < 0 || cfg.Liveness < 0 || cfg.BusySilence < 0 || cfg.Life < 0 || cfg.UnknownLife < 0 || cfg.Services < 0 ||
		cfg.Requests < 0 || cfg.ServiceRequests < 0 || cfg.ClientRequests < 0 || cfg.Bytes < 0 || cfg.ClientBytes < 0 || cfg.RequestBytes < 0 ||
		cfg.ReplyBytes < 0 || cfg.WorkersMax < 0 || cfg.StopWait < 0 {
		return errors.New("majordomo: a number of the broker is negative")
	}
	for name, life := range cfg.Lives {
		if life <= 0 {
			return fmt.Errorf("majordomo: the life of requests to %s is not above 0", name)
		}
	}
	orDefault(&cfg.Heartbeat, heartbeatDefault)
	orDefault(&cfg.Liveness, livenessDefault)
	orDefault(&cfg.BusySilence, time.Duration(cfg.Liveness)*cfg.Heartbeat)
	orDefault(&cfg.Life, 30*time.Second)
	orDefault(&cfg.UnknownLife, 5*time.Second)
	orDefault(&cfg.Services, 1000)
	orDefault(&cfg.Requests, 20_000)
	orDefault(&cfg.ServiceRequests, 10_000)
	orDefault(&cfg.ClientRequests, 10_000)
	orDefault(&cfg.Bytes, 64<<20)
	orDefault(&cfg.ClientBytes, cfg.Bytes/2)
	orDefault(&cfg.RequestBytes, 1<<20)
	orDefault(&cfg.ReplyBytes, 128<<20)
	orDefault(&cfg.WorkersMax, 1000)
	orDefault(&cfg.StopWait, time.Second)
	cfg.Endpoints, cfg.Lives = slices.Clone(cfg.Endpoints), maps.Clone(cfg.Lives)
	return nil
}

func orDefault[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// Broker hands requests to workers of the service that they name, the least
// recently used first; those of one client in their order, clients by turns. Its socket belongs to Run.
type Broker struct {
	cfg    BrokerConfig
	own    *zsock.Context // nil where it was given
	socket *zsock.Socket
	at     []string // endpoints
	waiter *zsock.Waiter
	now    func() time.Duration // the time as the machine has it
	ticked time.Duration
	resign atomic.Bool

	in     *zsock.Inbox
	out    zsock.Outbox
	outs   []outbound // what the messages in out are
	number []byte

	mu sync.Mutex // held while Run is at work, not while it waits
	m  *machine
}

// NewBroker binds the endpoints. The error names the one that could not be bound.
func NewBroker(cfg BrokerConfig) (*Broker, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	b := &Broker{cfg: cfg, in: zsock.NewInbox()}
	b.m = newMachine(bounds{
		heartbeat: cfg.Heartbeat, idleSilence: time.Duration(cfg.Liveness) * cfg.Heartbeat, busySilence: cfg.BusySilence,
		life: cfg.Life, lives: cfg.Lives, unknownLife: cfg.UnknownLife,
		services: cfg.Services, requests: cfg.Requests, serviceRequests: cfg.ServiceRequests, clientRequests: cfg.ClientRequests, clientBytes: cfg.ClientBytes,
		bytes: cfg.Bytes, requestBytes: cfg.RequestBytes, workers: cfg.WorkersMax,
	})
	if err := b.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("majordomo: broker: %w", err), b.Close())
	}
	return b, nil
}

func (b *Broker) open() (err error) {
	ctx := b.cfg.Context
	if ctx == nil {
		if ctx, err = zsock.NewContext(zsock.NoCPU); err != nil {
			return err
		}
		b.own = ctx
	}
	b.now = ctx.Clock()
	// A client that is sent replies has asked for them, so its queue need hold no
	// more than it may ask for.
	b.socket, err = ctx.NewSocket(zsock.ROUTER, zsock.SocketConfig{
		MessageMax: b.cfg.ReplyBytes, SendQueue: max(b.cfg.ClientRequests, 1000), ReceiveQueue: max(b.cfg.ClientRequests, 1000),
		Channel: zsock.ChannelControl,
	})
	if err != nil {
		return err
	}
	if err := errors.Join(b.socket.MustReach(), b.socket.NoticeDeath(deathInterval, deathTimeout)); err != nil {
		return err
	}
	for _, e := range b.cfg.Endpoints {
		bound, err := b.socket.Bind(e)
		if err != nil {
			return err
		}
		b.at = append(b.at, bound)
	}
	b.waiter, err = ctx.NewWaiter(b.socket)
	return err
}

// Endpoints returns where clients and workers are to connect, with wildcard ports
// resolved, in the order of the configuration.
func (b *Broker) Endpoints() []string { return slices.Clone(b.at) }

// Close closes the socket, never while Run runs. It may be called more than once.
func (b *Broker) Close() error {
	var errs []error
	b.in.Close()
	if b.waiter != nil {
		errs = append(errs, b.waiter.Close())
	}
	if b.socket != nil {
		errs = append(errs, b.socket.Close())
	}
	if b.own != nil {
		errs = append(errs, b.own.Close())
	}
	b.waiter, b.socket, b.own = nil, nil, nil
	return errors.Join(errs...)
}

// Resign is for a broker of a pair that has become the passive one: what no worker has is
// failed with ReasonPassive, so that clients go to the other one; what workers have is seen
// through. Any goroutine may call it; it does not wait.
func (b *Broker) Resign() {
	b.resign.Store(true)
	b.waiter.Wake()
}

// Counters returns what was counted so far. Any goroutine may call it.
func (b *Broker) Counters() BrokerCounters {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m.count
}

// State returns what the broker holds now. Any goroutine may call it.
func (b *Broker) State() BrokerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m.state()
}
