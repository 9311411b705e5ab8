package csv

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

var errNoTime = errors.New("the record has no time")

// source implements feed.Source.
type source struct {
	scan    *scanner
	layout  layout
	columns int
	names   []string // for errors; may be nil
	detail  map[string]string

	time, receive colmap.Clock
	topic         []byte // the topic of the current record, the prefix first
	prefix        int    // how much of it is the prefix
	record        feed.Record
}

// Next implements feed.Source.
func (s *source) Next() (*feed.Record, error) {
	if err := s.scan.next(); err != nil {
		return nil, err
	}
	if s.scan.count != s.columns {
		return nil, s.scan.bad(fmt.Errorf("%d columns where there should be %d", s.scan.count, s.columns))
	}
	if err := s.readTimes(); err != nil {
		return nil, s.scan.bad(err)
	}
	if len(s.layout.topic) > 0 {
		if err := s.buildTopic(); err != nil {
			return nil, s.scan.bad(err)
		}
	}
	s.record.Topic, s.record.Body = s.topic, s.scan.body
	return &s.record, nil
}

// readTimes sets the record's times and their flags.
func (s *source) readTimes() error {
	event, hasEvent, err := s.readTime(&s.layout.time, &s.time)
	if err != nil {
		return err
	}
	receive, hasReceive, err := s.readTime(&s.layout.receive, &s.receive)
	if err != nil {
		return err
	}
	r := &s.record
	switch {
	case hasEvent && hasReceive:
		r.Event, r.Receive, r.Flags = event, receive, 0
	case hasEvent:
		r.Event, r.Receive, r.Flags = event, event, wire.FlagNoReceiveTime
	case hasReceive:
		r.Event, r.Receive, r.Flags = receive, receive, wire.FlagNoEventTime
	default:
		return errNoTime
	}
	return nil
}

// readTime reads one time of the record. An empty field is no time.
func (s *source) readTime(t *timeColumns, c *colmap.Clock) (wire.Nanos, bool, error) {
	if !t.present() {
		return 0, false, nil
	}
	text := s.scan.field(t.col)
	if len(text) == 0 {
		return 0, false, nil
	}
	var at wire.Nanos
	var err error
	if t.date < 0 {
		at, err = c.Parse(text)
	} else {
		at, err = s.readPair(t, c)
	}
	if err != nil {
		return 0, false, s.timeError(t.col, err)
	}
	return at, true, nil
}

// readPair reads a date and a time of day. The scanner's field is valid until
// the next is asked for, so the date is taken in first.
func (s *source) readPair(t *timeColumns, c *colmap.Clock) (wire.Nanos, error) {
	if err := c.SetDate(s.scan.field(t.date)); err != nil {
		return 0, err
	}
	return c.Parse(s.scan.field(t.col))
}

// timeError says which column err is about and what stands in it.
func (s *source) timeError(col int, err error) error {
	const shown = 40
	text := string(s.scan.field(col))
	if len(text) > shown {
		text = text[:shown] + "..."
	}
	name := "#" + strconv.Itoa(col+1)
	if col < len(s.names) {
		name = s.names[col]
	}
	return fmt.Errorf("time in column %s: %q: %w", name, text, err)
}

// buildTopic joins the prefix and the columns of the topic.
func (s *source) buildTopic() error {
	topic := s.topic[:s.prefix]
	for _, col := range s.layout.topic {
		topic = colmap.AppendPart(topic, s.prefix, s.scan.field(col))
	}
	s.topic = topic
	return colmap.CheckTopic(topic, s.prefix)
}

// Encoding implements feed.Source.
func (s *source) Encoding() feed.Encoding {
	detail := maps.Clone(s.detail)
	switch s.scan.ends {
	case endCRLF:
		detail["line_end"] = "crlf"
	case endLF | endCRLF:
		detail["line_end"] = "mixed"
	default:
		detail["line_end"] = "lf"
	}
	detail["final_newline"] = s.scan.final
	if s.scan.blank > 0 {
		detail["blank_lines"] = strconv.FormatInt(s.scan.blank, 10)
	}
	return feed.Encoding{Format: Format.Name, Detail: detail}
}

// setHeader keeps the header line, which the scanner is at.
func (s *source) setHeader() {
	if line := s.scan.body; utf8.Valid(line) {
		s.detail["header"] = string(line)
	} else {
		s.detail["header_base64"] = base64.StdEncoding.EncodeToString(line)
	}
}

// detail is what is known before the first record:
//
//	columns        names as a JSON array; left out where there are none
//	delimiter      one character
//	layout         a column map that gives the same records
//	preset, zone   where they apply
//	date           of times of day
//	topic          the one topic, or what topics begin with
//	header         the header line without its line end (header_base64 where it
//	               is not UTF-8); left out where there is none
//	bom            "yes" or "no"
//	line_end       "lf", "crlf", or "mixed": then the file cannot be made again
//	final_newline  "yes", "no" or "cr"
//	blank_lines    how many were passed over; left out where there are none
func (o *opening) detail() map[string]string {
	s := o.sample
	detail := map[string]string{
		"delimiter": string(s.delim), "layout": o.layout.describe(s), "bom": "no",
	}
	if s.bom {
		detail["bom"] = "yes"
	}
	if len(s.names) > 0 {
		// Names are strings, which always marshal.
		columns, _ := json.Marshal(s.names)
		detail["columns"] = string(columns)
	}
	if o.preset != nil {
		detail["preset"] = o.preset.name
	}
	for key, value := range map[string]string{"zone": o.zone, "date": o.date, "topic": o.prefix + o.topic} {
		if value != "" {
			detail[key] = value
		}
	}
	return detail
}
