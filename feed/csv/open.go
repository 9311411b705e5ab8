package csv

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

// Format is the CSV entry of the format table.
var Format = feed.Format{
	Name:   "csv",
	Title:  "CSV with a header, a preset or a column map",
	Detect: Detect,
	Open:   Open,
	Decode: Decode,
}

// Certainties that Detect gives.
const (
	sureOfTimes   = 60 // even columns, and a time among them
	sureOfColumns = 30 // even columns
	sureOfSome    = 15 // columns in most records
)

// Detect implements feed.Format: text whose records have the same number of
// columns, two or more. JSON and XML are not CSV, whatever commas they hold.
func Detect(head []byte) int {
	s, err := takeSample(head, len(head) < feed.HeadSize)
	if err != nil || len(s.rows) == 0 || s.columns < 2 || isMarkup(s) {
		return 0
	}
	const most = 0.8
	if s.even < 1 {
		if s.even < most {
			return 0
		}
		return sureOfSome
	}
	if err := s.setHeader("auto", false); err != nil {
		return 0
	}
	if p, _ := findPreset("", s); p != nil {
		return sureOfTimes
	}
	if _, err := s.guessLayout(); err == nil {
		return sureOfTimes
	}
	return sureOfColumns
}

// isMarkup reports whether the first line looks like JSON, with or without
// something before it, or XML.
func isMarkup(s *sample) bool {
	line := strings.TrimSpace(s.line)
	return strings.HasPrefix(line, "{") || strings.HasPrefix(line, "[") || strings.HasPrefix(line, "<?") ||
		strings.HasPrefix(line, "<!") || strings.Contains(s.rows[0][0], "{")
}

// opening is what Open gathers.
type opening struct {
	in     *feed.Input
	opts   feed.Options
	sample *sample
	preset *preset
	layout *layout

	day  wire.Nanos
	date string // as YYYY-MM-DD, where times of day need one
	zone string
	loc  *time.Location

	prefix string // what each topic begins with, a dot at its end included
	topic  string // the one topic, where no column has it
}

// Open implements feed.Format. It reads the header and the options, and fails
// where they do not fit each other.
func Open(_ context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	s, err := takeSample(in.Head, len(in.Head) < feed.HeadSize)
	if err != nil {
		return nil, err
	}
	o := &opening{in: in, opts: opts, sample: s}
	for _, step := range []func() error{o.findLayout, o.findUnits, o.findZone, o.findDate, o.findTopic} {
		if err := step(); err != nil {
			return nil, err
		}
	}
	return o.source()
}

// findLayout decides on the header, the preset and the columns.
func (o *opening) findLayout() error {
	if o.opts.Dataset != "" {
		return errors.New("csv: --dataset is for another format; --topic sets what topics begin with")
	}
	if o.opts.Preset != "" && o.opts.Columns != "" {
		return errors.New("csv: --preset and --columns exclude each other")
	}
	var columns *colmap.Map
	if o.opts.Columns != "" {
		var err error
		if columns, err = grammar.Parse(o.opts.Columns); err != nil {
			return err
		}
	}
	s := o.sample
	if err := s.setHeader(o.opts.Header, columns != nil && byName(columns)); err != nil {
		return err
	}
	var err error
	if columns != nil {
		o.layout, err = s.resolve(columns)
		return err
	}
	if o.preset, err = findPreset(o.opts.Preset, s); err != nil {
		return err
	}
	if o.preset == nil {
		o.layout, err = s.guessLayout()
		return err
	}
	if columns, err = grammar.Parse(o.preset.columns); err != nil {
		return err
	}
	if o.layout, err = s.resolve(columns); err != nil {
		return fmt.Errorf("csv: the preset %s does not fit: %w", o.preset.name, err)
	}
	if !s.header && o.preset.names != nil {
		s.names = o.preset.names(s.columns)
	}
	return nil
}

