package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/keys"
	"github.com/tapedeck/tapedeck/lvc"
)

// check is who may connect to a socket of libzmq's. The name that it gives a peer is
// its public key.
func (l *processLock) check(q zsock.ZAPRequest) zsock.ZAPReply {
	var k keys.Key
	copy(k[:], q.Key)
	p, why := l.door.Admit(keys.Channel(q.Channel), k, address(q.Address))
	if why != "" {
		return zsock.ZAPReply{Reason: string(why)}
	}
	return zsock.ZAPReply{Allow: true, User: p.Key.String()}
}

// address reads an IP address; a text that is none is of this machine.
func address(s string) netip.Addr {
	a, _ := netip.ParseAddr(s)
	return a.WithZone("")
}

func addressOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		return t.AddrPort().Addr().WithZone("")
	}
	return netip.Addr{}
}

// still is whether a peer that was let in still would be.
func (l *processLock) still(channel string, p zsock.Peer) bool {
	k, err := keys.ParseKey(p.User)
	return err == nil && l.door.Still(keys.Channel(channel), k, address(p.Address))
}

// changed has everybody looked at anew, because others are allowed than before.
func (l *processLock) changed() {
	ended := l.zmq.Expel(l.still)
	l.mu.Lock()
	var doors []func() int
	for recheck := range l.recheck {
		doors = append(doors, *recheck)
	}
	l.mu.Unlock()
	for _, recheck := range doors {
		ended += recheck()
	}
	if ended > 0 {
		l.out.remark("keys: ended %s of those who may be here no longer", count(uint64(ended), "connection"))
	}
}

// onChange has a function called when others are allowed than before, until what it
// returns is called. It says how many connections it has ended.
func (l *processLock) onChange(recheck func() int) (stop func()) {
	if l == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recheck[&recheck] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.recheck, &recheck)
	}
}

// failed takes note of a connection that came to nothing before anybody was asked.
func (l *processLock) failed(f zsock.Failure) {
	if f.Bound {
		l.turnedAway(keys.Channel(f.Channel), failedWhy[f.Why], netip.Addr{})
		return
	}
	switch f.Why {
	case zsock.FailedRefused:
		l.said.say(f.Endpoint+" refuses this key", "%s refuses the key %s (%s): it is not on its list, or not for this; its operator sees why", f.Endpoint, l.pair.Name, l.pair.Public)
	case zsock.FailedMechanism:
		l.said.say(f.Endpoint+" has no keys", "%s has no keys, so nothing is said to it; without --key it can be connected to", f.Endpoint)
	case zsock.FailedKeys, zsock.FailedClosed:
		l.said.say(f.Endpoint+" has another key", "%s ends connections while greeting: it has another key than --server-key says, or none", f.Endpoint)
	default:
		l.said.say(f.Endpoint+" speaks otherwise", "%s does not speak as ZeroMQ does", f.Endpoint)
	}
}

var failedWhy = map[zsock.FailureReason]keys.Refusal{
	zsock.FailedMechanism: keys.RefusedNoKey, zsock.FailedKeys: keys.RefusedServer,
	zsock.FailedClosed: keys.RefusedGreeting, zsock.FailedProtocol: keys.RefusedGreeting,
}

// turnedAway counts somebody who has not shown a key.
func (l *processLock) turnedAway(c keys.Channel, why keys.Refusal, from netip.Addr) {
	if l.door != nil {
		l.door.Refused(c, why, keys.Key{}, from)
		return
	}
	l.said.say(string(c)+string(why), "keys: refused somebody on %s: %s", c, why)
}

// may is whether somebody of another process may do something on the bus. Commands
// that change nothing are for everybody who may be there, those that give out records
// for whoever may read every topic, others for the role control; workers need record.
func (l *processLock) may(user string, worker bool, service []byte, body [][]byte) bool {
	k, err := keys.ParseKey(user)
	if err != nil {
		return false
	}
	p, why := l.door.List().Check(k, netip.Addr{}, time.Now())
	if p == nil && why == keys.RefusedFrom { // whence was looked at when it came
		p, why = l.door.List().Peer(k), ""
	}
	switch need := busNeed(service, body); {
	case why != "":
	case worker && !p.May(keys.Record), !worker && need == control.NeedChange && !p.May(keys.Control):
		why = keys.RefusedRole
	case !worker && need == control.NeedRead && !p.MayReadAll():
		why = keys.RefusedTopics
	}
	if why != "" {
		l.door.Refused(keys.Command, why, k, netip.Addr{})
	}
	return why == ""
}

// busNeed is what a request takes, whose body begins with its number.
func busNeed(service []byte, body [][]byte) control.Need {
	switch name := string(service); {
	case majordomo.Own(service):
		return control.NeedLook
	case len(body) < 2:
		return control.NeedChange
	default:
		return control.NeedOfRequest(name, body[1:])
	}
}

// plain is the lock of a proxy's plain stream and tap; nil without keys.
func (l *processLock) plain() *lvc.Lock {
	if l == nil {
		return nil
	}
	on := func(c keys.Channel) func([32]byte, net.Addr) (lvc.Rights, error) {
		return func(key [32]byte, from net.Addr) (lvc.Rights, error) { return l.rights(c, key, addressOf(from)) }
	}
	return &lvc.Lock{Secret: l.pair.Secret, Check: on(keys.Plain), CheckTap: on(keys.Tap), Failed: func(tap bool, err error, from net.Addr) {
		c, why := keys.Plain, keys.RefusedGreeting
		if tap {
			c = keys.Tap
		}
		switch {
		case errors.Is(err, zmtp.ErrCurve):
			why = keys.RefusedServer
		case errors.Is(err, zmtp.ErrMechanism):
			why = keys.RefusedNoKey
		case errors.Is(err, io.EOF):
			return // somebody who looked whether anybody is here
		}
		l.turnedAway(c, why, addressOf(from))
	}}
}

// rights are what a reader of a plain stream may read.
func (l *processLock) rights(c keys.Channel, k keys.Key, from netip.Addr) (lvc.Rights, error) {
	if l.door == nil {
		return lvc.Rights{Name: k.Short()}, nil
	}
	p, why := l.door.Admit(c, k, from)
	if why != "" {
		return lvc.Rights{}, errors.New(string(why))
	}
	return lvc.Rights{Name: p.Name, MayRead: func(prefix []byte) bool {
		ok := p.MayRead(prefix)
		if !ok {
			l.door.Refused(c, keys.RefusedTopic, k, from)
		}
		return ok
	}}, nil
}

// sayer says each thing once a minute.
type sayer struct {
	out  *output
	mu   sync.Mutex
	last map[string]time.Time
}

const sayEvery = time.Minute

func (s *sayer) say(what, format string, args ...any) {
	s.mu.Lock()
	now := time.Now()
	again := now.Sub(s.last[what]) < sayEvery
	if !again {
		if s.last == nil {
			s.last = map[string]time.Time{}
		}
		s.last[what] = now // of endpoints that the operator has named
	}
	s.mu.Unlock()
	if !again {
		s.out.remark(format, args...)
	}
}

// openWarning is said once.
var openWarning sync.Once

// warnOpen warns of endpoints that other machines can reach, where nobody has to say
// who he is.
func warnOpen(out *output, endpoints ...string) {
	if locks.Load() != nil {
		return
	}
	for _, e := range endpoints {
		if (&serveConfig{}).reachesOut(e) != nil {
			openWarning.Do(func() {
				out.remark("warning: other machines can reach %s, and nobody has to say who he is: --key and --authorized change that (docs/OPERATIONS.md)", e)
			})
			return
		}
	}
}
