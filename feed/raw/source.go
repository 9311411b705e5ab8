package raw

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/lines"
	"github.com/tapedeck/tapedeck/wire"
)

// lineSource implements feed.Source for lines.
type lineSource struct {
	stamped
	lines *lines.Reader
}

func openLines(_ context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	err := checkOptions(opts)
	if err == nil && opts.Preset != "" {
		err = errors.New("--preset has no meaning: lines have one layout")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", NameLines, err)
	}
	s := &lineSource{stamped: newStamped(opts.Topic), lines: lines.NewReader(in)}
	s.lines.Filled = s.filled
	return s, nil
}

// Next implements feed.Source.
func (s *lineSource) Next() (*feed.Record, error) {
	line, err := s.lines.Next()
	if err == nil {
		return s.with(line), nil
	}
	if errors.Is(err, lines.ErrTooLong) {
		err = s.lines.Bad(err)
	}
	return nil, err
}

// Encoding implements feed.Source. The detail is that of lines.Reader.Describe.
func (s *lineSource) Encoding() feed.Encoding {
	detail := map[string]string{}
	s.lines.Describe(detail)
	return feed.Encoding{Format: NameLines, Detail: detail}
}

const (
	prefixDefault = "u32be"
	// bufferStart is the size of a prefixedSource's buffer at first, bytes. It
	// grows as bytes come, never because a length says so.
	bufferStart = 256 << 10
	idleMax     = 100
)

var errTooLong = fmt.Errorf("the length is more than the %d bytes that a record may have; is this the right --preset?", wire.BodySizeMax)

// prefixedSource implements feed.Source for length-prefixed records.
type prefixedSource struct {
	stamped
	r       io.Reader
	prefix  string
	width   int
	order   binary.ByteOrder
	buf     []byte
	pos     int // unread bytes: buf[pos:end]
	end     int
	offset  int64 // of buf[pos] in the content
	skip    int64 // bytes of an over-long record that are to be passed over
	readErr error
}

func openPrefixed(_ context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	if err := checkOptions(opts); err != nil {
		return nil, fmt.Errorf("%s: %w", NameLengthPrefixed, err)
	}
	s := &prefixedSource{
		stamped: newStamped(opts.Topic), r: in, prefix: opts.Preset, width: 4,
		order: binary.BigEndian, buf: make([]byte, bufferStart),
	}
	switch s.prefix {
	case "":
		s.prefix = prefixDefault
	case "u32be":
	case "u32le":
		s.order = binary.LittleEndian
	case "u16be":
		s.width = 2
	case "u16le":
		s.width, s.order = 2, binary.LittleEndian
	default:
		return nil, fmt.Errorf("%s: unknown preset %q; known: u32be, u32le, u16be, u16le", NameLengthPrefixed, s.prefix)
	}
	return s, nil
}

// Next implements feed.Source. A record that is too long is passed over by the
// length that it announces; one that the input's end cuts off is bad, too.
func (s *prefixedSource) Next() (*feed.Record, error) {
	for s.skip > 0 {
		n := min(s.skip, int64(s.end-s.pos))
		s.advance(int(n))
		if s.skip -= n; s.skip > 0 {
			if err := s.fill(1); err != nil {
				return nil, err
			}
		}
	}
	if err := s.need(s.width); err != nil {
		return nil, err
	}
	var n int64
	if s.width == 2 {
		n = int64(s.order.Uint16(s.buf[s.pos:]))
	} else {
		n = int64(s.order.Uint32(s.buf[s.pos:]))
	}
	if n > wire.BodySizeMax {
		err := s.bad(fmt.Errorf("%d bytes: %w", n, errTooLong))
		s.skip = n + int64(s.width)
		return nil, err
	}
	size := s.width + int(n)
	if err := s.need(size); err != nil {
		return nil, err
	}
	body := s.buf[s.pos+s.width : s.pos+size]
	s.advance(size)
	return s.with(body), nil
}

func (s *prefixedSource) advance(n int) {
	s.pos += n
	s.offset += int64(n)
}

func (s *prefixedSource) bad(err error) error {
	return &feed.BadRecord{Place: fmt.Sprintf("offset %d", s.offset), Err: err}
}

// need reads until there are n unread bytes. It returns io.EOF where there are
// none at all, and a *feed.BadRecord where there are fewer.
func (s *prefixedSource) need(n int) error {
	if s.end-s.pos >= n {
		return nil
	}
	err := s.fill(n)
	if err == io.EOF && s.end > s.pos {
		err = s.bad(fmt.Errorf("the input ends %d bytes into a record: %w", s.end-s.pos, io.ErrUnexpectedEOF))
		s.advance(s.end - s.pos)
	}
	return err
}

// fill reads until there are n unread bytes, growing the buffer as they come.
func (s *prefixedSource) fill(n int) error {
	if s.pos > 0 {
		copy(s.buf, s.buf[s.pos:s.end])
		s.end -= s.pos
		s.pos = 0
	}
	for idle := 0; s.end < n; {
		if s.readErr != nil {
			return s.readErr
		}
		if s.end == len(s.buf) {
			s.buf = append(s.buf, make([]byte, len(s.buf))...)
		}
		var got int
		got, s.readErr = s.r.Read(s.buf[s.end:])
		s.end += got
		if idle++; got > 0 {
			idle = 0
			s.filled()
		}
		if idle == idleMax {
			s.readErr = io.ErrNoProgress
		}
	}
	return nil
}

// Encoding implements feed.Source. Detail's prefix is how lengths are written,
// named as presets are.
func (s *prefixedSource) Encoding() feed.Encoding {
	return feed.Encoding{Format: NameLengthPrefixed, Detail: map[string]string{"prefix": s.prefix}}
}

// decode implements feed.Format: one field, text where the body is UTF-8 without
// control characters other than tabs and line ends, else hex.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	if isText(body) {
		return append(dst, feed.Field{Name: "text", Value: string(body)}), nil
	}
	return append(dst, feed.Field{Name: "hex", Value: fmt.Sprintf("%x", body)}), nil
}

func isText(b []byte) bool {
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	return utf8.Valid(b)
}
