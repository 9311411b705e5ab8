package jsonl

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/feed/lines"
	"github.com/tapedeck/tapedeck/wire"
)

// Name is the name of the format.
const Name = "jsonl"

// Format is the JSON lines entry of the format table.
var Format = feed.Format{
	Name:   Name,
	Title:  "JSON lines, alone or behind a time of receipt; Binance streams",
	Detect: detect,
	Open:   open,
	Decode: Decode,
}

const columnsExample = "receive=#1:ns,time=data.T:ms,topic=stream,kind=trade"

// Certainties that detect gives.
const (
	sureOfLines = 90 // whole lines, all of them JSON
	sureOfStart = 40 // one line that goes on behind the head
)

// sampleLines is how many lines detect and open look at.
const sampleLines = 256

// sample is what the head of an input shows.
type sample struct {
	bom       bool
	texts     [][]byte // the JSON of the first lines that are good
	bad       int      // how many of the first lines are not
	prefix    []byte   // before the first JSON; nil where there is none
	separator byte
	long      bool // the first line goes on behind the head, and begins as one should
}

// takeSample looks at head, which is the whole input where whole is set.
func takeSample(head []byte, whole bool) *sample {
	s, scan, seen := &sample{}, newScanner(nil), 0
	head, s.bom = bytes.CutPrefix(head, byteOrderMark)
	for len(head) > 0 && seen < sampleLines {
		line, rest, ended := bytes.Cut(head, []byte("\n"))
		if !ended && !whole {
			prefix, _, text := splitLine(line)
			s.long = seen == 0 && beginsJSON(text) && (prefix == nil || isCanonical(prefix))
			break
		}
		head = rest
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		seen++
		prefix, separator, text := splitLine(bytes.TrimSuffix(line, []byte("\r")))
		if !scan.scan(text) {
			s.bad++
			continue
		}
		if len(s.texts) == 0 {
			s.prefix, s.separator = prefix, separator
		}
		s.texts = append(s.texts, text)
	}
	return s
}

// beginsJSON reports whether b begins as an object or array does.
func beginsJSON(b []byte) bool {
	i := blank(b, 0)
	if i == len(b) || b[i] != '{' && b[i] != '[' {
		return false
	}
	object := b[i] == '{'
	i = blank(b, i+1)
	return i < len(b) && (b[i] == '"' || !object && (b[i] == '{' || b[i] == '[' || b[i] == '-' || isDigit(b[i])))
}

// detect implements feed.Format: every line of the head is JSON.
func detect(head []byte) int {
	s := takeSample(head, len(head) < feed.HeadSize)
	switch {
	case len(s.texts) > 0 && s.bad*10 <= len(s.texts):
		return sureOfLines
	case s.long:
		return sureOfStart
	}
	return 0
}

