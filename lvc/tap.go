package lvc

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// The topics of a tap: what follows the prefix is the record's topic, or what was
// subscribed to.
const (
	tapData          = "data:"
	tapSubscriptions = "subscription:"
	tapReport        = "report"
)

// TapEvent is what happened to a reader.
type TapEvent string

// The events.
const (
	Joined       TapEvent = "join"
	Parted       TapEvent = "leave"
	Subscribed   TapEvent = "subscribe"
	Refused      TapEvent = "refuse" // a subscription that the reader has no right to
	Unsubscribed TapEvent = "unsubscribe"
	Said         TapEvent = "signal" // a reader's word about itself
)

// tapMessage is the body of an event, as JSON.
type tapMessage struct {
	Time  wire.Nanos `json:"time"`
	Event TapEvent   `json:"event"`
	Peer  string     `json:"peer"`
	Topic string     `json:"topic"`
}

// tapStatus is the body of a report, as JSON: once a heartbeat.
type tapStatus struct {
	Dropped uint64 `json:"dropped"` // messages that the rate did not let through, so far
}

// tap shows the traffic of a proxy to whoever connects. While nobody does, it
// costs one look at a number a batch. Its own lock is taken within the proxy's.
type tap struct {
	endpoint string
	hub      *hub
	now      func() wire.Nanos
	rate     float64
	watching atomic.Int32 // readers of the tap
	dropped  atomic.Uint64

	// Guarded by the hub's lock.
	tokens  float64
	filled  time.Time
	session tapping
}

// tapping is a tap that is open: it has readers, and its lock is held. A nil one
// shows nothing.
type tapping struct {
	t     *tap
	topic []byte
}

const (
	tapQueueBytes = 8 << 20
	tapReadersMax = 64
)

func newTap(cfg *Config) (*tap, error) {
	t := &tap{now: cfg.Now, rate: float64(cfg.TapRate), tokens: float64(cfg.TapRate), filled: cfg.World.Now()}
	t.session.t = t
	t.hub = newHub(cfg.World, tapQueueBytes, tapReadersMax, cfg.Lock.ofAll(), t)
	var err error
	t.endpoint, err = t.hub.listen(cfg.Tap)
	return t, err
}

// openLocked opens the tap for a batch where somebody watches, or returns nil. It
// must be closed.
func (t *tap) openLocked() *tapping {
	if t == nil || t.watching.Load() == 0 {
		return nil
	}
	t.hub.mu.Lock()
	now := t.hub.world.Now()
	t.tokens = min(t.tokens+now.Sub(t.filled).Seconds()*t.rate, t.rate)
	t.filled = now
	return &t.session
}

func (s *tapping) close() {
	if s != nil {
		s.t.hub.flushLocked()
		s.t.hub.mu.Unlock()
	}
}

// record shows a record, if somebody wants it and the rate allows.
func (s *tapping) record(topic []byte, h *wire.Plain, body []byte) {
	if s != nil {
		s.show(tapData, topic, h, body)
	}
}

func (s *tapping) show(kind string, topic []byte, h *wire.Plain, body []byte) {
	f := &s.t.hub.filters
	s.topic = append(append(s.topic[:0], kind...), topic...)
	readers := f.find(s.topic)
	switch {
	case len(readers) == 0 && len(f.everything) == 0:
	case s.t.tokens < 1:
		s.t.dropped.Add(1)
	default:
		s.t.tokens--
		s.t.hub.sendLocked(s.topic, h, body, readers)
	}
}

// event shows what happened to a reader.
func (t *tap) event(e TapEvent, r *reader, topic string) {
	s := t.openLocked()
	if s == nil {
		return
	}
	defer s.close()
	s.json(tapSubscriptions, topic, tapMessage{Time: t.now(), Event: e, Peer: r.peer, Topic: strings.ToValidUTF8(topic, "\uFFFD")})
}

// report tells how much was not shown.
func (t *tap) report() {
	s := t.openLocked()
	if s == nil {
		return
	}
	defer s.close()
	t.tokens++ // a report is always let through
	s.json(tapReport, "", tapStatus{Dropped: t.dropped.Load()})
}

func (s *tapping) json(kind, topic string, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: what a tap shows does not marshal: " + err.Error())
	}
	now := s.t.now()
	s.show(kind, []byte(topic), &wire.Plain{Kind: wire.KindNotice, Event: now, Receive: now, Send: now}, b)
}

// A tap's readers are answered nothing: it shows what comes.
func (t *tap) subscribed(*reader, string) bool   { return false }
func (t *tap) unsubscribed(*reader, string)      {}
func (t *tap) said(*reader, []byte)              {}
func (t *tap) joined(*reader)                    { t.watching.Add(1) }
func (t *tap) parted(*reader)                    { t.watching.Add(-1) }
func (t *tap) recover(*reader)                   {}
func (t *tap) stream(*reader, *answer) (ok bool) { return true }
func (t *tap) abandoned(*answer)                 {}