func (o *opening) findUnits() error {
	given := colmap.Auto
	if name := o.opts.TimeUnit; name != "" {
		u, ok := colmap.ParseUnit(name)
		if !ok || u < colmap.S || u > colmap.Ns {
			return fmt.Errorf("csv: the unit of times is s, ms, us or ns, not %q", name)
		}
		given = u
	}
	if err := o.sample.setUnit(&o.layout.time, given); err != nil {
		return err
	}
	return o.sample.setUnit(&o.layout.receive, given)
}

// times returns the two times that the layout may have.
func (l *layout) times() [2]timeColumns { return [2]timeColumns{l.time, l.receive} }

func (o *opening) findZone() error {
	uses := false
	for _, t := range o.layout.times() {
		uses = uses || t.present() && (t.unit == colmap.ISO || t.unit.TimeOfDay())
	}
	o.zone = o.opts.Zone
	if o.zone == "" && o.preset != nil {
		o.zone = o.preset.zone
	}
	if o.opts.Zone != "" && !uses {
		return errors.New("csv: the times are counts since 1970 UTC, so --zone has no meaning")
	}
	if o.zone == "Local" {
		return errors.New("csv: name the time zone, as in Europe/Berlin, so that the import gives the same everywhere")
	}
	var err error
	if o.loc, err = time.LoadLocation(o.zone); err != nil {
		return fmt.Errorf("csv: unknown time zone %q; zones are named as in America/New_York", o.zone)
	}
	return nil
}

func (o *opening) findDate() error {
	uses := false
	for _, t := range o.layout.times() {
		uses = uses || t.present() && t.unit.TimeOfDay() && t.date < 0
	}
	if !uses {
		if o.opts.Date != "" {
			return errors.New("csv: the times have a date, so --date has no meaning")
		}
		return nil
	}
	if o.date = o.opts.Date; o.date != "" {
		day, n, err := colmap.ParseDate([]byte(o.date))
		if err != nil || n != len(o.date) || n != len("2006-01-02") {
			return fmt.Errorf("csv: %q is not a date; dates are YYYY-MM-DD", o.date)
		}
		o.day = day
		return nil
	}
	date, day, ok, err := dateFromName(o.in)
	if err != nil {
		return fmt.Errorf("csv: %w", err)
	}
	if !ok {
		return errors.New("csv: the times are times of day, and the file's name has no date (YYYYMMDD, MMDDYYYY or YYYY-MM-DD); give it with --date")
	}
	o.date, o.day = date, day
	return nil
}

// findTopic decides what topics are made of.
func (o *opening) findTopic() error {
	prefix := colmap.Prefix(o.opts.Topic)
	if len(o.layout.topic) > 0 {
		o.prefix = prefix
		return nil
	}
	if o.preset != nil && o.preset.symbol != nil {
		if symbol := o.preset.symbol(o.in); symbol != "" {
			o.topic = prefix + symbol
		}
	}
	if o.topic == "" {
		o.topic = o.opts.Topic
	}
	if o.topic == "" {
		return fmt.Errorf("csv: nothing names the topic; give it with --topic, or a column with topic= in --columns: %s", o.sample.describe())
	}
	if len(o.topic) > wire.TopicSizeMax {
		return wire.ErrTopicSize
	}
	return nil
}

// source starts reading: it passes over byte order mark and header.
func (o *opening) source() (feed.Source, error) {
	if o.sample.bom {
		if _, err := io.CopyN(io.Discard, o.in, int64(len(byteOrderMark))); err != nil {
			return nil, err
		}
	}
	src := &source{
		scan:    newScanner(o.in, o.sample.delim, o.layout.columnsWanted()),
		layout:  *o.layout,
		columns: o.sample.columns,
		names:   o.sample.names,
		detail:  o.detail(),
		time:    colmap.NewClock(o.layout.time.unit, o.day, o.loc),
		receive: colmap.NewClock(o.layout.receive.unit, o.day, o.loc),
		topic:   []byte(o.prefix + o.topic),
		prefix:  len(o.prefix),
	}
	src.record.Kind = o.layout.kind
	if o.sample.header {
		if err := src.scan.next(); err != nil {
			return nil, err
		}
		src.setHeader()
	}
	return src, nil
}
