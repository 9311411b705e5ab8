package binarystar

// Status is how a pair fares, as one of the two sees it.
type Status struct {
	Role   string `json:"role"`
	State  string `json:"state"`
	Epoch  uint64 `json:"epoch"`            // the greatest known; this server's own while it is active
	Reason string `json:"reason,omitempty"` // of the state
	Since  int64  `json:"since_ns"`         // how long it has been in this state, ns
	Peer   string `json:"peer"`             // what it announced last: waiting, active, passive, or "never heard"
	Silent bool   `json:"peer_silent"`      // for longer than it may

	Heard      uint64 `json:"heard"`
	Fenced     uint64 `json:"fenced"`
	Promotions uint64 `json:"promotions"`
	Yields     uint64 `json:"yields"`
	Failbacks  uint64 `json:"failbacks"`
	Accepted   uint64 `json:"accepted"`
	Refused    uint64 `json:"refused"`
	Votes      uint64 `json:"votes"`
	SameRole   uint64 `json:"same_role"`
	Malformed  uint64 `json:"malformed"`
	Missed     uint64 `json:"missed"`
}

// Status returns how the pair fares now.
func (p *Pair) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s, epoch := p.machine.State()
	peer, until := p.machine.PeerState()
	c := p.machine.Counters()
	st := Status{
		Role: p.cfg.Role.String(), State: s.String(), Epoch: epoch, Reason: p.reason, Since: int64(p.now() - p.since),
		Peer: "never heard", Silent: p.now() >= until,
		Heard: c.Heard, Fenced: c.Fenced, Promotions: c.Promotions, Yields: c.Yields, Failbacks: c.Failbacks,
		Accepted: c.Accepted + p.accepted.Load(), Refused: c.Refused, Votes: c.Votes, SameRole: c.SameRole,
		Malformed: p.bad, Missed: p.missed,
	}
	if peer != 0 {
		st.Peer = peer.String()
	}
	return st
}

// State returns what the server is, and the greatest epoch that is known.
func (p *Pair) State() (State, uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.machine.State()
}
