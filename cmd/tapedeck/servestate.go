package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/resync/chp"
	"github.com/tapedeck/tapedeck/snail"
)

// cloneBoard shows how things stand to Clone clients, who can change nothing: keys
// such as /deck/NAME/state with JSON values, as docs/CONTROL.md has them. A nil one
// does nothing.
type cloneBoard struct {
	server *chp.Server
	at     control.ClonePlace
	failed atomic.Uint64 // values that could not be shown
}

// openBoard binds the endpoints.
func openBoard(bind string) (*cloneBoard, error) {
	at, err := boardEndpoints(bind)
	if err != nil {
		return nil, usageError{fmt.Errorf("state.bind: %w", err)}
	}
	s, err := chp.NewServer(chp.Config{Snapshot: at.Snapshot, Updates: at.Updates, ReadOnly: true, Channel: zsock.ChannelState})
	if err != nil {
		return nil, withHint(err, "is another serve running? state.bind, or --state, chooses another endpoint")
	}
	e := s.Endpoints()
	return &cloneBoard{server: s, at: control.ClonePlace{Snapshot: e.Snapshot, Updates: e.Updates}}, nil
}

// boardEndpoints are those for snapshots and updates: two ports in a row, two free
// ports, or two paths.
func boardEndpoints(bind string) (chp.Endpoints, error) {
	if strings.HasPrefix(bind, "ipc://") {
		return chp.Endpoints{Snapshot: bind, Updates: bind + ".updates"}, nil
	}
	if strings.HasPrefix(bind, "tcp://") && strings.HasSuffix(bind, ":*") {
		return chp.Endpoints{Snapshot: bind, Updates: bind}, nil
	}
	return chp.At(bind)
}

// place is where clients find the board.
func (b *cloneBoard) place() control.ClonePlace {
	if b == nil {
		return control.ClonePlace{}
	}
	return b.at
}

// show sets a key to a value as JSON, for a time to live, or with 0 until it is set
// otherwise.
func (b *cloneBoard) show(key string, value any, ttl time.Duration) {
	if b == nil {
		return
	}
	v, err := json.Marshal(value)
	var p chp.Properties
	if err == nil && ttl > 0 {
		p, err = chp.AppendProperty(nil, "ttl", fmt.Appendf(nil, "%d", int64(ttl/time.Second)))
	}
	if err == nil {
		_, err = b.server.Set([]byte(key), p, v)
	}
	if err != nil {
		b.failed.Add(1)
	}
}

// hide removes keys.
func (b *cloneBoard) hide(keys ...string) {
	if b == nil {
		return
	}
	for _, key := range keys {
		if _, err := b.server.Set([]byte(key), nil, nil); err != nil {
			b.failed.Add(1)
		}
	}
}

// run serves clients until the context ends.
func (b *cloneBoard) run(ctx context.Context) error { return b.server.Run(ctx) }

func (b *cloneBoard) close() error { return b.server.Close() }

// deckKeys are the keys of a deck.
type deckKeys struct{ prefix, state, position, readers string }

func keysOf(deck string) deckKeys {
	prefix := "/deck/" + deck + "/"
	return deckKeys{prefix: prefix, state: prefix + "state", position: prefix + "position", readers: "/reader/" + deck + "/"}
}

// follow shows the deck whenever its player changes, to the end of the run.
func (d *deck) follow(r *deckRun) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		<-r.ended
		cancel()
	}()
	for since := uint64(0); ; {
		st, err := r.player.Wait(ctx, since)
		d.show()
		if err != nil {
			break
		}
		since = st.Version
	}
	<-r.ended
	d.show()
}

// show shows the deck's state, unless that is what is shown already.
func (d *deck) show() {
	d.showing.Lock()
	defer d.showing.Unlock()
	s := d.state()
	if s.Version == d.shownVersion {
		return
	}
	d.shownVersion = s.Version
	d.house.board.show(d.keys.state, &s, 0)
}

// watch shows the deck's position and its readers, every now and then, to the end
// of the run.
func (d *deck) watch(r *deckRun) {
	cfg := &d.house.cfg.state
	positions, readers := time.NewTicker(cfg.position), time.NewTicker(cfg.readers)
	defer positions.Stop()
	defer readers.Stop()
	var last control.DeckPosition
	position := func() {
		if p := r.position(); p != last {
			last = p
			d.house.board.show(d.keys.position, &p, 0)
		}
	}
	for {
		select {
		case <-r.ended:
			position()
			r.lookAtPacing()
			return
		case <-positions.C:
			position()
		case <-readers.C:
			d.showReaders()
			r.lookAtPacing()
			d.show() // their number is part of the state
		}
	}
}

// showReaders shows who reads; who is not shown again is gone after a while.
func (d *deck) showReaders() {
	list := d.readers()
	for i := range list {
		s := readerState(d.name, &list[i])
		d.house.board.show(d.keys.readers+readerKey(&s), &s, d.house.cfg.state.readerTTL)
	}
}

// readerKey is the last part of a reader's key: its id, or where it connects from.
func readerKey(s *control.ReaderState) string {
	key := s.ID
	if key == "" && len(s.Connections) > 0 {
		key = "-" + s.Connections[0].Peer
	}
	if key == "" {
		key = "-"
	}
	return strings.Map(func(r rune) rune {
		if r == '/' || r < ' ' {
			return '_'
		}
		return r
	}, key)
}

// readerState is a reader in the words of the bus.
func readerState(deck string, r *snail.Reader) control.ReaderState {
	s := control.ReaderState{
		Deck: deck, ID: r.ID, Name: r.Name, Verdict: r.Verdict.String(), Since: int64(r.Since), Lag: r.LagNs, Lost: r.Lost,
	}
	for i := range r.Connections {
		c := &r.Connections[i]
		s.QueuedBytes += c.QueuedBytes
		s.Connections = append(s.Connections, control.ReaderConnection{
			Shard: c.Shard, Peer: c.Peer, Verdict: c.Verdict.String(), Cause: c.Cause.String(), Lag: c.LagNs, Lost: c.Lost,
			Reported: int64(c.Reported), QueuedBytes: c.QueuedBytes, Stalled: c.StalledNs, Observed: int64(c.Observed),
		})
	}
	return s
}
