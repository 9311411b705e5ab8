package binarystar

import "time"

// MachineConfig is what a Machine is made from.
type MachineConfig struct {
	Role Role
	// Expiry is how long the peer may be silent: two heartbeats.
	Expiry time.Duration
	// Failback is how long the peer, a primary, must have been passive and well
	// before an active backup gives the work back. 0: never.
	Failback time.Duration
	// Epoch is the greatest epoch known from runs before this one; 0 is none.
	Epoch uint64
}

// Machine decides what one server of a pair is. It is pure: times are durations
// since some start, which must not go back. It belongs to one goroutine.
type Machine struct {
	cfg   MachineConfig
	state State
	epoch uint64 // the greatest known: its own while it is active

	expires   time.Duration // when the peer's silence begins to count
	peer      State         // that it announced last; 0 before it did
	wellSince time.Duration // since when an active backup hears a passive primary
	well      bool

	counters Counters
}

// Counters are what a Machine has counted.
type Counters struct {
	Heard      uint64 // announcements of the peer that counted
	Fenced     uint64 // those of an earlier epoch's active server, which did not
	Promotions uint64 // times it became active
	Yields     uint64 // times it became passive because the peer was active in a later epoch
	Failbacks  uint64 // times it gave the work back
	Accepted   uint64 // requests
	Refused    uint64
	Votes      uint64 // of its own voter
	SameRole   uint64 // announcements of a peer that waits in the same role: a wrong configuration
}

// Outcome is what an event has changed.
type Outcome struct {
	// Became is the state that the server has gone to, 0 where it has not; Active
	// also where it was active and has a new epoch.
	Became State
	Epoch  uint64 // of Became
	// Announce asks for an announcement now, without waiting for the heartbeat.
	Announce bool
	Reason   string // for people, of Became
}

// NewMachine returns the machine of a server that starts at now.
func NewMachine(cfg MachineConfig, now time.Duration) *Machine {
	m := &Machine{cfg: cfg, state: WaitingPrimary, epoch: cfg.Epoch, expires: now + cfg.Expiry}
	if cfg.Role == Backup {
		m.state = WaitingBackup
	}
	return m
}

// State returns the state, and the greatest epoch that is known: the server's own
// while it is active.
func (m *Machine) State() (State, uint64) { return m.state, m.epoch }

// PeerState returns what the peer announced last, 0 before it did, and until when
// that counts.
func (m *Machine) PeerState() (State, time.Duration) { return m.peer, m.expires }

// Counters returns what was counted so far.
func (m *Machine) Counters() Counters { return m.counters }

// Peer takes an announcement of the peer. Its epoch is the greatest that it knows;
// 0 where it does not say, as servers of others do not.
func (m *Machine) Peer(now time.Duration, s State, epoch uint64) Outcome {
	if !s.valid() {
		return Outcome{}
	}
	if m.fences(s, epoch) {
		m.counters.Fenced++
		return Outcome{Announce: true} // it is to hear that its time is over
	}
	m.counters.Heard++
	m.peer, m.expires = s, now+m.cfg.Expiry
	later := epoch > m.epoch
	m.epoch = max(m.epoch, epoch)
	switch m.state {
	case Active:
		return m.peerOfActive(now, s, epoch, later)
	case Passive:
		return m.peerOfPassive(s)
	}
	return m.peerOfWaiting(s)
}

// Left says that the peer, which has just been heard, goes: it counts as silent from now on,
// until it is heard again.
func (m *Machine) Left(now time.Duration) { m.expires, m.well = min(m.expires, now), false }

// fences reports whether an announcement is that of an active server whose epoch is
// over.
func (m *Machine) fences(s State, epoch uint64) bool {
	return s == Active && epoch != 0 && epoch < m.epoch
}

func (m *Machine) peerOfWaiting(s State) Outcome {
	switch {
	case s == Active:
		return m.follow("the other one is active")
	case s == m.state:
		m.counters.SameRole++
	case s == WaitingBackup:
		return m.lead("the backup is there, too")
	}
	return Outcome{} // a passive backup goes first, having heard this primary
}

func (m *Machine) peerOfActive(now time.Duration, s State, epoch uint64, later bool) Outcome {
	switch {
	case s == Active && (later || epoch == 0 && m.cfg.Role == Backup):
		m.counters.Yields++
		return m.follow("the other one is active in a later epoch")
	case s == Active:
		return Outcome{Announce: true}
	case later: // its word would be fenced by a peer that knows of a later epoch
		return m.lead("the other one knew of a later epoch")
	}
	return m.failback(now, s)
}

// failback gives the work back to a primary that is well.
func (m *Machine) failback(now time.Duration, s State) Outcome {
	if m.cfg.Role != Backup || m.cfg.Failback == 0 || s != Passive {
		m.well = false
		return Outcome{}
	}
	if !m.well {
		m.well, m.wellSince = true, now
	}
	if now-m.wellSince < m.cfg.Failback {
		return Outcome{}
	}
	m.counters.Failbacks++
	return m.follow("the primary has been well for a while")
}

func (m *Machine) peerOfPassive(s State) Outcome {
	switch {
	case s == WaitingPrimary || s == WaitingBackup:
		return m.lead("the other one has started anew")
	case s == Passive && m.cfg.Role == Primary:
		return m.lead("neither was active")
	}
	return Outcome{}
}

// Request asks whether a client's request may be served, and takes it for the vote
// that it is.
func (m *Machine) Request(now time.Duration) (Refusal, Outcome) {
	refused, out := m.vote(now)
	if refused == "" {
		m.counters.Accepted++
	} else {
		m.counters.Refused++
	}
	return refused, out
}

// Vote is a request that the server's own voter made, over the way that clients
// take: for servers whose clients ask nothing.
func (m *Machine) Vote(now time.Duration) Outcome {
	m.counters.Votes++
	_, out := m.vote(now)
	return out
}

func (m *Machine) vote(now time.Duration) (Refusal, Outcome) {
	silent := now >= m.expires
	switch {
	case m.state == Active:
		return "", Outcome{}
	case m.state == WaitingBackup:
		return RefusedBackup, Outcome{}
	case m.state == WaitingPrimary && !silent:
		return RefusedWaiting, Outcome{}
	case m.state == WaitingPrimary:
		return "", m.lead("no backup was heard, and a client asks")
	case !silent:
		return RefusedPassive, Outcome{}
	}
	return "", m.lead("the active one is silent, and a client asks")
}

// Promote makes the server active because an operator says so. It refuses, with
// false, while the peer is active and heard, unless force is set: then the peer
// yields.
func (m *Machine) Promote(now time.Duration, force bool) (Outcome, bool) {
	if m.state == Active {
		return Outcome{}, true
	}
	if m.peer == Active && now < m.expires && !force {
		return Outcome{}, false
	}
	return m.lead("an operator has promoted it"), true
}

// lead makes the server active in an epoch of its own.
func (m *Machine) lead(why string) Outcome {
	m.state, m.well = Active, false
	m.epoch = nextEpoch(m.epoch, m.cfg.Role)
	m.counters.Promotions++
	return Outcome{Became: Active, Epoch: m.epoch, Announce: true, Reason: why}
}

// follow makes the server passive.
func (m *Machine) follow(why string) Outcome {
	m.state, m.well = Passive, false
	return Outcome{Became: Passive, Epoch: m.epoch, Announce: true, Reason: why}
}

// nextEpoch is the least epoch of a role that is greater than e.
func nextEpoch(e uint64, r Role) uint64 {
	e++
	if e%2 != uint64(r) {
		e++
	}
	return e
}
