package metrics

import (
	"testing"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/control/titanic"
	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/keys"
	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/resync/chp"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
)

// numbers is what all parts of a process say, so that tests can set it.
type numbers struct {
	publisher    publisher.Stats
	readers      snail.Totals
	state        replay.State
	progress     replay.Progress
	subscriber   subscriber.Summary
	workers      subscriber.WorkersSummary
	policy       PolicyStats
	tape         tape.Stats
	lvc          lvc.Stats
	clone        chp.Stats
	healer       resync.HealerStats
	client       resync.ClientStats
	asked        resync.ServerStats
	refilled     uint64
	server       resync.ServerCounters
	serverHolds  resync.ServerState
	pool         pirate.QueueCounters
	poolHolds    pirate.QueueState
	tapeReader   pirate.WorkerCounters
	broker       majordomo.BrokerCounters
	brokerHolds  majordomo.BrokerState
	service      control.ServiceCounters
	busWorker    majordomo.WorkerCounters
	busClient    majordomo.ClientCounters
	jobs         titanic.Counters
	pair         binarystar.Status
	door         keys.DoorStats
	latency      latency.Histogram
	serviceNamed string
}

type fakePublisher struct{ *numbers }

func (f fakePublisher) Stats() publisher.Stats        { return f.publisher }
func (f fakePublisher) Totals() snail.Totals          { return f.readers }
func (f fakePublisher) JoinTimes() *latency.Histogram { return &f.latency }

type fakePlayer struct{ *numbers }

func (f fakePlayer) State() replay.State             { return f.state }
func (f fakePlayer) Progress() *replay.Progress      { return &f.progress }
func (f fakePlayer) PacingError() *latency.Histogram { return &f.latency }

type fakeWriter struct{ *numbers }

func (f fakeWriter) Stats() tape.Stats             { return f.tape }
func (f fakeWriter) SyncTimes() *latency.Histogram { return &f.latency }

type fakeProxy struct{ *numbers }

func (f fakeProxy) Stats() lvc.Stats                { return f.lvc }
func (f fakeProxy) Totals() snail.Totals            { return f.readers }
func (f fakeProxy) AnswerTimes() *latency.Histogram { return &f.latency }

type fakeHealer struct{ *numbers }

func (f fakeHealer) Stats() resync.HealerStats     { return f.healer }
func (f fakeHealer) HealTimes() *latency.Histogram { return &f.latency }

type fakeServer struct{ *numbers }

func (f fakeServer) Counters() resync.ServerCounters                 { return f.server }
func (f fakeServer) State() resync.ServerState                       { return f.serverHolds }
func (f fakeServer) RequestTimes(resync.Command) *latency.Histogram  { return &f.latency }
func (f fakeServer) Pool() (pirate.QueueCounters, pirate.QueueState) { return f.pool, f.poolHolds }

type fakeBroker struct{ *numbers }

func (f fakeBroker) Counters() majordomo.BrokerCounters { return f.broker }
func (f fakeBroker) State() majordomo.BrokerState       { return f.brokerHolds }

type fakePair struct{ *numbers }

func (f fakePair) Status() binarystar.Status { return f.pair }

type fakeService struct{ *numbers }

func (f fakeService) Name() string                      { return f.serviceNamed }
func (f fakeService) Counters() control.ServiceCounters { return f.service }
func (f fakeService) Worker() majordomo.WorkerCounters  { return f.busWorker }

// the parts are really what the rooms have.
var (
	_ Publisher    = (*publisher.Publisher)(nil)
	_ Player       = (*replay.Player)(nil)
	_ Writer       = (*tape.Writer)(nil)
	_ Proxy        = (*lvc.Proxy)(nil)
	_ Healer       = (*resync.Healer)(nil)
	_ ResyncServer = (*resync.Server)(nil)
	_ Broker       = (*majordomo.Broker)(nil)
	_ interface {
		Name() string
		Counters() control.ServiceCounters
	} = (*control.Service)(nil)
	_ Pair = (*binarystar.Pair)(nil)
)

// everything is a process that has all parts: a deck, a reader with workers and a
// policy, a recorder, a last-value proxy, servers, and the bus.
func everything(t testing.TB, n *numbers) *Set {
	t.Helper()
	s := New(Config{Version: "v1", Libzmq: "4.3.4"})
	n.serviceNamed = control.ServiceDeck
	if n.workers.Workers == nil {
		n.workers.Workers = make([]subscriber.WorkerSummary, 2)
	}
	deck := s.Scope("deck", "es")
	deck.Publisher(fakePublisher{n})
	deck.Player(fakePlayer{n})
	root := s.Root()
	root.Subscriber(func() subscriber.Summary { return n.subscriber })
	root.Lag(&n.latency)
	root.Workers(func() subscriber.WorkersSummary { return n.workers })
	root.Policy(func() PolicyStats { return n.policy })
	root.Recorder(fakeWriter{n})
	root.LVC(fakeProxy{n})
	root.Clones(func() chp.Stats { return n.clone })
	root.Healer(fakeHealer{n})
	root.ResyncClient(func() resync.ClientStats { return n.client })
	root.ResyncServers(func() []resync.ServerStats { return []resync.ServerStats{n.asked} }, func() []uint64 { return []uint64{n.refilled} })
	root.ResyncServer(fakeServer{n})
	root.TapeReaders(func() []pirate.WorkerCounters { return []pirate.WorkerCounters{n.tapeReader} })
	root.Broker(fakeBroker{n})
	root.Services(fakeService{n})
	root.BusClient("status", func() majordomo.ClientCounters { return n.busClient })
	root.Jobs(func() titanic.Counters { return n.jobs })
	root.Door(func() keys.DoorStats { return n.door })
	root.Pair("lvc", fakePair{n})
	root.Check("stream", func() error { return nil })
	return s
}

func serviceState(name string) majordomo.ServiceState {
	return majordomo.ServiceState{Service: name, Workers: 3, Busy: 2, Waiting: 1}
}
