package parquet

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"path"
	"regexp"
	"strings"

	pq "github.com/parquet-go/parquet-go"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/feed/jsonl"
	"github.com/tapedeck/tapedeck/wire"
)

// Name is the name of the format.
const Name = "parquet"

// Format is the Parquet entry of the format table.
var Format = feed.Format{
	Name:   Name,
	Title:  "Parquet files, rows as JSON objects",
	Detect: detect,
	Open:   open,
	Decode: decode,
}

const columnsExample = "time=ts_event:ns,receive=ts_init,topic=venue+symbol,kind=trade"

// sureOfMagic is how sure detect is of the magic number.
const sureOfMagic = 100

// detect implements feed.Format. Encrypted files count, so that opening one can
// say what it is.
func detect(head []byte) int {
	if len(head) >= len(magic) && (string(head[:len(magic)]) == magic || string(head[:len(magic)]) == magicEncrypted) {
		return sureOfMagic
	}
	return 0
}

var errNoFile = errors.New("it is read at many places of the file: give the path of the file itself, not a pipe or a container; unpack it first where it is in gzip, zstd or a zip")

// open implements feed.Format.
func open(ctx context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	s := &source{ctx: ctx, detail: map[string]string{}}
	if err := s.open(in, opts); err != nil {
		return nil, fmt.Errorf("%s: %w", Name, err)
	}
	return s, nil
}

func (s *source) open(in *feed.Input, opts feed.Options) error {
	if err := checkOptions(opts); err != nil {
		return err
	}
	at, size, ok := in.ReaderAt()
	if !ok {
		return errNoFile
	}
	if err := checkFooter(at, size); err != nil {
		return err
	}
	s.at = at
	if err := guard(func() error { return s.openFile(size) }); err != nil {
		return err
	}
	m, err := s.columns(opts)
	if err != nil {
		return err
	}
	if err := s.useMap(m, opts); err != nil {
		return err
	}
	return s.useTopic(m, in, opts)
}

// openFile reads the directory and the schema.
func (s *source) openFile(size int64) error {
	var err error
	if s.file, err = pq.OpenFile(s.at, size, pq.SkipPageIndex(true), pq.SkipBloomFilters(true)); err != nil {
		return err
	}
	if s.root, err = newNode(s.file.Root(), &s.leaves, 0); err != nil {
		return err
	}
	s.lists = make([]bool, len(s.leaves))
	markLists(s.root, s.lists)
	s.group.buffer = bufio.NewReader(nil)
	s.detail["schema"] = s.file.Schema().String()
	return nil
}

func markLists(n *node, lists []bool) {
	if n.leaf != nil {
		lists[n.from] = n.repetition > 0
	}
	for _, c := range n.children {
		markLists(c, lists)
	}
}

func checkOptions(o feed.Options) error {
	for _, opt := range [...]struct{ name, value string }{
		{"preset", o.Preset}, {"date", o.Date}, {"zone", o.Zone}, {"header", o.Header}, {"dataset", o.Dataset},
	} {
		if opt.value != "" && (opt.name != "header" || opt.value != "auto") {
			return fmt.Errorf("--%s has no meaning for Parquet", opt.name)
		}
	}
	if u, ok := colmap.ParseUnit(o.TimeUnit); o.TimeUnit != "" && (!ok || u < colmap.S || u > colmap.Ns) {
		return fmt.Errorf("the unit of times is s, ms, us or ns, not %q", o.TimeUnit)
	}
	return nil
}

