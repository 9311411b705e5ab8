package dbn

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"math"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/window"
	"github.com/tapedeck/tapedeck/wire"
)

// source reads one file or fragment. It is a feed.Source.
type source struct {
	rec      feed.Record
	win      recordWindow
	layout   *layout // of the record before
	topics   *topics
	meta     *metadata // nil in a fragment
	encoding feed.Encoding
	err      error // final, returned from then on
	lastTime wire.Nanos
	head     uint16 // length byte and rtype that layout and kind belong to
	kind     wire.Kind
	headSeen bool
}

// Next implements feed.Source.
func (s *source) Next() (*feed.Record, error) {
	if s.err != nil {
		return nil, s.err
	}
	b := s.win.Rest()
	for len(b) < headSize || len(b) < int(b[lengthOff])*wordSize {
		if len(b) >= headSize && b[lengthOff] < headSize/wordSize {
			break // too short to be a record at all
		}
		want := headSize
		if len(b) >= headSize {
			want = int(b[lengthOff]) * wordSize
		}
		if err := s.win.Fill(want); err != nil {
			return nil, s.end(err)
		}
		b = s.win.Rest()
	}
	if head := binary.LittleEndian.Uint16(b); head != s.head || !s.headSeen {
		if err := s.newKind(b); err != nil {
			return nil, err
		}
	}
	return s.record(b[: int(b[lengthOff])*wordSize : int(b[lengthOff])*wordSize])
}

// record turns the bytes of one whole record into s.rec. The layout is set.
func (s *source) record(b []byte) (*feed.Record, error) {
	l := s.layout
	event := binary.LittleEndian.Uint64(b[eventOff:])
	recv := uint64(undefinedTime)
	if l.recvOff != 0 {
		recv = binary.LittleEndian.Uint64(b[l.recvOff:])
	}
	var flags wire.RecordFlags
	if l.flagsOff != 0 && b[l.flagsOff]&flagSnapshot != 0 {
		flags = wire.FlagSnapshot
	}
	id := binary.LittleEndian.Uint32(b[instrumentOff:])
	if l.rtype == rtypeMapping {
		if err := s.topics.learn(l, b, id); err != nil {
			s.err = s.at(err)
			return nil, s.err
		}
	}
	publisher := binary.LittleEndian.Uint16(b[publisherOff:])
	s.rec.Topic = s.topics.of(l, b, publisher, id, indexTime(event, recv))
	s.rec.Body = b
	s.rec.Kind = s.kind
	s.times(event, recv, flags)
	s.win.Pass(len(b))
	return &s.rec, nil
}

// times sets the record's times and flags. A time that is undefined, or that 63
// bits cannot hold, is taken from the other one. Where the record has neither,
// it gets the receive time of the record before it, so that it keeps its place.
func (s *source) times(event, recv uint64, flags wire.RecordFlags) {
	noEvent, noRecv := event > math.MaxInt64, recv > math.MaxInt64
	if noEvent || noRecv {
		if noEvent {
			flags |= wire.FlagNoEventTime
		}
		if noRecv {
			flags |= wire.FlagNoReceiveTime
		}
		switch {
		case noEvent && noRecv:
			event, recv = uint64(s.lastTime), uint64(s.lastTime)
		case noEvent:
			event = recv
		default:
			recv = event
		}
	}
	s.rec.Event, s.rec.Receive, s.rec.Flags = wire.Nanos(event), wire.Nanos(recv), flags
	s.lastTime = s.rec.Receive
}

// newKind finds the layout for a record head that differs from the one before,
// or moves behind what is no record and says so.
func (s *source) newKind(b []byte) error {
	size := int(b[lengthOff]) * wordSize
	if isHead(b) {
		s.err = s.at(ErrSecondHead)
		return s.err
	}
	l, tsOut := findLayout(b[rtypeOff], size)
	if l == nil || size < headSize || (tsOut && s.meta != nil && !s.meta.tsOut) {
		return s.badLength(b[rtypeOff], size)
	}
	s.layout, s.kind, s.head, s.headSeen = l, l.kind, binary.LittleEndian.Uint16(b), true
	if l.rtype == rtypeMBP1 && s.meta != nil && s.meta.schema == schemaTBBO {
		s.kind = wire.KindTrade // the record of a trade, with the quote before it
	}
	return nil
}

