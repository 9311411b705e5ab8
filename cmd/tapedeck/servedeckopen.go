package main

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// openAtPorts opens the deck at the first ports in a row that nobody has.
func (d *deck) openAtPorts(o runOptions) error {
	shards := d.args.Shards
	if shards == 0 {
		for _, path := range d.paths {
			t, err := tape.Open(path)
			if err != nil {
				return err
			}
			shards = max(shards, t.Shards())
			if err := t.Close(); err != nil {
				return err
			}
		}
	}
	before := portOf(o.at)
	for from := before; ; from = d.port + 1 {
		if d.port = d.house.ports.take(from, shards); d.port == 0 && before > 0 {
			before = 0
			d.port = d.house.ports.take(0, shards)
		}
		if d.port == 0 {
			return &control.Error{Code: control.Busy, Reason: fmt.Sprintf("no %d ports in a row are free in %s", shards, d.house.cfg.decks.ports),
				Try: "close a deck, or say where to bind, such as tcp://127.0.0.1:*"}
		}
		var err error
		o.bind = "tcp://" + d.house.cfg.decks.address + ":" + strconv.Itoa(d.port) + "+"
		if d.run, err = d.open(o); err == nil {
			return nil
		}
		d.house.ports.give(d.port, shards)
		if !errors.Is(err, syscall.EADDRINUSE) {
			d.port = 0
			return err
		}
	}
}

// portOf is the port of the first of some tcp endpoints, or 0.
func portOf(endpoints []string) int {
	if len(endpoints) == 0 {
		return 0
	}
	_, port, err := net.SplitHostPort(strings.TrimPrefix(endpoints[0], "tcp://"))
	if err != nil {
		return 0
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		return 0
	}
	return n
}

// runOptions are what a run may have otherwise than the deck's arguments say.
type runOptions struct {
	bind   string // where its shards are bound
	resync string // "": as the arguments have it
	speed  string // "": as the arguments have it
	again  bool   // it is not the deck's first, and plays at once

	// Of one of a pair.
	stream  uint64   // which it stands by for; 0: that is not known
	follows []string // where the other one's shards are
	rests   bool     // that stream has ended
	at      []string // where the deck was bound before, if it was
}

// flags are the deck's arguments as flags of play, which check them.
func (d *deck) flags(o *runOptions) (*playFlags, error) {
	f, cmd := &playFlags{}, &cobra.Command{}
	f.add(cmd)
	if d.house.link != nil {
		f.pair.role, f.pair.heartbeat = d.house.link.role, d.house.cfg.decks.pair.heartbeat
	}
	a, c := &d.args, &d.house.cfg.decks
	values := [][2]string{
		{"bind", o.bind}, {"speed", cmp.Or(o.speed, a.Speed, c.speed)}, {"clock", cmp.Or(a.Clock, c.clock)}, {"wait", strconv.Itoa(a.Wait)},
		{"live", strconv.FormatBool(a.Live)},
	}
	if a.Shards != 0 {
		values = append(values, [2]string{"shards", strconv.Itoa(a.Shards)})
	}
	if len(a.Barrier) > 0 {
		values = append(values, [2]string{"barrier", strings.Join(a.Barrier, ",")}, [2]string{"barrier-window", strconv.Itoa(cmp.Or(a.BarrierWindow, 1))},
			[2]string{"barrier-timeout", cmp.Or(a.BarrierTimeout, "0s")})
	}
	if a.Faults != "" {
		values = append(values, [2]string{"faults", a.Faults})
	}
	resync := cmp.Or(o.resync, a.ResyncBind, c.resync)
	if resync != "off" && resync != "" {
		values = append(values, [2]string{"resync-bind", resync}, [2]string{"resync-linger", "0s"})
	}
	for _, v := range values {
		if err := cmd.Flags().Set(v[0], v[1]); err != nil {
			return nil, usagef("%s %q: %w", v[0], v[1], err)
		}
	}
	return f, d.checkBinds(o.bind, resync)
}

