package chp

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// state is what a server has, and what it has still to publish. Updates change
// both under one lock, so that they are published in the order of their
// sequences, and a capture has all updates up to its sequence and no other.
type state struct {
	// wanted is set when somebody has subscribed or asked, for good: until then
	// updates of an external state need not be put together.
	wanted atomic.Bool

	form     Form
	epoch    Properties // the property that every KVPUB has
	external bool       // the entries are a Store's: no table here
	entries  int        // bound of the table
	bytes    int        // bound of the table, bytes
	value    int        // bound of a value, bytes
	queue    int        // bound of what waits to be published, bytes

	mu       sync.Mutex
	sequence uint64
	table    *table
	expiries expiries
	lineage  *lineage
	out      *zsock.Outbox // waits to be published
	spare    *zsock.Outbox // empty
	props    Properties    // scratch
}

func newState(cfg *Config) *state {
	s := &state{
		form: cfg.Form, epoch: fmt.Appendf(nil, "%s=%016x\n", propEpoch, cfg.Epoch), external: cfg.Store != nil,
		entries: cfg.EntriesMax, bytes: cfg.BytesMax, value: cfg.ValueMax, queue: cfg.QueueMax,
		sequence: cfg.First - 1, table: newTable(), lineage: newLineage(cfg.Separators),
		out: new(zsock.Outbox), spare: new(zsock.Outbox),
	}
	s.lineage.last = s.sequence
	return s
}

// given checks what comes from a client or a caller. Properties that are a
// server's own are taken out, and the time to live is returned by itself.
func (s *state) given(key []byte, p Properties, value []byte) (kept Properties, ttl time.Duration, err error) {
	switch {
	case !usableKey(key):
		return nil, 0, fmt.Errorf("%w: %.40q", ErrKey, key)
	case len(value) > s.value:
		return nil, 0, fmt.Errorf("%w: %d bytes for %.40q", ErrValue, len(value), key)
	case len(p) == 0:
		return nil, 0, nil
	case !p.givable():
		return nil, 0, fmt.Errorf("%w: of %.40q", ErrProperty, key)
	}
	if ttl, err = p.TTL(); err != nil {
		return nil, 0, err
	}
	return p.without(false), ttl, nil
}

// set changes the table and publishes it. uuid may be empty; p has been through
// given; an empty value deletes. All bytes are copied.
func (s *state) set(key, uuid []byte, p Properties, ttl time.Duration, value []byte, now time.Time) (uint64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out.Size() >= s.queue {
		return 0, ErrQueueFull
	}
	if err := s.roomLocked(key, p, value); err != nil {
		return 0, err
	}
	s.sequence++
	if len(value) == 0 {
		s.publishLocked(key, uuid, p, 0, nil)
		s.expiries.drop(s.table.remove(key))
		return s.sequence, nil
	}
	s.publishLocked(key, uuid, p, ttl, value)
	e := Entry{Key: key, Sequence: s.sequence, Properties: p, Value: value}
	if ttl > 0 {
		e.Expires = now.Add(ttl)
	}
	it := newItem(&e)
	s.expiries.drop(s.table.put(it))
	s.expiries.add(it)
	return s.sequence, nil
}

func (s *state) roomLocked(key []byte, p Properties, value []byte) error {
	if len(value) == 0 {
		return nil
	}
	entries, bytes := s.table.len()+1, s.table.bytes+len(key)+len(p)+len(value)
	if old := s.table.get(key); old != nil {
		entries--
		bytes -= old.size()
	}
	if entries > s.entries || bytes > s.bytes {
		return fmt.Errorf("%w: no room for %.40q", ErrTableFull, key)
	}
	return nil
}

// update publishes a Store's update.
func (s *state) update(key []byte, sequence uint64, p Properties, value []byte) error {
	if !usableKey(key) {
		return fmt.Errorf("%w: %.40q", ErrKey, key)
	}
	if len(p) > 0 {
		if !p.givable() {
			return fmt.Errorf("%w: of %.40q", ErrProperty, key)
		}
		p = p.without(true)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sequence <= s.sequence {
		return fmt.Errorf("%w: %d after %d", ErrOrder, sequence, s.sequence)
	}
	s.sequence = sequence
	if !s.wanted.Load() {
		return nil
	}
	if s.out.Size() >= s.queue {
		// Noted all the same: the next update says that there was one before it.
		s.lineage.note(key, sequence)
		return ErrQueueFull
	}
	s.publishLocked(key, nil, p, 0, value)
	return nil
}

// expire removes up to max values that are due and publishes that. It returns
// how many it removed, and when the next one is due, zero for never.
func (s *state) expire(now time.Time, max int) (removed int, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for it := s.expiries.due(now); it != nil && removed < max; it = s.expiries.due(now) {
		s.sequence++
		s.publishLocked(it.Key, nil, it.Properties, 0, nil)
		s.expiries.drop(s.table.remove(it.Key))
		removed++
	}
	if len(s.expiries) > 0 {
		next = s.expiries[0].Expires
	}
	return removed, next
}

// publishLocked puts a KVPUB with the current sequence into the outbox.
func (s *state) publishLocked(key, uuid []byte, p Properties, ttl time.Duration, value []byte) {
	m := Message{Key: key, Sequence: s.sequence, UUID: uuid, Value: value}
	if s.form == KVMsg {
		s.props = append(s.props[:0], p...)
		if ttl > 0 {
			s.props = appendTTL(s.props, ttl)
		}
		s.props = append(s.props, s.epoch...)
		s.props = s.lineage.appendPrevious(s.props, key, s.sequence)
		m.Properties = s.props
	}
	m.put(s.out, s.form, nil)
}

// hugz puts a sign of life into the outbox.
func (s *state) hugz() {
	s.mu.Lock()
	defer s.mu.Unlock()
	m := Message{Key: []byte(keyHugz)}
	if s.form == KVMsg {
		s.props = append(s.props[:0], s.epoch...)
		s.props = appendNumber(s.props, propSequence, s.sequence)
		m.Properties = s.props
	}
	m.put(s.out, s.form, nil)
}

// take returns what waits to be published, to be handed back, emptied, by the
// next take.
func (s *state) take(empty *zsock.Outbox) *zsock.Outbox {
	s.mu.Lock()
	defer s.mu.Unlock()
	if empty != nil {
		s.spare = empty
	}
	full := s.out
	s.out, s.spare = s.spare, nil
	return full
}

// capture is the table now.
func (s *state) capture(subtree []byte, now time.Time) *tableCapture {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &tableCapture{walk: walk{chunks: s.table.capture(), prefix: subtree}, sequence: s.sequence, now: now}
}

// size is how many entries the table has, and their bytes.
func (s *state) size() (entries, bytes int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.table.len(), s.table.bytes
}

// last is the last sequence.
func (s *state) last() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sequence
}
