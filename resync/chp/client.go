package chp

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// At returns the endpoints of a server whose snapshots are at endpoint, such as
// tcp://deck:5556: updates and collector are at the next two ports.
func At(endpoint string) (Endpoints, error) {
	host, port, err := net.SplitHostPort(strings.TrimPrefix(endpoint, "tcp://"))
	if err != nil || !strings.HasPrefix(endpoint, "tcp://") {
		return Endpoints{}, fmt.Errorf("%w: endpoint %q is not tcp://host:port", ErrConfig, endpoint)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || n < 1 || n > 65533 {
		return Endpoints{}, fmt.Errorf("%w: endpoint %q has no port with two after it", ErrConfig, endpoint)
	}
	at := func(d uint64) string { return "tcp://" + net.JoinHostPort(host, strconv.FormatUint(n+d, 10)) }
	return Endpoints{Snapshot: at(0), Updates: at(1), Collector: at(2)}, nil
}

// ClientConfig says how a client works. The zero value of a field means its
// default.
type ClientConfig struct {
	Silence time.Duration // of a server, until it counts as dead; default: 5 s
	// Pause is how long a client waits before it asks the same server again, when
	// something was missing; it doubles up to Silence. Default: 20 ms.
	Pause  time.Duration
	Buffer int // updates that are kept while a snapshot comes, bytes; default: 256 MiB
}

// serversMax is how many servers a client has at most, as in CHP: one and a
// backup.
const serversMax = 2

// Client has a copy of a server's table, or of a subtree, and keeps it up to
// date. Run does the work; every other method may be called from any goroutine.
type Client struct {
	cfg     ClientConfig
	servers []Endpoints
	subtree []byte
	agent   agent
	net     clientSockets // the loop's
	now     func() time.Time

	mu       sync.Mutex
	started  bool
	ended    bool
	table    *table
	status   Status
	active   chan struct{} // closed while the client is Active
	waiter   *zsock.Waiter // of the loop; nil before and after it
	changes  []*change     // not confirmed yet, the oldest first
	watchers []*watcher
	fresh    []*watcher // those that have not got the table yet
}

// Status is how a client fares. Everything that it dropped is counted.
type Status struct {
	State    State     `json:"-"`
	Server   Endpoints `json:"-"`        // the one in use
	Epoch    string    `json:"epoch"`    // of the server's run; empty if it does not say
	Sequence uint64    `json:"sequence"` // of the last update in the table
	Entries  int       `json:"entries"`  // in the table

	Snapshots  uint64 `json:"snapshots"`  // received whole
	Updates    uint64 `json:"updates"`    // applied
	Old        uint64 `json:"old"`        // updates that the table had already
	Stray      uint64 `json:"stray"`      // messages that were not asked for, or of no subtree of ours
	Malformed  uint64 `json:"malformed"`  // messages that were none
	Gaps       uint64 `json:"gaps"`       // times that updates were missing
	Restarts   uint64 `json:"restarts"`   // times that the server was seen to have started again
	Incomplete uint64 `json:"incomplete"` // snapshots that were not whole
	Overflows  uint64 `json:"overflows"`  // times that too many updates came during a snapshot
	Unsure     uint64 `json:"unsure"`     // times that an update may have been missing, so it asked again
	Failovers  uint64 `json:"failovers"`  // times that a server was silent for too long
}

// Change is a change of the table.
type Change struct {
	Entry
	Deleted bool // the key is gone; Value is nil
}

type watcher struct {
	prefix []byte
	f      func(Change)
	gone   bool // under the client's lock
}

// change is a KVSET that waits to come back.
type change struct {
	message Message
	seen    bool             // its KVPUB will reach us: its key is in the subtree
	sent    [serversMax]bool // under the client's lock
	done    chan struct{}    // closed: it came back
	uuid    [16]byte
}

// NewClient returns a client without servers.
func NewClient(cfg ClientConfig) (*Client, error) {
	if cfg.Silence < 0 || cfg.Pause < 0 || cfg.Buffer < 0 {
		return nil, fmt.Errorf("%w: negative", ErrConfig)
	}
	if cfg.Silence == 0 {
		cfg.Silence = 5 * time.Second
	}
	if cfg.Pause == 0 {
		cfg.Pause = 20 * time.Millisecond
	}
	if cfg.Buffer == 0 {
		cfg.Buffer = 256 << 20
	}
	return &Client{cfg: cfg, now: time.Now, table: newTable(), active: make(chan struct{})}, nil
}

// Subtree restricts the client to the keys that begin with prefix. It must come
// before Run. CHP's subtrees begin and end with a slash.
func (c *Client) Subtree(prefix string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || len(prefix) > keyMax || strings.ContainsRune(prefix, 0) {
		return fmt.Errorf("%w: subtree %.40q, or too late", ErrConfig, prefix)
	}
	c.subtree = []byte(prefix)
	return nil
}

// Connect adds a server, at most two; the first is asked first. It must come
// before Run. Without Collector, nothing can be Set there.
func (c *Client) Connect(server Endpoints) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.started || len(c.servers) == serversMax || server.Snapshot == "" || server.Updates == "" {
		return fmt.Errorf("%w: server %q, or too many, or too late", ErrConfig, server.Snapshot)
	}
	c.servers = append(c.servers, server)
	return nil
}