// open implements feed.Format.
func open(_ context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	src, err := openSource(in, opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	return src, nil
}

func openSource(in *feed.Input, opts feed.Options) (*source, error) {
	if err := checkOptions(opts); err != nil {
		return nil, err
	}
	s := takeSample(in.Head, len(in.Head) < feed.HeadSize)
	src := &source{
		lines: lines.NewReader(in), use: prefixNone, separator: s.separator, bom: s.bom,
		detail: map[string]string{"bom": "no"},
	}
	if s.bom {
		src.detail["bom"] = "yes"
	}
	first, _, _ := bytes.Cut(bytes.TrimPrefix(in.Head, byteOrderMark), []byte("\n"))
	hasPrefix := s.prefix != nil || len(s.texts) == 0 && hasPrefix(first)
	if s.separator == 0 && hasPrefix {
		_, src.separator, _ = splitLine(first)
	}
	isPreset := opts.Preset == binanceName || opts.Preset == "" && opts.Columns == "" && isBinance(s.texts)
	var err error
	if isPreset {
		src.useBinance(s, hasPrefix, opts)
	} else {
		err = src.useMap(s, hasPrefix, opts)
	}
	if err != nil {
		return nil, err
	}
	if len(src.topic) > wire.TopicSizeMax {
		return nil, wire.ErrTopicSize
	}
	src.scan = newScanner(src.what.paths())
	src.describe()
	return src, nil
}

func checkOptions(o feed.Options) error {
	for _, opt := range [...]struct{ name, value string }{
		{"date", o.Date}, {"zone", o.Zone}, {"header", o.Header}, {"dataset", o.Dataset},
	} {
		if opt.value != "" && (opt.name != "header" || opt.value != "auto") {
			return fmt.Errorf("--%s has no meaning for JSON lines", opt.name)
		}
	}
	if o.Preset != "" && o.Columns != "" {
		return errors.New("--preset and --columns exclude each other")
	}
	if o.Preset != "" && o.Preset != binanceName {
		return fmt.Errorf("unknown preset %q; known: %s", o.Preset, binanceName)
	}
	if u, ok := colmap.ParseUnit(o.TimeUnit); o.TimeUnit != "" && (!ok || u < colmap.S || u > colmap.Ns) {
		return fmt.Errorf("the unit of times is s, ms, us or ns, not %q", o.TimeUnit)
	}
	return nil
}

// useBinance reads by the preset.
func (s *source) useBinance(sm *sample, hasPrefix bool, opts feed.Options) {
	topic := binancePrefix
	if opts.Topic != "" {
		topic = opts.Topic
	}
	s.what = &binance{symbol: onlySymbol(sm.texts)}
	s.topic = []byte(colmap.Prefix(topic))
	s.prefix = len(s.topic)
	s.detail["preset"] = binanceName
	s.detail["topic"] = string(s.topic)
	if hasPrefix {
		s.use, s.unit = prefixReceive, prefixUnit(sm.prefix, opts)
	}
}

// useMap reads by the user's column map, or one that the names tell.
func (s *source) useMap(sm *sample, hasPrefix bool, opts feed.Options) error {
	var m *colmap.Map
	var err error
	if opts.Columns != "" {
		m, err = colmap.Grammar{Format: Name, Example: columnsExample}.Parse(opts.Columns)
	} else {
		m, err = guess(sm, hasPrefix)
	}
	if err != nil {
		return err
	}
	if hasPrefix && !m.Receive.Present() && m.Time.Path.Place == 0 {
		m.Receive.Path = colmap.Path{Place: 1}
	}
	if err := s.usePrefix(m, sm, hasPrefix, opts); err != nil {
		return err
	}
	for _, t := range []*colmap.Time{&m.Time, &m.Receive} {
		if t.Present() && t.Path.Place == 0 && t.Unit == colmap.Auto && isCount(sm, t.Path) {
			t.Unit, _ = colmap.ParseUnit(opts.TimeUnit)
		}
	}
	s.what = newMapped(m)
	s.detail["layout"] = m.String()
	s.topic = []byte(opts.Topic)
	if len(m.Topic) > 0 {
		s.topic = []byte(colmap.Prefix(opts.Topic))
	} else if s.whole = true; opts.Topic == "" {
		return fmt.Errorf("nothing names the topic; give it with --topic, or a path with topic= in --columns, as in %s", columnsExample)
	}
	s.prefix = len(s.topic)
	if opts.Topic != "" {
		s.detail["topic"] = string(s.topic)
	}
	return nil
}

// usePrefix finds what the map says of the time before the JSON.
func (s *source) usePrefix(m *colmap.Map, sm *sample, hasPrefix bool, opts feed.Options) error {
	if hasPrefix {
		s.use = prefixLost
	}
	for _, p := range m.Topic {
		if p.Place > 0 {
			return fmt.Errorf("the topic is made of paths, and %s is none", p)
		}
	}
	for _, t := range []struct {
		time *colmap.Time
		use  string
	}{{&m.Time, prefixTime}, {&m.Receive, prefixReceive}} {
		switch {
		case t.time.Path.Place == 0:
			continue
		case t.time.Path.Place > 1:
			return fmt.Errorf("there is no column %s: before the JSON there is one, #1", t.time.Path)
		case !hasPrefix:
			return errors.New("there is no column #1: the first line has no time before the JSON")
		case s.use != prefixLost:
			return errors.New("#1 is the event time or the time of receipt, not both")
		}
		if t.time.Unit == colmap.Auto {
			t.time.Unit = prefixUnit(sm.prefix, opts)
		}
		s.use, s.unit = t.use, t.time.Unit
	}
	return nil
}

// prefixUnit is the unit of the times before the JSON: the user's, or what the
// size of the first one tells.
func prefixUnit(first []byte, opts feed.Options) colmap.Unit {
	if u, ok := colmap.ParseUnit(opts.TimeUnit); ok {
		return u
	}
	at, err := colmap.Auto.ParseTime(first)
	if err != nil {
		return colmap.Auto
	}
	for u := colmap.S; u <= colmap.Ns; u++ {
		if as, err := u.ParseTime(first); err == nil && as == at {
			return u
		}
	}
	return colmap.Auto
}

// describe adds what is known before the first record to the detail:
//
//	preset         "binance", or else
//	layout         a column map that gives the same records
//	topic          the one topic, or what topics begin with
//	prefix         the time before the JSON: "none", "receive" or "time" as what
//	               it is taken for, or "lost" where the map has no use for it
//	prefix_unit    of it
//	separator      what is behind it, " " or a tab
//	prefix_odd     on how many lines it cannot be made again: it is not a plain
//	               whole number, or has another separator; left out where on none
//	bom            "yes" or "no"
//	blank_lines    how many were passed over; left out where there are none
//
// and what lines.Reader.Describe says.
func (s *source) describe() {
	s.detail["prefix"] = s.use
	if s.use != prefixNone {
		s.detail["separator"] = string(s.separator)
		s.detail["prefix_unit"] = s.unit.String()
	}
}
