package lvc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zmtp"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	handshakeWait    = 5 * time.Second
	subscriptionsMax = 1 << 16 // of one reader
)

// hub is the readers of one stream of messages: their connections, what they want,
// and their queues. Its lock is its owner's too.
type hub struct {
	world      World
	queueBytes int64 // what waits for one reader at most
	readersMax int
	owner      owner
	lock       *Lock // nil: none
	perAddress int   // connections from one address at most; 0: no bound

	mu        sync.Mutex
	listeners []net.Listener
	greeting  map[net.Conn]struct{} // connections that are not readers yet
	addresses map[netip.Addr]int    // connections by where they come from
	readers   map[*reader]struct{}
	filters   filters
	number    uint64 // of the next connection without an address
	closing   bool
	ring      *ring // not nil while nothing is sent: what would have been
	ringNow   time.Time
	confirms  *confirms // of one of a pair
	counts    hubCounts

	out      []byte    // messages of the batch at hand, for readers of everything
	messages int       // in out
	touched  []*reader // those with a batch of their own

	wg sync.WaitGroup
}

// hubCounts are what a hub counted, guarded by its lock.
type hubCounts struct {
	joined     uint64 // connections that became readers
	left       uint64
	refused    uint64 // connections that did not: no ZMTP, no SUB, no right, or too many
	foreign    uint64 // messages that are no word of a subscriber
	tooLong    uint64 // subscriptions that can match nothing, or beyond the bound
	noRight    uint64 // subscriptions that their reader has no right to
	dropped    uint64 // records, of readers that have left
	overflowed uint64 // times that a queue was full
}

// owner is whose messages a hub sends. All is called with the hub's lock held,
// but for stream.
type owner interface {
	// subscribed answers a subscription. It reports true where a long answer is on
	// its way; until it has gone out the reader's next subscription waits.
	subscribed(r *reader, prefix string) bool
	// refused takes note of a subscription that its reader has no right to.
	refused(r *reader, prefix string)
	// unsubscribed takes note of the end of one.
	unsubscribed(r *reader, prefix string)
	// said takes a word of a reader about itself: a frame that begins with 1 for a
	// subscription, 0 for its end.
	said(r *reader, frame []byte)
	// joined and parted take note of a reader.
	joined(r *reader)
	parted(r *reader)
	// recover gives a reader that had lost messages what it needs to go on, as
	// subscribed does.
	recover(r *reader)
	// stream writes a long answer and reports whether the reader may go on.
	stream(r *reader, a *answer) bool
	// abandoned lets go of an answer that will not be streamed.
	abandoned(a *answer)
}

func newHub(w World, queueBytes int64, readersMax int, l *Lock, o owner) *hub {
	return &hub{
		world: w, queueBytes: queueBytes, readersMax: readersMax, owner: o, lock: l,
		greeting: map[net.Conn]struct{}{}, addresses: map[netip.Addr]int{}, readers: map[*reader]struct{}{}, filters: newFilters(),
	}
}

// listen binds an endpoint and serves it until close.
func (h *hub) listen(endpoint string) (bound string, err error) {
	l, bound, err := h.world.Listen(endpoint)
	if err != nil {
		return "", fmt.Errorf("lvc: %w", err)
	}
	h.mu.Lock()
	h.listeners = append(h.listeners, l)
	h.mu.Unlock()
	h.spawn(func() {
		for {
			conn, err := l.Accept()
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err != nil:
				// Out of descriptors, or the peer was gone already: a moment later it
				// may work.
				_ = h.world.Sleep(context.Background(), 10*time.Millisecond)
			default:
				h.spawn(func() { h.serve(conn) })
			}
		}
	})
	return bound, nil
}

// spawn runs f in a goroutine that close waits for.
func (h *hub) spawn(f func()) {
	h.wg.Add(1)
	h.world.Go(func() {
		defer h.wg.Done()
		f()
	})
}

