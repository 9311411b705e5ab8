package itch

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/feed/window"
	"github.com/tapedeck/tapedeck/wire"
)

// file reads a file of messages, each after its length. It is a feed.Source and a
// feed.Noter.
type file struct {
	rec       feed.Record
	win       window.Window
	directory *directory
	midnight  wire.Nanos
	encoding  feed.Encoding
	err       error // final, returned from then on
	unknown   int64
	ends      int64
}

func openFile(ctx context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	if err := checkNames(&opts); err != nil {
		return nil, err
	}
	date, err := dateOf(in, &opts)
	if err != nil {
		return nil, err
	}
	c, err := newClock(&opts)
	if err != nil {
		return nil, err
	}
	if err := c.setDate(date); err != nil {
		return nil, err
	}
	venue := opts.Dataset
	if venue == "" {
		venue = venueNasdaq
	}
	f := &file{
		win: window.New(ctx, in.Reader, window.Size), directory: newDirectory(opts.Topic, venue), midnight: c.midnight,
		encoding: feed.Encoding{Format: Name, Detail: map[string]string{
			keyVersion: version, keyFraming: framingFile, keyDate: date, keyVenue: venue,
		}},
	}
	switch err := f.win.Fill(1); {
	case err == io.EOF:
		return nil, ErrEmpty
	case err != nil && !window.Ended(err):
		return nil, err
	}
	return f, nil
}

// Keys and values of Encoding.Detail.
const (
	keyVersion = "version"
	keyFraming = "framing"
	keyDate    = "date"
	keyVenue   = "venue"

	version     = "5.0"
	framingFile = "file"
	framingMold = "moldudp64"
)

// Next implements feed.Source.
func (f *file) Next() (*feed.Record, error) {
	for {
		b := f.win.Rest()
		if len(b) < prefixSize || len(b)-prefixSize < int(binary.BigEndian.Uint16(b)) {
			if err := f.fill(); err != nil {
				return nil, err
			}
			b = f.win.Rest()
		}
		size := int(binary.BigEndian.Uint16(b))
		if size == 0 { // BinaryFILE ends a session so
			f.ends++
			f.win.Pass(prefixSize)
			continue
		}
		body := b[prefixSize:][:size:size]
		if err := check(body); err != nil {
			return nil, f.bad(err, body)
		}
		f.win.Pass(prefixSize + size)
		m := &messages[body[0]]
		if m.size == 0 {
			f.unknown++
		}
		f.rec.Topic = f.directory.topic(m, body)
		f.rec.Body, f.rec.Kind = body, m.kind
		f.rec.Event = f.midnight + wire.Nanos(sinceMidnight(body))
		f.rec.Receive, f.rec.Flags = f.rec.Event, wire.FlagNoReceiveTime
		return &f.rec, nil
	}
}

// fill makes the next message available, whole. Its error is that of Next.
func (f *file) fill() error {
	if f.err != nil {
		return f.err
	}
	err := f.win.Fill(prefixSize)
	if err == nil {
		err = f.win.Fill(prefixSize + int(binary.BigEndian.Uint16(f.win.Rest())))
	}
	if err == nil {
		return nil
	}
	left := len(f.win.Rest())
	switch {
	case err == io.EOF && left == 0:
		f.err = io.EOF
	case window.Ended(err):
		f.err = io.EOF
		place := f.place()
		f.win.Pass(left)
		reason := fmt.Errorf("%w: only %d bytes of a message are left", ErrTruncated, left)
		if err != io.EOF {
			reason = fmt.Errorf("%w: %w", reason, err)
		}
		return &feed.BadRecord{Place: place, Err: reason}
	default:
		f.err = fmt.Errorf("%s: %w", f.place(), err)
	}
	return f.err
}

func (f *file) place() string { return fmt.Sprintf("offset %d", f.win.Offset()) }

// bad skips to where messages begin again and returns a *feed.BadRecord for the
// place, or the final error that ended the search.
func (f *file) bad(reason error, body []byte) error {
	place, start := f.place(), f.win.Offset()
	text := fmt.Sprintf("%d bytes for type %q", len(body), body[0])
	if err := f.resync(prefixSize + len(body)); err != nil && !window.Ended(err) {
		f.err = fmt.Errorf("%s: %w", f.place(), err)
		return f.err
	}
	return &feed.BadRecord{Place: place,
		Err: fmt.Errorf("%w: %s; %d bytes skipped", reason, text, f.win.Offset()-start)}
}

// lookahead is what believable wants to see: two messages.
const lookahead = 2 * (prefixSize + sizeMax)

// sizeMax is the size of the longest message.
const sizeMax = 50

// resync moves to the next place where messages begin: behind the bad one where
// its length is right, else to the first byte where one begins. The error is the
// reader's where the input ends first; all of it is passed then.
func (f *file) resync(size int) error {
	if err := f.win.Fill(size + lookahead); err != nil && !window.Ended(err) {
		return err
	}
	if b := f.win.Rest(); len(b) >= size && f.believable(b[size:]) {
		f.win.Pass(size)
		return nil
	}
	for {
		f.win.Pass(1)
		err := f.win.Fill(lookahead)
		b := f.win.Rest()
		if err != nil && (!window.Ended(err) || len(b) == 0) {
			return err
		}
		if f.believable(b) {
			return nil
		}
	}
}

// believable reports whether a message of a known type begins at b, with another
// one or the end of the input behind it.
func (f *file) believable(b []byte) bool {
	first, ok := one(b)
	if !ok {
		return first == 0 && len(b) == 0
	}
	if _, ok = one(b[first:]); ok {
		return true
	}
	return len(b) == first && f.win.Failed() != nil && window.Ended(f.win.Failed())
}

// one returns the size with its length of the message at b, if there is one of a
// known type.
func one(b []byte) (int, bool) {
	if len(b) < prefixSize {
		return 0, false
	}
	size := int(binary.BigEndian.Uint16(b))
	if len(b)-prefixSize < size || !known(b[prefixSize:][:size]) {
		return 0, false
	}
	return prefixSize + size, true
}

// Encoding implements feed.Source.
func (f *file) Encoding() feed.Encoding { return f.encoding }

// Notes implements feed.Noter.
func (f *file) Notes() []string {
	notes := pcap.NoteCount(nil, "messages of unknown types", f.unknown)
	return pcap.NoteCount(notes, "ends of session", f.ends)
}
