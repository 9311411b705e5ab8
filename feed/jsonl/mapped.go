package jsonl

import (
	"fmt"

	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

// describer tells what a line is from the values that a scanner found.
type describer interface {
	// paths are the paths of the scanner's slots.
	paths() [][]string
	// describe appends the line's topic to topic, which may hold a prefix, and
	// fills r in.
	describe(s *scanner, topic []byte, r *reading) ([]byte, error)
}

// reading is what a line says of itself.
type reading struct {
	event, receive       wire.Nanos
	hasEvent, hasReceive bool
	kind                 wire.Kind
	flags                wire.RecordFlags
}

// setEvent takes the event time from a slot, where it has a value.
func (r *reading) setEvent(s *scanner, slot int, path []string, u colmap.Unit) error {
	var err error
	r.event, r.hasEvent, err = timeAt(s, slot, path, u)
	return err
}

// timeAt reads the time in a slot. No value, null and an empty string are none.
func timeAt(s *scanner, slot int, path []string, u colmap.Unit) (wire.Nanos, bool, error) {
	text, ok := s.textOf(slot)
	if !ok {
		return 0, false, fmt.Errorf("time at %s is an object or array", colmap.Path{Names: path})
	}
	if len(text) == 0 {
		return 0, false, nil
	}
	at, err := u.ParseTime(text)
	if err != nil {
		const shown = 40
		return 0, false, fmt.Errorf("time at %s: %q: %w", colmap.Path{Names: path}, text[:min(len(text), shown)], err)
	}
	return at, true, nil
}

// mapped reads lines by a column map. It implements describer.
type mapped struct {
	m             *colmap.Map
	list          [][]string
	time, receive int // slots; -1 where there is none, or it is before the JSON
	topic         []int
}

func newMapped(m *colmap.Map) *mapped {
	d := &mapped{m: m, time: -1, receive: -1}
	slot := func(p colmap.Path) int {
		for i, known := range d.list {
			if p.Is(known...) {
				return i
			}
		}
		d.list = append(d.list, p.Names)
		return len(d.list) - 1
	}
	if m.Time.Present() && m.Time.Path.Place == 0 {
		d.time = slot(m.Time.Path)
	}
	if m.Receive.Present() && m.Receive.Path.Place == 0 {
		d.receive = slot(m.Receive.Path)
	}
	for _, p := range m.Topic {
		d.topic = append(d.topic, slot(p))
	}
	return d
}

func (d *mapped) paths() [][]string { return d.list }

func (d *mapped) describe(s *scanner, topic []byte, r *reading) ([]byte, error) {
	r.kind = d.m.Kind
	if d.time >= 0 {
		if err := r.setEvent(s, d.time, d.list[d.time], d.m.Time.Unit); err != nil {
			return topic, err
		}
	}
	if d.receive >= 0 {
		var err error
		if r.receive, r.hasReceive, err = timeAt(s, d.receive, d.list[d.receive], d.m.Receive.Unit); err != nil {
			return topic, err
		}
	}
	prefix := len(topic)
	for _, slot := range d.topic {
		part, ok := s.textOf(slot)
		if !ok {
			return topic, fmt.Errorf("topic at %s is an object or array", colmap.Path{Names: d.list[slot]})
		}
		topic = colmap.AppendPart(topic, prefix, part)
	}
	return topic, nil
}
