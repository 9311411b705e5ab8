package pcap

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/window"
	"github.com/tapedeck/tapedeck/wire"
)

// Packet is one UDP datagram of a capture. Its payload is borrowed until the
// next call of Begin.
type Packet struct {
	Payload []byte
	Time    wire.Nanos // capture time
	NoTime  bool       // the capture has none; Time is that of the packet before
	Line    *Line      // where it went
	Number  int64      // of the packet in the capture, from 1
}

// Head is what a Parser says about a datagram for its sequence numbers to be
// followed.
type Head struct {
	// Stream is what the numbers belong to: session, channel, unit, but not the
	// line, since the lines A and B of a feed are to have the same.
	Stream Stream
	// Seq is the number of the first message, Count how many numbers follow from
	// it on. With Count 0, as in a heartbeat, Seq is the next number to come.
	Seq   uint64
	Count int
	// Sequenced is false where the datagram has no number. It is then delivered
	// whatever came before.
	Sequenced bool
	// Whole says that the datagram has one number for all its messages, so that it
	// is delivered wholly or not at all. Count is then 1, or 0.
	Whole bool
}

// Parser takes the datagrams of one capture apart. One goroutine uses it.
type Parser interface {
	// Begin starts with a datagram. It fills in h, which comes zeroed. An error
	// makes a bad record of the datagram; see ErrForeign for one that is not of the
	// protocol at all.
	Begin(p *Packet, h *Head) error
	// Next sets rec to the next message of the datagram and returns true, or
	// returns false behind the last one. Receive is set already and Flags are
	// zeroed; Next sets Topic, Body, Event, Kind and the flags that apply. What rec
	// then borrows must hold until the next call. An error makes a bad record of
	// the rest of the datagram.
	Next(rec *feed.Record) (bool, error)
	// Describe names a stream for people: "session 000010059B".
	Describe(s Stream) string
	// Encoding is as in feed.Source.
	Encoding() feed.Encoding
	// Notes is as in feed.Noter.
	Notes() []string
}

// Protocol is one packet format carried in UDP. It makes a feed.Format.
type Protocol struct {
	Name  string // of the format
	Title string // for help

	// Unit is what sequence numbers count, in the plural: "messages", "packets".
	// "" says that the protocol has none.
	Unit string
	// Options are the fields of feed.Options that the protocol has use for beside
	// Groups, AB and Topic.
	Options []string

	// Detect says how sure it is that a datagram is of the protocol: 0 not at all,
	// 100 certain. It sees the whole payload, which may be empty.
	Detect func(payload []byte) int
	// New readies a Parser for one capture.
	New func(in *feed.Input, opts feed.Options) (Parser, error)
	// Decode is as in feed.Format.
	Decode func(dst []feed.Field, enc feed.Encoding, kind wire.Kind, body []byte) ([]feed.Field, error)
}

// Format returns the entry for the table of formats.
func (p *Protocol) Format() feed.Format {
	return feed.Format{
		Name:   p.Name,
		Title:  p.Title,
		Detect: func(head []byte) int { return Detect(head, p.Detect) },
		Open:   p.Open,
		Decode: p.Decode,
	}
}

// Open starts reading a capture; the Source is a feed.Noter.
func (p *Protocol) Open(ctx context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	if err := opts.Only(append([]string{"Groups", "AB", "Topic"}, p.Options...)...); err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	merge, err := parseAB(opts.AB)
	if err != nil {
		return nil, err
	}
	if merge && p.Unit == "" {
		return nil, fmt.Errorf("%w: %s has no sequence numbers to merge lines by", ErrOption, p.Name)
	}
	wanted, err := parseTargets(opts.Groups)
	if err != nil {
		return nil, err
	}
	c, err := newCapture(ctx, in.Reader, window.Size)
	if err != nil {
		return nil, err
	}
	parser, err := p.New(in, opts)
	if err != nil {
		return nil, err
	}
	s := &source{protocol: p, parser: parser, capture: c, data: newDatagram(), lines: newLines(wanted), merge: merge}
	if p.Unit != "" {
		s.sequencer = NewSequencer(merge)
	}
	return s, nil
}

// parseAB reads Options.AB and reports whether lines are to be merged.
func parseAB(text string) (bool, error) {
	switch text {
	case "", "keep":
		return false, nil
	case "merge":
		return true, nil
	}
	return false, fmt.Errorf(`%w: --ab %q is neither "merge" nor "keep"`, ErrOption, text)
}
