package keys

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// DoorConfig is what a Door is made from.
type DoorConfig struct {
	// File is the list of those who are allowed.
	File string
	// Say is told what an operator should know, a line at a time, by any goroutine:
	// who was refused, each at most once a minute for the same reason, and what became
	// of the file. It never gets a secret. Default: nobody is told.
	Say func(line string)
	// Changed is called by Watch when others are allowed than before, because the file
	// has changed or a key has expired.
	Changed func()
	// Now is the time. Default: the system's.
	Now func() time.Time
}

// Door decides who comes in, by a list that may change, and keeps count of who did
// not. Any goroutine may use it.
type Door struct {
	cfg  DoorConfig
	list atomic.Pointer[List]

	mu      sync.Mutex
	counts  map[refusedAt]uint64
	told    map[refused]time.Time // when it was said last
	untold  uint64                // refusals that nobody was told of, for there are too many
	seen    stamp
	judged  time.Time // when Watch looked at expiries last
	reloads uint64
	bad     uint64 // changes of the file that were not taken in
}

type refusedAt struct {
	reason  Refusal
	channel Channel
}

// refused is a refusal as it is said.
type refused struct {
	refusedAt
	key  Key
	from netip.Addr
}

// stamp tells a file from what it was before.
type stamp struct {
	modified time.Time
	size     int64
	file     os.FileInfo
}

const (
	toldEvery = time.Minute
	// toldMax bounds what is remembered of who was refused: whoever makes up keys, or
	// comes from many addresses, does not fill the memory, nor the log.
	toldMax = 1000
)

// OpenDoor reads the list.
func OpenDoor(cfg DoorConfig) (*Door, error) {
	if cfg.Say == nil {
		cfg.Say = func(string) {}
	}
	if cfg.Changed == nil {
		cfg.Changed = func() {}
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	d := &Door{cfg: cfg, counts: map[refusedAt]uint64{}, told: map[refused]time.Time{}, judged: cfg.Now()}
	d.seen, _ = stampOf(cfg.File) // before it is read: what changes meanwhile is read again
	l, err := ReadList(cfg.File)
	if err != nil {
		return nil, err
	}
	d.list.Store(l)
	return d, nil
}

// List returns the list as it is.
func (d *Door) List() *List { return d.list.Load() }

// Admit returns who it is that has shown a key, where he may use a channel. Otherwise
// it counts that and says so.
func (d *Door) Admit(c Channel, k Key, from netip.Addr) (*Peer, Refusal) {
	p, why := d.judge(c, k, from)
	if why != "" {
		d.Refused(c, why, k, from)
	}
	return p, why
}

// Still reports whether somebody who was admitted still would be.
func (d *Door) Still(c Channel, k Key, from netip.Addr) bool {
	_, why := d.judge(c, k, from)
	return why == ""
}

func (d *Door) judge(c Channel, k Key, from netip.Addr) (*Peer, Refusal) {
	p, why := d.List().Check(k, from, d.cfg.Now())
	if why == "" {
		why = p.MayUse(c)
	}
	return p, why
}

// Refused counts and says a refusal that somebody else has decided.
func (d *Door) Refused(c Channel, why Refusal, k Key, from netip.Addr) {
	line := ""
	d.mu.Lock()
	at := refusedAt{why, c}
	d.counts[at]++
	if d.mayTell(refused{at, k, from.Unmap()}) {
		line = d.describe(c, why, k, from)
	}
	d.mu.Unlock()
	if line != "" {
		d.cfg.Say(line)
	}
}

// mayTell reports whether a refusal is to be said, and remembers it.
func (d *Door) mayTell(r refused) bool {
	now := d.cfg.Now()
	if at, ok := d.told[r]; ok && now.Sub(at) < toldEvery {
		return false
	}
	if len(d.told) >= toldMax {
		for r, at := range d.told {
			if now.Sub(at) >= toldEvery {
				delete(d.told, r)
			}
		}
	}
	if len(d.told) >= toldMax {
		d.untold++
		return false
	}
	d.told[r] = now
	return true
}

func (d *Door) describe(c Channel, why Refusal, k Key, from netip.Addr) string {
	s := "refused " + d.name(k)
	if from.IsValid() {
		s += " from " + from.Unmap().String()
	}
	s += " on " + string(c) + ": " + string(why)
	if explained := explain[why]; explained != "" {
		s += " (" + explained + ")"
	}
	if d.untold > 0 {
		s += fmt.Sprintf("; %d refusals before it were not said, there were too many", d.untold)
		d.untold = 0
	}
	return s
}

// name is whose key it is, as far as that is known.
func (d *Door) name(k Key) string {
	if k == (Key{}) {
		return "somebody"
	}
	l := d.List()
	if p := l.peers[k]; p != nil {
		return fmt.Sprintf("%s (key %s…)", p.Name, k.Short())
	}
	if r, ok := l.revoked[k]; ok && r.Name != "" {
		return fmt.Sprintf("%s (key %s…)", r.Name, k.Short())
	}
	return "the key " + k.String()
}

// explain says more of a refusal.
var explain = map[Refusal]string{
	RefusedUnknown:  "tapedeck keys allow adds one",
	RefusedTopics:   "this channel carries every topic: read a plain stream, which looks at each subscription, or take the topics out of the list",
	RefusedServer:   "what it says was made for another key than this process has: its --server-key is wrong",
	RefusedGreeting: "it has no keys, or speaks something else",
}

// Refusals are how often somebody was refused.
type Refusals struct {
	Reason  Refusal `json:"reason"`
	Channel Channel `json:"channel"`
	Count   uint64  `json:"count"`
}

// DoorStats are what a Door has counted.
type DoorStats struct {
	Refused []Refusals `json:"refused"`       // by reason and channel, those that there were
	Allowed int        `json:"allowed"`       // keys that the list allows
	Revoked int        `json:"revoked"`       // keys that it names as allowed no longer
	Reloads uint64     `json:"reloads"`       // times that a changed list was taken in
	Bad     uint64     `json:"bad_reloads"`   // changed lists that could not be read
	Listed  time.Time  `json:"list_modified"` // when the file was changed that is in use
}

// Stats returns what was counted so far.
func (d *Door) Stats() DoorStats {
	l := d.List()
	s := DoorStats{Allowed: len(l.Peers()), Revoked: len(l.revoked)}
	d.mu.Lock()
	defer d.mu.Unlock()
	s.Reloads, s.Bad, s.Listed = d.reloads, d.bad, d.seen.modified
	for at, n := range d.counts {
		s.Refused = append(s.Refused, Refusals{at.reason, at.channel, n})
	}
	slices.SortFunc(s.Refused, func(a, b Refusals) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Reason, b.Reason))
	})
	return s
}

