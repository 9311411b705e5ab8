package control

// PairState is how one of a pair of servers stands: what state and promote answer.
type PairState struct {
	Part string `json:"part"` // what the pair serves: lvc, deck or broker
	PID  int    `json:"pid"`
	PairLink
}

// PairLink is the pair as this one of the two sees it. It has the fields of
// binarystar.Status, one for one.
type PairLink struct {
	Role   string `json:"role"`  // primary or backup
	State  string `json:"state"` // waiting, active or passive
	Epoch  uint64 `json:"epoch"` // the greatest known
	Reason string `json:"reason,omitempty"`
	Since  int64  `json:"since_ns"` // how long it has been in this state, ns
	Peer   string `json:"peer"`     // what the other one announced last
	Silent bool   `json:"peer_silent"`

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

// PairPromote makes a server active because an operator says so.
type PairPromote struct {
	// Force promotes it although the other one is active and heard, which then yields.
	Force bool `json:"force,omitempty"`
}
