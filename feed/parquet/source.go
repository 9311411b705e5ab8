package parquet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"

	pq "github.com/parquet-go/parquet-go"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

var (
	errNoTime = errors.New("the row has no time")
	errBody   = fmt.Errorf("as JSON the row is longer than %d bytes", wire.BodySizeMax)
)

// timeColumn is where a time is; leaf is -1 where there is none.
type timeColumn struct {
	leaf int
	unit colmap.Unit
}

// source implements feed.Source.
type source struct {
	ctx    context.Context
	file   *pq.File
	at     io.ReaderAt
	root   *node
	leaves []*leaf
	lists  []bool // by leaf: whether a row may have many values
	detail map[string]string

	time, receive timeColumn
	topicFrom     []int
	topic         []byte // of the current record, the prefix first
	prefix        int

	group group
	next  int   // index of the row group behind group
	row   int64 // number of the current row in the file, from 1

	record  feed.Record
	body    []byte
	scratch []byte
}

// Next implements feed.Source.
func (s *source) Next() (*feed.Record, error) {
	for s.group.rows == 0 {
		if err := s.nextGroup(); err != nil {
			return nil, err
		}
	}
	s.group.rows--
	s.row++
	for i := range s.group.cursors {
		if err := s.group.cursors[i].nextRow(); err != nil {
			return nil, s.badGroup(columnError(s.leaves[i], err))
		}
	}
	if err := s.read(); err != nil {
		return nil, &feed.BadRecord{Place: fmt.Sprintf("row %d", s.row), Err: err}
	}
	return &s.record, nil
}

// nextGroup moves to the next row group. It returns io.EOF behind the last.
func (s *source) nextGroup() error {
	if err := s.ctx.Err(); err != nil {
		return context.Cause(s.ctx)
	}
	if err := s.group.close(); err != nil {
		return err
	}
	if s.next == len(s.file.Metadata().RowGroups) {
		return io.EOF
	}
	s.next++
	if err := s.group.open(s.file, s.at, s.next-1, s.leaves, s.lists); err != nil {
		s.row += max(s.file.Metadata().RowGroups[s.next-1].NumRows, 0)
		return s.badGroup(err)
	}
	return nil
}

// badGroup gives the row group up. An error that is the context's, and not the
// file's, is final.
func (s *source) badGroup(err error) error {
	if s.ctx.Err() != nil {
		return context.Cause(s.ctx)
	}
	place := fmt.Sprintf("row group %d", s.next)
	if s.group.rows > 0 || s.group.cursors != nil && s.group.cursors[0].pages != nil {
		place += fmt.Sprintf(", row %d", s.row)
		s.row += s.group.rows
	}
	// What closing finds wrong is a consequence of err.
	_ = s.group.close()
	return &feed.BadRecord{Place: place, Err: err}
}

// read takes the current row into the record.
func (s *source) read() error {
	if err := s.readTimes(); err != nil {
		return err
	}
	if len(s.topicFrom) > 0 {
		if err := s.readTopic(); err != nil {
			return err
		}
	}
	w := rowWriter{leaves: s.leaves, cursors: s.group.cursors}
	var err error
	if s.body, err = w.appendGroup(s.body[:0], s.root); err != nil {
		return err
	}
	if len(s.body) > wire.BodySizeMax {
		return errBody
	}
	s.record.Topic, s.record.Body = s.topic, s.body
	return nil
}

// readTimes sets the record's times and their flags.
func (s *source) readTimes() error {
	event, hasEvent, err := s.readTime(s.time)
	if err != nil {
		return err
	}
	receive, hasReceive, err := s.readTime(s.receive)
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

// readTime reads one time of the row. Null is no time.
func (s *source) readTime(t timeColumn) (wire.Nanos, bool, error) {
	if t.leaf < 0 {
		return 0, false, nil
	}
	v := &s.group.cursors[t.leaf].row[0]
	if v.IsNull() {
		return 0, false, nil
	}
	at, err := s.leaves[t.leaf].time(v, t.unit, &s.scratch)
	if err != nil {
		return 0, false, fmt.Errorf("time in %w", columnError(s.leaves[t.leaf], err))
	}
	return at, true, nil
}

// readTopic joins the prefix and the columns of the topic.
func (s *source) readTopic() error {
	topic := s.topic[:s.prefix]
	for _, i := range s.topicFrom {
		v := &s.group.cursors[i].row[0]
		if v.IsNull() {
			continue
		}
		var err error
		if s.scratch, err = s.leaves[i].plain(s.scratch[:0], v); err != nil {
			return columnError(s.leaves[i], err)
		}
		topic = colmap.AppendPart(topic, s.prefix, s.scratch)
	}
	s.topic = topic
	return colmap.CheckTopic(topic, s.prefix)
}

// Encoding implements feed.Source.
func (s *source) Encoding() feed.Encoding {
	return feed.Encoding{Format: Name, Detail: maps.Clone(s.detail)}
}
