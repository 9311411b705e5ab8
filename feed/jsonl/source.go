package jsonl

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/feed/lines"
	"github.com/tapedeck/tapedeck/wire"
)

var (
	byteOrderMark = []byte("\xef\xbb\xbf")

	errNoTime = errors.New("the record has no time")
)

// Uses of the time before the JSON, as Detail's prefix says them.
const (
	prefixNone    = "none"
	prefixTime    = "time"
	prefixReceive = "receive"
	prefixLost    = "lost"
)

// source implements feed.Source.
type source struct {
	lines  *lines.Reader
	scan   *scanner
	what   describer
	detail map[string]string

	use       string      // of the time before the JSON
	unit      colmap.Unit // of it
	separator byte        // behind it, on the first line
	odd       int64       // lines on which it cannot be made again
	blank     int64       // blank lines passed over
	bom       bool        // the first line begins with a byte order mark

	whole  bool   // topic is the whole topic of all records
	prefix int    // how much of topic is there before a line adds to it
	topic  []byte // of the current record
	record feed.Record

	reading reading // of the current line, here so that it is not allocated
}

// Next implements feed.Source.
func (s *source) Next() (*feed.Record, error) {
	for {
		line, err := s.lines.Next()
		if err != nil {
			if errors.Is(err, lines.ErrTooLong) {
				err = s.lines.Bad(err)
			}
			return nil, err
		}
		if s.bom && s.lines.Number() == 1 {
			line = line[len(byteOrderMark):]
		}
		if len(line) == 0 || len(bytes.TrimLeft(line, " \t")) == 0 {
			s.blank++
			continue
		}
		if err := s.read(line); err != nil {
			return nil, s.lines.Bad(err)
		}
		return &s.record, nil
	}
}

// read takes a line into the record.
func (s *source) read(line []byte) error {
	prefix, separator, text := splitLine(line)
	if prefix == nil && s.use != prefixNone {
		return errNoPrefix
	}
	if prefix != nil && text == nil {
		return errNoJSON
	}
	if !s.scan.scan(text) {
		return &notJSON{at: s.scan.bad, end: s.scan.bad >= len(text)}
	}
	r := &s.reading
	*r = reading{}
	topic, err := s.what.describe(s.scan, s.topic[:s.prefix], r)
	if err != nil {
		return err
	}
	if err := s.readPrefix(prefix, separator, r); err != nil {
		return err
	}
	s.topic = topic
	if !s.whole {
		if err := colmap.CheckTopic(topic, s.prefix); err != nil {
			return err
		}
	}
	s.record.Topic, s.record.Body, s.record.Kind = topic, text, r.kind
	return s.setTimes(r)
}

func (s *source) setTimes(r *reading) error {
	out := &s.record
	switch {
	case r.hasEvent && r.hasReceive:
		out.Event, out.Receive, out.Flags = r.event, r.receive, r.flags
	case r.hasEvent:
		out.Event, out.Receive, out.Flags = r.event, r.event, r.flags|wire.FlagNoReceiveTime
	case r.hasReceive:
		out.Event, out.Receive, out.Flags = r.receive, r.receive, r.flags|wire.FlagNoEventTime
	default:
		return errNoTime
	}
	return nil
}

// readPrefix reads the time before the JSON, if the line has one.
func (s *source) readPrefix(prefix []byte, separator byte, r *reading) error {
	if prefix == nil {
		return nil
	}
	if separator != s.separator || !isCanonical(prefix) {
		s.odd++
	}
	if s.use != prefixTime && s.use != prefixReceive {
		return nil
	}
	at, err := s.unit.ParseTime(prefix)
	if err != nil {
		const shown = 40
		return fmt.Errorf("time before the JSON: %q: %w", prefix[:min(len(prefix), shown)], err)
	}
	if s.use == prefixTime {
		r.event, r.hasEvent = at, true
	} else {
		r.receive, r.hasReceive = at, true
	}
	return nil
}

// Encoding implements feed.Source.
func (s *source) Encoding() feed.Encoding {
	detail := maps.Clone(s.detail)
	s.lines.Describe(detail)
	if s.blank > 0 {
		detail["blank_lines"] = strconv.FormatInt(s.blank, 10)
	}
	if s.odd > 0 {
		detail["prefix_odd"] = strconv.FormatInt(s.odd, 10)
	}
	return feed.Encoding{Format: Format.Name, Detail: detail}
}
