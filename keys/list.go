package keys

import (
	"bytes"
	"net/netip"
	"slices"
	"time"
)

// Role is what somebody may do.
type Role string

// The roles.
const (
	Read    Role = "read"    // records, last values, refills, state
	Record  Role = "record"  // what recorders and workers do: read everything, and offer services
	Control Role = "control" // commands to decks, recorders and jobs
	Admin   Role = "admin"   // everything, pairs' links and metrics included
)

// Roles lists all roles.
func Roles() []Role { return []Role{Read, Record, Control, Admin} }

// Refusal is why somebody is refused: one of a few texts, so that it can be counted.
type Refusal string

// The refusals; "" is none.
const (
	RefusedNoKey   Refusal = "no key"
	RefusedUnknown Refusal = "unknown key"
	RefusedRevoked Refusal = "revoked key"
	RefusedExpired Refusal = "expired key"
	RefusedAddress Refusal = "denied address"
	RefusedFrom    Refusal = "not from this address"
	RefusedRole    Refusal = "no such right"
	RefusedTopic   Refusal = "no right to this topic"
	RefusedTopics  Refusal = "no right to every topic"
	// Of those who did not get as far as showing a key.
	RefusedServer   Refusal = "wrong server key"
	RefusedGreeting Refusal = "no greeting"
)

// AllRefusals lists all refusals.
func AllRefusals() []Refusal {
	return []Refusal{
		RefusedNoKey, RefusedUnknown, RefusedRevoked, RefusedExpired, RefusedAddress, RefusedFrom, RefusedRole, RefusedTopic,
		RefusedTopics, RefusedServer, RefusedGreeting,
	}
}

// Peer is somebody who is allowed.
type Peer struct {
	Name   string
	Key    Key
	Roles  []Role
	Topics [][]byte       // prefixes of topics that may be read; none: all
	From   []netip.Prefix // addresses to come from; none: all
	// Expires is when the key is no longer allowed; zero: never.
	Expires time.Time
}

// Revoked is a key that is allowed no longer, whatever else is said of it.
type Revoked struct {
	Name string
	Key  Key
	Time time.Time
	Why  string
}

// List says who is allowed. It never changes once it is made: another one takes its
// place.
type List struct {
	peers   map[Key]*Peer
	revoked map[Key]Revoked
	denied  []netip.Prefix
	names   []string // of peers, as the file has them
}

// Check returns who has a key and comes from an address, or why he is refused. An
// address that is not valid, as of an ipc connection, is of this machine: only lists of
// addresses to come from refuse it.
func (l *List) Check(k Key, from netip.Addr, now time.Time) (*Peer, Refusal) {
	from = from.Unmap()
	if refused := l.CheckAddress(from); refused != "" {
		return nil, refused
	}
	if k == (Key{}) {
		return nil, RefusedNoKey
	}
	if _, ok := l.revoked[k]; ok {
		return nil, RefusedRevoked
	}
	p := l.peers[k]
	switch {
	case p == nil:
		return nil, RefusedUnknown
	case !p.Expires.IsZero() && !now.Before(p.Expires):
		return nil, RefusedExpired
	case len(p.From) > 0 && !slices.ContainsFunc(p.From, func(n netip.Prefix) bool { return n.Contains(from) }):
		return nil, RefusedFrom
	}
	return p, ""
}

// Peer returns who has a key, whether he is allowed or not; nil where nobody has.
func (l *List) Peer(k Key) *Peer { return l.peers[k] }

// CheckAddress refuses denied addresses, before anybody has shown a key.
func (l *List) CheckAddress(from netip.Addr) Refusal {
	from = from.Unmap()
	if slices.ContainsFunc(l.denied, func(n netip.Prefix) bool { return n.Contains(from) }) {
		return RefusedAddress
	}
	return ""
}

// May reports whether a peer has one of the roles. An admin has all.
func (p *Peer) May(roles ...Role) bool {
	return slices.ContainsFunc(p.Roles, func(r Role) bool { return r == Admin || slices.Contains(roles, r) })
}

// MayRead reports whether a peer may read everything that a subscription to prefix
// gives: it must lie within one of the peer's prefixes. Recorders and admins may read
// everything.
func (p *Peer) MayRead(prefix []byte) bool {
	if p.May(Record) {
		return true
	}
	if !p.May(Read, Control) {
		return false
	}
	return len(p.Topics) == 0 || slices.ContainsFunc(p.Topics, func(t []byte) bool { return bytes.HasPrefix(prefix, t) })
}

// MayReadAll reports whether a peer may read every topic.
func (p *Peer) MayReadAll() bool { return p.MayRead(nil) }

// Peers returns those who are allowed, in the order of the file, without those whose
// key is revoked. The slice is the caller's.
func (l *List) Peers() []Peer {
	byName := make([]Peer, 0, len(l.peers))
	for _, p := range l.peers {
		if _, gone := l.revoked[p.Key]; !gone {
			byName = append(byName, *p)
		}
	}
	slices.SortFunc(byName, func(a, b Peer) int { return slices.Index(l.names, a.Name) - slices.Index(l.names, b.Name) })
	return byName
}

// Revoked returns the keys that are allowed no longer, by name. The slice is the
// caller's.
func (l *List) Revoked() []Revoked {
	list := make([]Revoked, 0, len(l.revoked))
	for _, r := range l.revoked {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b Revoked) int { return a.Time.Compare(b.Time) })
	return list
}