// serve is a connection's life.
func (h *hub) serve(conn net.Conn) {
	if !h.greet(conn) {
		_ = conn.Close()
		return
	}
	defer h.leave(conn)
	_ = conn.SetDeadline(h.world.Now().Add(handshakeWait))
	session, outward, who, err := h.handshake(conn)
	if err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	r := h.join(conn, outward, who, err == nil, err == nil && session.AnswersPings())
	if r == nil {
		_ = conn.Close()
		return
	}
	h.spawn(r.write)
	h.listenTo(r, session)
	h.part(r)
}

// greet takes note of a connection before its handshake, so that close need not
// wait for it, and reports whether it may go on.
func (h *hub) greet(conn net.Conn) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := remoteAddress(conn)
	if h.closing || len(h.greeting) >= h.readersMax || h.perAddress > 0 && from.IsValid() && h.addresses[from] >= h.perAddress {
		h.counts.refused++
		return false
	}
	h.greeting[conn] = struct{}{}
	h.addresses[from]++
	return true
}

// leave takes note of the end of a connection that greet has let in.
func (h *hub) leave(conn net.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	from := remoteAddress(conn)
	if h.addresses[from]--; h.addresses[from] == 0 {
		delete(h.addresses, from)
	}
}

// remoteAddress is where a connection comes from; of ipc nowhere.
func remoteAddress(conn net.Conn) netip.Addr {
	if a, ok := conn.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap().WithZone("")
	}
	return netip.Addr{}
}

// join makes a connection a reader, or returns nil where it has not said that it
// is one, or there are too many.
func (h *hub) join(conn, outward net.Conn, who identity, greeted, pings bool) *reader {
	peer := zmtp.PeerName(conn)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.greeting, conn)
	if !greeted || h.closing || len(h.readers) >= h.readersMax {
		h.counts.refused++
		return nil
	}
	if strings.HasPrefix(peer, "ipc") {
		h.number++
		peer = fmt.Sprintf("%s#%d", peer, h.number)
	}
	r := newReader(h, outward, peer)
	r.who, r.pings = who, pings
	h.readers[r] = struct{}{}
	h.confirms.meets(r)
	h.counts.joined++
	h.owner.joined(r)
	return r
}

// outlet adds a reader of everything that has no connection: somebody else takes
// its queue.
func (h *hub) outlet(name string) *reader {
	h.mu.Lock()
	defer h.mu.Unlock()
	r := newReader(h, nil, name)
	h.readers[r] = struct{}{}
	h.filters.add(r, "")
	return r
}

// listenTo takes in what a reader says until it leaves.
func (h *hub) listenTo(r *reader, session *zmtp.Session) {
	for {
		e, err := session.Next()
		if err != nil {
			return
		}
		switch e.Kind {
		case zmtp.Subscribe:
			r.answered.Wait()
			if !h.subscribe(r, e.Data) {
				r.free()
			}
		case zmtp.Cancel:
			h.unsubscribe(r, e.Data)
		case zmtp.Ping:
			r.pong(e.Data)
		case zmtp.Pong:
			h.pongOf(r, e.Data)
		default:
			h.mu.Lock()
			h.counts.foreign++
			h.mu.Unlock()
		}
	}
}

// signalPrefix begins a reader's words about itself.
const signalPrefix = wire.Signature + "?"

// subscribe takes in a subscription and reports whether a long answer is on its
// way.
func (h *hub) subscribe(r *reader, topic []byte) bool {
	asked := h.world.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	r.asked = asked
	switch {
	case strings.HasPrefix(string(topic), signalPrefix):
		h.owner.said(r, append([]byte{1}, topic...))
	case len(topic) > wire.TopicSizeMax, len(r.subscriptions) >= subscriptionsMax:
		h.counts.tooLong++
	case !strings.HasPrefix(string(topic), wire.OperatorPrefix) && !r.who.rights.allow(topic):
		h.counts.noRight++
		h.owner.refused(r, string(topic))
	default:
		prefix := string(topic)
		h.filters.add(r, prefix)
		return h.owner.subscribed(r, prefix)
	}
	return false
}

func (h *hub) unsubscribe(r *reader, topic []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if strings.HasPrefix(string(topic), signalPrefix) {
		h.owner.said(r, append([]byte{0}, topic...))
	} else if h.filters.remove(r, string(topic)) {
		h.owner.unsubscribed(r, string(topic))
	}
}