// badLength skips to the next place where a record begins and returns a
// *feed.BadRecord for the place that is none, or the final error that ended the
// search.
func (s *source) badLength(rtype uint8, size int) error {
	start := s.win.Offset()
	if err := s.win.resync(size); err != nil && !window.Ended(err) {
		s.err = s.at(err)
		return s.err
	}
	return &feed.BadRecord{
		Place: fmt.Sprintf("offset %d", start),
		Err: fmt.Errorf("%w: %d bytes for type 0x%02x; %d bytes skipped",
			ErrLength, size, rtype, s.win.Offset()-start),
	}
}

// end ends the source for an error of the window. What is left of a record is
// reported once as a bad record; behind it there is nothing.
func (s *source) end(err error) error {
	left := len(s.win.Rest())
	switch {
	case err == io.EOF && left == 0:
		s.err = io.EOF
	case window.Ended(err) && isHead(s.win.Rest()):
		s.err = s.at(ErrSecondHead) // shorter than the record that it would be
	case window.Ended(err):
		s.err = io.EOF
		bad := s.brokenOff(err, left)
		s.win.Pass(left)
		return bad
	default:
		s.err = s.at(err)
	}
	return s.err
}

// brokenOff is the bad record for an input that ends where it should not, with
// what the reader says about it, if anything.
func (s *source) brokenOff(err error, left int) *feed.BadRecord {
	reason := fmt.Errorf("%w: only %d bytes of a record are left", ErrTruncated, left)
	if err != io.EOF {
		reason = fmt.Errorf("%w: %w", reason, err)
	}
	return &feed.BadRecord{Place: fmt.Sprintf("offset %d", s.win.Offset()), Err: reason}
}

// at says where the source is.
func (s *source) at(err error) error { return &OffsetError{s.win.Offset(), err} }

// Encoding implements feed.Source.
func (s *source) Encoding() feed.Encoding {
	return feed.Encoding{Format: s.encoding.Format, Detail: maps.Clone(s.encoding.Detail)}
}

// open reads the file head where there is one and readies the source.
func open(ctx context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	if err := checkOptions(opts); err != nil {
		return nil, err
	}
	s := &source{win: recordWindow{window.New(ctx, in.Reader, window.Size)}}
	switch err := s.win.Fill(preludeSize); {
	case err == io.EOF && len(s.win.Rest()) == 0:
		return nil, ErrEmpty
	case err != nil && !window.Ended(err):
		return nil, s.at(err)
	}
	table, dataset := &symbolTable{}, opts.Dataset
	if hasMagic(s.win.Rest()) {
		var err error
		if s.meta, err = readMetadata(&s.win); err != nil {
			return nil, err
		}
		if dataset, err = s.meta.chooseDataset(opts.Dataset); err != nil {
			return nil, err
		}
		if table, err = newSymbolTable(s.meta); err != nil {
			return nil, err
		}
		if s.meta.start <= math.MaxInt64 {
			s.lastTime = wire.Nanos(s.meta.start)
		}
	}
	var err error
	if s.encoding, err = newEncoding(s.meta, dataset); err != nil {
		return nil, err
	}
	if s.meta != nil {
		s.meta.raw = nil // the encoding has it, packed where it is large
	}
	s.topics, err = newTopics(opts.Topic, dataset, table)
	if err != nil {
		return nil, err
	}
	return s, nil
}

// readMetadata reads and parses the file head that w stands at. It takes memory
// for what the input really has, not for what the head says.
func readMetadata(w *recordWindow) (*metadata, error) {
	if len(w.Rest()) < preludeSize {
		return nil, &OffsetError{w.Offset(), fmt.Errorf("%w inside the file head", ErrTruncated)}
	}
	size, err := checkPrelude(w.Rest())
	if err != nil {
		return nil, err
	}
	raw, err := w.take(nil, size)
	if err != nil && window.Ended(err) {
		return nil, &OffsetError{w.Offset(),
			fmt.Errorf("%w inside the file head, after %d of its %d bytes", ErrTruncated, len(raw), size)}
	}
	if err != nil {
		return nil, &OffsetError{w.Offset(), err}
	}
	return parseMetadata(raw)
}

// chooseDataset returns the dataset of a file. An option may fill it in but not
// contradict it.
func (m *metadata) chooseDataset(option string) (string, error) {
	if option != "" && m.dataset != "" && option != m.dataset {
		return "", fmt.Errorf("%w: dataset %q: the file head names %q", ErrOption, option, m.dataset)
	}
	if m.dataset == "" {
		return option, nil
	}
	return m.dataset, nil
}