// Get returns the entry of a key. Its bytes are not to be changed.
func (c *Client) Get(key string) (Entry, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slot, ok := c.table.index[key]
	if !ok {
		return Entry{}, false
	}
	return c.table.chunks[slot/chunkSize].items[slot%chunkSize].Entry, true
}

// Each gives the entries whose keys begin with prefix, as they are when it is
// called, in no order. Their bytes are not to be changed.
func (c *Client) Each(prefix string) iter.Seq[Entry] {
	c.mu.Lock()
	defer c.mu.Unlock()
	chunks := c.table.capture()
	return func(yield func(Entry) bool) {
		w := walk{chunks: chunks, prefix: []byte(prefix)}
		for e := w.next(); e != nil; e = w.next() {
			if !yield(*e) {
				return
			}
		}
	}
}

// Watch calls f for each entry whose key begins with prefix and then for each
// change of one, in order, on the client's goroutine: f must not block, and must
// not wait for the client. After a new snapshot f gets what differs. stop ends
// it; a call that runs is not waited for.
func (c *Client) Watch(prefix string, f func(Change)) (stop func()) {
	w := &watcher{prefix: []byte(prefix), f: f}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fresh = append(c.fresh, w)
	c.wakeLocked()
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		w.gone = true
	}
}

// Status returns how the client fares.
func (c *Client) Status() Status {
	c.mu.Lock()
	defer c.mu.Unlock()
	st := c.status
	st.Entries = c.table.len()
	return st
}

// WaitActive waits until the table is whole and kept up to date.
func (c *Client) WaitActive(ctx context.Context) error {
	c.mu.Lock()
	active := c.active
	c.mu.Unlock()
	select {
	case <-active:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Set changes a key at the server, or deletes it with an empty value, and waits
// until the change has come back as an update. A ttl above 0 is rounded up to
// seconds. Each server that can be reached is told, so that a backup knows it
// too; none before its connection stands. A server that connects again before
// the change has come back is told again. All bytes are copied.
//
// ErrUnconfirmed: ctx ended first; the change may or may not have been made. A
// key outside the subtree is not seen to come back: for it Set returns when the
// server in use was told.
func (c *Client) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	if !usableKey([]byte(key)) {
		return fmt.Errorf("%w: %.40q", ErrKey, key)
	}
	if ttl < 0 || ttl > ttlMax {
		return fmt.Errorf("%w: %v", ErrTTL, ttl)
	}
	ch := &change{done: make(chan struct{}), seen: hasPrefix([]byte(key), c.subtree)}
	_, _ = rand.Read(ch.uuid[:])
	ch.message = Message{Key: []byte(key), UUID: ch.uuid[:], Value: bytes.Clone(value)}
	if ttl > 0 {
		ch.message.Properties = appendTTL(nil, ttl)
	}
	c.mu.Lock()
	if c.ended {
		c.mu.Unlock()
		return ErrClosed
	}
	c.changes = append(c.changes, ch)
	c.wakeLocked()
	c.mu.Unlock()
	select {
	case <-ch.done:
		return nil
	case <-ctx.Done():
		c.mu.Lock()
		defer c.mu.Unlock()
		c.dropLocked(ch)
		return fmt.Errorf("%w: %.40q: %w", ErrUnconfirmed, key, ctx.Err())
	}
}

func (c *Client) dropLocked(ch *change) {
	for i, other := range c.changes {
		if other == ch {
			c.changes = append(c.changes[:i], c.changes[i+1:]...)
			return
		}
	}
}

func (c *Client) wakeLocked() {
	if c.waiter != nil {
		c.waiter.Wake()
	}
}