// watchEvery is how often Watch looks at the file.
const watchEvery = time.Second

// Watch reads the list again when its file changes, and when something comes over
// reload, until ctx ends. A file that cannot be read changes nothing: who was allowed
// still is, and Say is told.
func (d *Door) Watch(ctx context.Context, reload <-chan os.Signal) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-reload:
			d.reload()
		case <-tick.C:
			d.look()
		}
	}
}

// look reads the list again where its file has changed, and notices keys that have
// expired.
func (d *Door) look() {
	now, err := stampOf(d.cfg.File)
	d.mu.Lock()
	changed := err == nil && !d.seen.same(now) || err != nil && d.seen.file != nil // that it is gone is said once
	d.mu.Unlock()
	if changed {
		d.reload()
		return
	}
	if d.expired() {
		d.cfg.Changed()
	}
}

// expired reports whether a key has expired since it was asked last.
func (d *Door) expired() bool {
	now := d.cfg.Now()
	d.mu.Lock()
	before := d.judged
	d.judged = now
	d.mu.Unlock()
	for _, p := range d.List().peers {
		if p.Expires.After(before) && !p.Expires.After(now) {
			return true
		}
	}
	return false
}

// reload reads the list again.
func (d *Door) reload() {
	at, _ := stampOf(d.cfg.File)
	l, err := ReadList(d.cfg.File)
	d.mu.Lock()
	d.seen = at
	if err != nil {
		d.bad++
	} else {
		d.reloads++
	}
	d.mu.Unlock()
	if err != nil {
		d.cfg.Say(fmt.Sprintf("%v; the list that was read before goes on", err))
		return
	}
	d.list.Store(l)
	d.cfg.Say(fmt.Sprintf("%s was read again: %d allowed, %d revoked", d.cfg.File, len(l.Peers()), len(l.revoked)))
	d.cfg.Changed()
}

func stampOf(name string) (stamp, error) {
	st, err := os.Stat(name)
	if err != nil {
		return stamp{}, err
	}
	return stamp{st.ModTime(), st.Size(), st}, nil
}

func (s stamp) same(t stamp) bool {
	return s.file != nil && os.SameFile(s.file, t.file) && s.modified.Equal(t.modified) && s.size == t.size
}