// columns returns the user's column map, or one that the names tell.
func (s *source) columns(opts feed.Options) (*colmap.Map, error) {
	if opts.Columns != "" {
		return colmap.Grammar{Format: Name, Example: columnsExample}.Parse(opts.Columns)
	}
	var names colmap.Names
	var leaves []*leaf
	for _, c := range s.root.children {
		if c.leaf != nil && !c.repeated {
			names, leaves = append(names, c.name), append(leaves, c.leaf)
		}
	}
	m := &colmap.Map{Kind: names.Kind()}
	if i, u := names.Time(); i >= 0 && !leaves[i].ofDay {
		m.Time = colmap.Time{Path: leaves[i].path, Unit: u}
	}
	if i, u := names.Receive(); i >= 0 && !leaves[i].ofDay {
		m.Receive = colmap.Time{Path: leaves[i].path, Unit: u}
	}
	if !m.Time.Present() && !m.Receive.Present() {
		m.Time.Path = onlyStamp(leaves)
	}
	if !m.Time.Present() && !m.Receive.Present() {
		return nil, fmt.Errorf("cannot tell which column is the time: %s; say so with --columns, for example %s", s.root.describe(), columnsExample)
	}
	for _, i := range names.Topic() {
		m.Topic = append(m.Topic, leaves[i].path)
	}
	return m, nil
}

// onlyStamp returns the one TIMESTAMP column, or no path.
func onlyStamp(leaves []*leaf) colmap.Path {
	var only colmap.Path
	for _, l := range leaves {
		if !l.stamp {
			continue
		}
		if only.Names != nil {
			return colmap.Path{}
		}
		only = l.path
	}
	return only
}

// useMap finds the map's columns.
func (s *source) useMap(m *colmap.Map, opts feed.Options) error {
	s.record.Kind = m.Kind
	for _, t := range []struct {
		at  *colmap.Time
		col *timeColumn
	}{{&m.Time, &s.time}, {&m.Receive, &s.receive}} {
		t.col.leaf = -1
		if !t.at.Present() {
			continue
		}
		l, err := s.root.find(t.at.Path)
		if err != nil {
			return err
		}
		switch {
		case l.ofDay:
			return fmt.Errorf("column %s is a time of day; there must be a date in the time", l.path)
		case l.unit != colmap.Auto:
			if t.at.Unit != colmap.Auto && t.at.Unit != l.unit {
				return fmt.Errorf("the unit of column %s is %s, not %s", l.path, l.unit, t.at.Unit)
			}
			t.at.Unit = l.unit
		case t.at.Unit == colmap.Auto && !l.text && !l.day:
			t.at.Unit, _ = colmap.ParseUnit(opts.TimeUnit)
		}
		*t.col = timeColumn{leaf: s.indexOf(l), unit: t.at.Unit}
	}
	for _, p := range m.Topic {
		l, err := s.root.find(p)
		if err != nil {
			return err
		}
		s.topicFrom = append(s.topicFrom, s.indexOf(l))
	}
	s.detail["layout"] = m.String()
	return nil
}

func (s *source) indexOf(l *leaf) int {
	for i := range s.leaves {
		if s.leaves[i] == l {
			return i
		}
	}
	panic("BUG: a leaf that is not in the schema")
}

var suffixes = regexp.MustCompile(`(?i)(\.(parquet|parq|pq|snappy|zstd|gz|gzip|brotli|br|lz4))+$`)

// useTopic decides what topics are made of. Detail's topic is the one topic, or
// what topics begin with.
func (s *source) useTopic(m *colmap.Map, in *feed.Input, opts feed.Options) error {
	topic := opts.Topic
	if len(m.Topic) > 0 {
		topic = colmap.Prefix(topic)
	} else if topic == "" {
		if topic = suffixes.ReplaceAllString(path.Base(strings.ReplaceAll(in.Name, `\`, "/")), ""); in.Name == "-" || topic == "" {
			return errors.New("nothing names the topic; give it with --topic, or a column with topic= in --columns")
		}
	}
	if len(topic) > wire.TopicSizeMax {
		return wire.ErrTopicSize
	}
	s.topic, s.prefix = []byte(topic), len(topic)
	if topic != "" {
		s.detail["topic"] = topic
	}
	return nil
}

// decode implements feed.Format: a field for each column, nested ones as JSON.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	dst, err := jsonl.AppendFields(dst, body)
	if err != nil {
		return dst, errors.New("parquet: the body is not a JSON object")
	}
	return dst, nil
}
