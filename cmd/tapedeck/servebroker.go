package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/metrics"
)

// inprocBus is the broker's endpoint for workers of its own process.
const inprocBus = "inproc://tapedeck-bus"

// busEndpoints are those of the control bus: of a pair of brokers both, the own one
// first.
func (c *serveConfig) busEndpoints() []string {
	list := strings.Split(c.bus, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

func (s *station) startBroker(context.Context) error {
	b := &s.cfg.broker
	var err error
	if s.inproc, err = zsock.NewContext(zsock.NoCPU); err != nil {
		return err
	}
	s.hold("inproc", s.inproc.Close)
	lives := map[string]time.Duration{}
	for _, service := range []string{control.ServiceJobImport, control.ServiceJobExport, control.ServiceJobRecord} {
		lives[service] = jobLife
	}
	at := s.cfg.busEndpoints()
	cfg := majordomo.BrokerConfig{
		Endpoints: []string{at[0], inprocBus}, Context: s.inproc,
		Heartbeat: b.heartbeat, Liveness: b.liveness, Life: b.life, Lives: lives,
		Services: b.services, Requests: b.requests, ServiceRequests: b.requests, ClientRequests: b.clientRequests, Bytes: int(b.bytes), ClientBytes: int(b.clientBytes), RequestBytes: int(b.requestBytes),
		WorkersMax: b.workers,
	}
	if l := locks.Load(); l != nil && l.door != nil {
		cfg.May = l.may
	}
	if b.pair != "" {
		s.pair = &brokerPair{said: s.said, remarks: s.out, lines: make(chan func(), pairLines)}
		cfg.Accept = s.pair.accept
	}
	if s.broker, err = majordomo.NewBroker(cfg); err != nil {
		return withHint(err, "is another serve running? --bus chooses another endpoint")
	}
	own := s.broker.Endpoints()[0]
	s.bus, s.join = strings.Join(append([]string{own}, at[1:]...), ","), append([]string{inprocBus}, at[1:]...)
	if s.pair == nil {
		s.start(partBroker, s.broker.Run, s.broker.Close)
	} else if err := s.startPair(own); err != nil {
		return err
	}
	s.show(partBroker, func(sc *metrics.Scope) {
		sc.Broker(s.broker)
		if s.pair != nil {
			sc.Pair(partBroker, s.pair)
		}
	})
	return nil
}

// startPair makes the broker one of a pair.
func (s *station) startPair(own string) error {
	f := s.cfg.brokerPairFlags()
	// What is in work may be shared with the other one; this is not.
	f.dir = filepath.Join(s.cfg.workDir(s.tapes.root), "broker-"+f.role)
	cfg := f.config(s.out)
	p := s.pair
	p.broker = s.broker
	cfg.OnActive, cfg.OnPassive = p.onActive, p.onPassive
	var err error
	if p.pairLink, err = f.open(partBroker, cfg); err != nil {
		return withHint(err, "broker.pair_bind, broker.pair_peer and broker.pair_bus say where the two of a pair talk, and are asked")
	}
	f.warnOfOnePath(s.out, []string{own})
	if len(s.join) == 1 && slices.ContainsFunc(s.cfg.parts, func(part string) bool { return part != partBroker && part != partMetrics && part != partState }) {
		s.out.remark("warning: bus has no endpoint of the other broker: the services of this process are known here alone")
	}
	s.start("broker's pair", p.Run, p.Close)
	s.start(partBroker, s.broker.Run, s.broker.Close)
	s.start("broker's pair told", func(ctx context.Context) error { return p.tell(ctx, s.begun) }, nil)
	return nil
}

// brokerPairFlags are the settings of a pair in the words of the flags.
func (c *serveConfig) brokerPairFlags() *pairFlags {
	b := &c.broker
	return &pairFlags{role: b.pair, bind: b.pairBind, peer: b.pairPeer, heartbeat: b.pairHeartbeat, failback: b.pairFailback, bus: b.pairBus}
}

// checkPair refuses what makes no pair of brokers.
func (c *serveConfig) checkPair() error {
	b := &c.broker
	switch {
	case b.pair == "" && (b.pairBind != "" || b.pairPeer != "" || b.pairBus != "" || b.pairFailback != 0):
		return usagef("broker.pair says which of a pair this broker is: primary or backup")
	case b.pair == "":
		return nil
	case b.pair != binarystar.Primary.String() && b.pair != binarystar.Backup.String():
		return usagef("broker.pair %q: want primary or backup", b.pair)
	case b.pairBind == "" || b.pairPeer == "":
		return usagef("broker.pair needs broker.pair_bind and broker.pair_peer")
	case !c.has(partBroker):
		return usagef("broker.pair: there is no broker among the parts: %s", strings.Join(c.parts, ", "))
	}
	return nil
}

// brokerPair is a broker's half of a pair.
type brokerPair struct {
	*pairLink
	broker  *majordomo.Broker
	said    *output // for messages
	remarks *output
	lines   chan func() // what is to be said, in order
}

// pairLines is how many lines may wait to be said.
const pairLines = 64

// accept asks whether a client's request may be taken in, and takes it for the client's
// vote, where it is one.
func (p *brokerPair) accept(vote bool) bool {
	if !vote {
		state, _ := p.State()
		return state == binarystar.Active
	}
	return p.Accept(context.Background()) == "" // Run is at work for longer than the broker
}

func (p *brokerPair) onActive(epoch uint64, reason string) {
	p.say("broker.active", pairTurn{epoch, reason})
	p.remarks.remark("the broker is active in epoch %d: %s", epoch, reason)
}

func (p *brokerPair) onPassive(epoch uint64, reason string) {
	p.broker.Resign()
	p.say("broker.passive", pairTurn{epoch, reason})
	p.remarks.remark("the broker is passive: %s; the epoch is %d", reason, epoch)
}

// pairTurn is what an operator is told when a server of a pair becomes active or passive.
type pairTurn struct {
	Epoch  uint64 `json:"pair_epoch"`
	Reason string `json:"reason"`
}

// say has a message written; where nobody takes them some are left out.
func (p *brokerPair) say(messageType string, v any) {
	select {
	case p.lines <- func() { _ = p.said.message(messageType, v, "") }:
	default:
	}
}

// brokerPairStatus is how a pair of brokers fares.
type brokerPairStatus struct {
	binarystar.Status
	Workers int `json:"workers"` // that this broker knows
	Open    int `json:"open"`    // requests that it has
}

// tell writes what there is to say, from when the process has said what it serves, and
// every second how the pair fares.
func (p *brokerPair) tell(ctx context.Context, begun <-chan struct{}) error {
	select {
	case <-begun:
	case <-ctx.Done():
		return ctx.Err()
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case line := <-p.lines:
			line()
		case <-tick.C:
			st := p.broker.State()
			_ = p.said.message("broker.pair", brokerPairStatus{p.Status(), st.Workers, st.Open}, "")
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
