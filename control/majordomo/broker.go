package majordomo

import (
	"context"
	"errors"
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
	// RequestBytes bounds one request, bytes. Who sends more is told so.
	// Default 1 MiB.
	RequestBytes int
	// ReplyBytes bounds a frame of a reply, bytes. Who sends a larger one is
	// disconnected. Default 128 MiB.
	ReplyBytes int64
	// WorkersMax bounds how many workers are listed. Default 1000.
	WorkersMax int
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
	// ReservedPrefix begins the names of the broker's services that are ours.
	ReservedPrefix = "tapedeck.broker."
)

// Broker hands requests to workers of the service that they name, the least
// recently used first. Its socket belongs to Run.
type Broker struct{}

var errUnfinished = errors.New("majordomo: unfinished")

// NewBroker binds the endpoints. The error names the one that could not be bound.
func NewBroker(cfg BrokerConfig) (*Broker, error) { return nil, errUnfinished }

// Endpoints returns where clients and workers are to connect, with wildcard ports
// resolved, in the order of the configuration.
func (b *Broker) Endpoints() []string { return nil }

// Run serves until ctx ends. Then it takes no more requests, waits StopWait for
// those at work, fails the others, disconnects the workers, and returns nil. It may
// be called once.
func (b *Broker) Run(ctx context.Context) error { return errUnfinished }

// Close closes the socket, never while Run runs. It may be called more than once.
func (b *Broker) Close() error { return nil }

// Counters returns what was counted so far. Any goroutine may call it.
func (b *Broker) Counters() BrokerCounters { return BrokerCounters{} }

// State returns what the broker holds now. Any goroutine may call it.
func (b *Broker) State() BrokerState { return BrokerState{} }
