package zsock

// Quota bounds what one connection of an XPUB socket may subscribe to: libzmq keeps
// subscriptions for as long as their peer stays, as many as that makes up. It belongs to
// the goroutine of the socket.
type Quota struct {
	bytes int
	lines map[int]*share // by descriptor
}

// share is what a connection has subscribed to.
type share struct {
	line *Connection
	used int
}

// subscriptionCost is what a subscription counts beside its topic, bytes.
const subscriptionCost = 32

// NewQuota returns a Quota of so many bytes of each connection: topics, and 32 bytes with
// each.
func NewQuota(bytes int) *Quota { return &Quota{bytes: bytes, lines: map[int]*share{}} }

// Take takes note of a frame that an XPUB socket has received, and of whom. It reports
// false where the connection has subscribed to more than it may: then it has been ended,
// and its frames are to be dropped. An end of a subscription makes room where libzmq tells
// of it, which it does when it was the last one to its topic. Peers without a connection,
// as those of inproc, are not bounded.
func (q *Quota) Take(frame []byte, from Peer) bool {
	if len(frame) == 0 || frame[0] > 1 || from.FD == NoFD {
		return true
	}
	s := q.lines[from.FD]
	cost := len(frame) - 1 + subscriptionCost
	if frame[0] == 0 {
		if s != nil {
			s.used = max(s.used-cost, 0)
		}
		return true
	}
	if s == nil {
		s = &share{}
		q.lines[from.FD] = s
	}
	if s.used += cost; s.used <= q.bytes && s.line != nil {
		return true
	}
	// The descriptor may be another connection's by now.
	if s.line == nil || !s.line.Stands() {
		line, err := OpenConnection(from)
		if err != nil {
			delete(q.lines, from.FD)
			return true // it has gone, and its subscriptions with it
		}
		s.line, s.used = line, cost
	}
	if s.used <= q.bytes {
		return true
	}
	_ = s.line.cut() // or it is gone already
	return false
}