// part lets a reader go whose connection has ended.
func (h *hub) part(r *reader) {
	r.leave()
	_ = r.conn.Close()
	h.mu.Lock()
	defer h.mu.Unlock()
	for prefix := range r.subscriptions {
		h.filters.remove(r, prefix)
	}
	delete(h.readers, r)
	h.counts.left++
	h.counts.dropped += r.dropped.Load()
	h.owner.parted(r)
	h.confirms.leaves(r, h.world.Now())
	r.discard()
	// Topics that have been quiet may remember the reader for long.
	r.subscriptions, r.batch = nil, nil
}

// caughtUp gives a reader that was behind the last values, and lets it go on. How far it
// is, marks have yet to find out: what was written is not read.
func (h *hub) caughtUp(r *reader) {
	h.mu.Lock()
	defer h.mu.Unlock()
	r.mu.Lock()
	r.behind = false // of one that has left, too: its writing asks until it is not
	r.mu.Unlock()
	if _, here := h.readers[r]; !here {
		return
	}
	h.counts.overflowed++
	r.asked = h.world.Now()
	h.owner.recover(r)
}

// sendLocked queues a record of one topic for who wants it: those of everything
// and readers. It goes out with flushLocked.
func (h *hub) sendLocked(topic []byte, header *wire.Plain, body []byte, readers []*reader) {
	if h.ring != nil {
		if h.ringNow.IsZero() {
			h.ringNow = h.world.Now() // once a batch
			h.ring.wanted = len(h.readers) > 0
		}
		h.ring.add(h.ringNow, topic, header, body)
		return
	}
	var entry []byte
	if len(h.filters.everything) > 0 {
		n := len(h.out)
		h.out = appendEntry(h.out, topic, header, body, false)
		h.messages++
		entry = h.out[n:]
	}
	for _, r := range readers {
		if r.messages == 0 {
			h.touched = append(h.touched, r)
		}
		r.messages++
		if entry == nil {
			n := len(r.batch)
			r.batch = appendEntry(r.batch, topic, header, body, false)
			entry = r.batch[n:]
		} else {
			r.batch = append(r.batch, entry...)
		}
	}
	if len(h.out) >= chunkSize {
		h.flushOutLocked()
	}
}

// flushLocked hands on what sendLocked has queued.
func (h *hub) flushLocked() {
	h.ringNow = time.Time{}
	h.flushOutLocked()
	for _, r := range h.touched {
		var own *chunk
		r.push(r.batch, r.messages, &own)
		if own != nil {
			own.release()
		}
		r.batch, r.messages = r.batch[:0], 0
		if cap(r.batch) > 2*chunkSize {
			r.batch = nil // of one great batch
		}
	}
	clear(h.touched)
	h.touched = h.touched[:0]
}

func (h *hub) flushOutLocked() {
	if h.messages == 0 {
		return
	}
	var shared *chunk
	for _, r := range h.filters.everything {
		r.push(h.out, h.messages, &shared)
	}
	if shared != nil {
		shared.release()
	}
	h.out, h.messages = h.out[:0], 0
	if cap(h.out) > 4*chunkSize {
		h.out = nil
	}
}

// publishLocked sends one message of no stream to who wants it, at once; of a passive
// proxy it is kept, as records are.
func (h *hub) publishLocked(topic string, header *wire.Plain, body []byte) {
	if h.ring != nil || !h.filters.nobody() {
		b := []byte(topic)
		h.sendLocked(b, header, body, h.filters.find(b))
		h.flushLocked()
	}
}

// close ends all: nobody joins any more, what waits is written for a moment, and
// every goroutine of the hub has ended.
func (h *hub) close() error {
	h.mu.Lock()
	h.closing = true
	var errs []error
	for _, l := range h.listeners {
		errs = append(errs, l.Close())
	}
	h.listeners = nil
	for conn := range h.greeting {
		_ = conn.Close()
	}
	for r := range h.readers {
		r.stop()
	}
	h.mu.Unlock()
	h.wg.Wait()
	return errors.Join(errs...)
}