// checkBinds refuses endpoints that a command may not have bound.
func (d *deck) checkBinds(bind, resync string) error {
	for _, list := range []string{bind, resync} {
		if list == "" || list == "off" {
			continue
		}
		endpoints, err := endpointList("", list)
		if err != nil {
			return err
		}
		for _, e := range endpoints {
			if err := d.house.cfg.mayBind(e); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens tapes and endpoints.
func (d *deck) open(o runOptions) (*deckRun, error) {
	f, err := d.flags(&o)
	if err != nil {
		return nil, err
	}
	squeeze, err := parseSqueeze(d.args.Squeeze)
	if err != nil {
		return nil, err
	}
	if d.args.Passes < -1 {
		return nil, usagef("passes %d: want a number from 1, or -1 for ever", d.args.Passes)
	}
	bounds, err := d.bounds(f.clock)
	if err != nil {
		return nil, err
	}
	r := &deckRun{ended: make(chan struct{}), stream: o.stream, follows: o.follows}
	r.rests.Store(o.rests)
	adjust := func(cfg *replay.Config) {
		cfg.Hold, cfg.Paused, cfg.Session, cfg.Squeeze = true, d.args.Paused && !o.again, d.name, squeeze
		cfg.Topics = d.args.Topics // not as a flag: that could name a file
		cfg.From, cfg.To, cfg.Loop = bounds.from, bounds.to, bounds.loop
		if d.args.Passes != 0 {
			cfg.Passes = d.args.Passes
		}
	}
	if d.house.link == nil {
		r.playing, err = f.open(d.paths, d.house.out, nil, adjust)
	} else if r.half, err = f.openHalf(d.paths, d.house.out, nil, adjust); err == nil {
		r.playing = r.half.playing
		r.stands.Store(true)
		if o.stream != 0 && o.stream == d.legacyOf {
			r.half.follower.Inherit(d.legacy)
		}
		d.legacy, d.legacyOf = nil, 0
	}
	if err != nil {
		return nil, err
	}
	r.endpoints = r.pub.Endpoints()
	if r.served != nil {
		r.resync = r.served.server.Endpoints()[0]
	}
	if err := r.measure(); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

// deckBounds is what is played of tapes.
type deckBounds struct {
	from, to wire.Nanos
	loop     *replay.Range
}

// bounds reads the places that a deck is opened with.
func (d *deck) bounds(clockName string) (b deckBounds, err error) {
	clock, err := tape.ParseClock(clockName)
	if err != nil {
		return b, usageError{err}
	}
	var tapes []*tape.Tape
	defer func() {
		for _, t := range tapes {
			err = errors.Join(err, t.Close())
		}
	}()
	for _, path := range d.paths {
		t, err := tape.Open(path)
		if err != nil {
			return b, err
		}
		tapes = append(tapes, t)
	}
	first, _, _, err := extent(tapes, clock)
	if err != nil {
		return b, err
	}
	at := func(what, place string) (wire.Nanos, error) {
		if place == "" {
			return 0, nil
		}
		t, err := deckTarget(tapes, clock, first, place)
		if err == nil && (t.Relative || t.Clock != clock) {
			err = usagef("%s %s: want a time by the clock %v", what, place, clock)
		}
		return t.Time, err
	}
	if b.from, err = at("from", d.args.From); err != nil {
		return b, err
	}
	if b.to, err = at("to", d.args.To); err != nil {
		return b, err
	}
	if d.args.LoopFrom == "" && d.args.LoopTo == "" {
		return b, nil
	}
	start := max(first, b.from)
	if b.loop, err = loopRange(tapes, clock, start, d.args.LoopFrom, d.args.LoopTo); err != nil {
		return b, err
	}
	for _, t := range []*replay.Target{&b.loop.From, &b.loop.To} {
		if t.Relative {
			*t = replay.ToTime(start+wire.Nanos(t.Offset), clock)
		}
	}
	return b, nil
}

// extent is from when to when tapes have records, by a clock, and how many.
func extent(tapes []*tape.Tape, clock tape.Clock) (first, last wire.Nanos, records uint64, err error) {
	for _, t := range tapes {
		info, err := t.Info()
		if err != nil {
			return 0, 0, 0, err
		}
		s := &info.Totals
		if s.Records == 0 {
			continue
		}
		from, to := s.FirstReceive, s.LastReceive
		if clock == tape.ClockEvent {
			from, to = s.FirstEvent, s.LastEvent
		}
		if records == 0 {
			first, last = from, to
		}
		first, last, records = min(first, from), max(last, to), records+s.Records
	}
	return first, last, records, nil
}

// loopRange is what a loop plays: a distance in its end counts from its beginning.
func loopRange(tapes []*tape.Tape, clock tape.Clock, start wire.Nanos, from, to string) (*replay.Range, error) {
	if to == "" {
		return nil, usagef("the loop has no end: want from and to")
	}
	a, err := deckTarget(tapes, clock, start, cmp.Or(from, "start"))
	if err != nil {
		return nil, err
	}
	b, err := deckTarget(tapes, clock, start, to)
	if err != nil {
		return nil, err
	}
	if b.Relative && a.Relative {
		b.Offset += a.Offset
	} else if b.Relative {
		b = replay.ToTime(a.Time+wire.Nanos(b.Offset), a.Clock)
	}
	return &replay.Range{From: a, To: b}, nil
}

// deckTarget is a place as a player takes it; start is that of what is played.
func deckTarget(tapes []*tape.Tape, clock tape.Clock, start wire.Nanos, place string) (replay.Target, error) {
	p, err := control.ParsePlace(place)
	if err != nil {
		return replay.Target{}, err
	}
	switch p.Kind {
	case control.ByDistance:
		return replay.By(p.Offset), nil
	case control.AtTime:
		return replay.ToTime(wire.Nanos(p.Time), clock), nil
	case control.AtMark:
		m, err := markOn(tapes, p.Mark)
		switch {
		case errors.Is(err, tape.ErrNoMark):
			err = &control.Error{Code: control.NotFound, Reason: "there is no mark " + p.Mark,
				Try: "tapedeck deck mark puts one where the deck is; tapedeck marks list shows those of a tape"}
		case errors.Is(err, errMarks):
			err = &control.Error{Code: control.Refused, Reason: "mark " + p.Mark + ": " + err.Error(), Try: "name the time instead"}
		}
		return replay.ToTime(m.Time, m.Clock), err
	}
	return replay.ToTime(start, clock), nil
}

// measure reads what the deck's state says of the tapes.
func (r *deckRun) measure() (err error) {
	if r.first, r.last, r.total, err = extent(r.tapes.list, r.cfg.Clock); err != nil {
		return err
	}
	if r.cfg.From != 0 {
		r.first = max(r.first, r.cfg.From)
	}
	if r.cfg.To != 0 {
		r.last = min(r.last, r.cfg.To-1)
	}
	return nil
}
