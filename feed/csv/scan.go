package csv

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// scanStart is the size of a scanner's buffer at first, bytes. It grows to hold
// one record, and no further.
const scanStart = 256 << 10

var (
	errBareQuote    = errors.New(`a quote (") inside an unquoted field`)
	errQuoteTail    = errors.New(`text behind the closing quote (") of a field`)
	errUnterminated = errors.New("a quoted field is not closed")
	errTooLong      = fmt.Errorf("record is longer than %d bytes", wire.BodySizeMax)
)

// lineEnds is a set of the line ends seen.
type lineEnds uint8

const (
	endLF lineEnds = 1 << iota
	endCRLF
)

// scanner cuts its input into records and fields by RFC 4180: fields may be
// quoted, a quoted field may hold delimiters, line ends and doubled quotes.
// Blank lines are passed over. Lines end in LF or CRLF.
//
// A record without a quote, which is nearly every one, is found by searching
// for its line end; only then are as many fields marked as the caller wants.
type scanner struct {
	r     io.Reader
	delim [1]byte
	want  int // fields to mark, from the first on; all are counted

	buf        []byte
	pos, end   int // unread bytes: buf[pos:end]
	quote      int // where the next quote at or behind pos is, or end
	lineNext   int // physical line at pos, from 1
	readErr    error
	discarding bool // the rest of an over-long line is to be passed over

	// The current record, borrowed from buf.
	body    []byte
	line    int    // physical line it starts on
	fields  []span // the first want fields
	count   int    // how many fields it has
	scratch []byte

	ends  lineEnds
	blank int64
	final string // finalYes, finalNo or finalCR, once the input has ended
}

// Values of Detail's final_newline.
const (
	finalYes = "yes"
	finalNo  = "no"
	finalCR  = "cr" // the last line ends in a CR alone
)

// span is a field within a record's body, its quotes included.
type span struct{ from, to int }

func newScanner(r io.Reader, delim byte, want int) *scanner {
	return &scanner{r: r, delim: [1]byte{delim}, want: want, buf: make([]byte, scanStart), lineNext: 1, final: finalYes}
}

// next moves to the next record. It returns io.EOF behind the last one, a
// *feed.BadRecord for a place that is no record, where the scanner has moved to
// the line after the one that the bad record began on, or the reader's error.
func (s *scanner) next() error {
	for {
		if s.discarding {
			if err := s.discard(); err != nil {
				return err
			}
		}
		n := bytes.IndexByte(s.buf[s.pos:s.end], '\n')
		for n < 0 {
			seen := s.end - s.pos
			if err := s.fill(1); err == io.EOF {
				if seen == 0 {
					return io.EOF
				}
				break
			} else if err != nil {
				return err
			}
			if n = bytes.IndexByte(s.buf[s.pos+seen:s.end], '\n'); n >= 0 {
				n += seen
			} else if s.end-s.pos > wire.BodySizeMax+1 {
				s.line, s.discarding = s.lineNext, true
				return s.bad(errTooLong)
			}
		}
		if n < 0 {
			n = s.end - s.pos // the last line, not ended
		}
		if done, err := s.lineAt(n); done || err != nil {
			return err
		}
	}
}

// lineAt takes the line of n bytes at pos, its LF not counted. It reports false
// where the line is blank.
func (s *scanner) lineAt(n int) (bool, error) {
	if s.quote < s.pos {
		s.findQuote()
	}
	if s.quote < s.pos+n {
		return true, s.quotedRecord()
	}
	line := s.buf[s.pos : s.pos+n]
	crlf := n > 0 && line[n-1] == '\r'
	if crlf {
		line = line[:n-1]
	}
	s.line = s.lineNext
	s.advance(n, crlf)
	if len(line) == 0 {
		s.blank++
		return false, nil
	}
	if len(line) > wire.BodySizeMax {
		return true, s.bad(errTooLong)
	}
	s.body = line
	s.count = bytes.Count(line, s.delim[:]) + 1
	s.markFields()
	return true, nil
}

// markFields marks the wanted fields of a body without quotes.
func (s *scanner) markFields() {
	fields, from := s.fields[:0], 0
	for len(fields) < s.want {
		n := bytes.IndexByte(s.body[from:], s.delim[0])
		if n < 0 {
			fields = append(fields, span{from, len(s.body)})
			break
		}
		fields = append(fields, span{from, from + n})
		from += n + 1
	}
	s.fields = fields
}

// advance moves behind a line of n bytes that starts at pos, and its end.
func (s *scanner) advance(n int, crlf bool) {
	s.pos += n
	switch {
	case s.pos == s.end && crlf:
		s.final = finalCR
	case s.pos == s.end:
		s.final = finalNo
	case crlf:
		s.ends |= endCRLF
	default:
		s.ends |= endLF
	}
	if s.pos < s.end {
		s.pos++
		s.lineNext++
	}
}

func (s *scanner) findQuote() {
	s.quote = s.end
	if n := bytes.IndexByte(s.buf[s.pos:s.end], '"'); n >= 0 {
		s.quote = s.pos + n
	}
}

// quotedRecord takes the record at pos, which may span lines.
func (s *scanner) quotedRecord() error {
	s.line = s.lineNext
	for {
		n, crlf, err := s.splitQuoted(s.buf[s.pos:s.end])
		if err == errUnterminated && s.end-s.pos <= wire.BodySizeMax {
			// Ask for as much again, so that a long record is not split anew
			// for every few bytes that come.
			ended := s.readErr == io.EOF
			if fillErr := s.fill(s.end - s.pos); fillErr != nil && fillErr != io.EOF {
				return fillErr
			}
			if !ended {
				continue // with more bytes, or knowing that there are none
			}
		}
		if err == nil && n > wire.BodySizeMax || err == errUnterminated && s.end-s.pos > wire.BodySizeMax {
			err = errTooLong
		}
		if err != nil {
			s.skipLine()
			return s.bad(err)
		}
		s.body = s.buf[s.pos : s.pos+n]
		s.lineNext += bytes.Count(s.body, []byte{'\n'})
		if crlf {
			n++
		}
		s.advance(n, crlf)
		return nil
	}
}

// skipLine moves behind the physical line at pos.
func (s *scanner) skipLine() {
	n := bytes.IndexByte(s.buf[s.pos:s.end], '\n')
	if n < 0 {
		s.discarding = true
		return
	}
	s.advance(n, n > 0 && s.buf[s.pos+n-1] == '\r')
}

// splitQuoted splits the record at the start of b and returns its length and
// whether CRLF ends it. errUnterminated means that b may hold only a part of
// the record; at the end of the input, that a quote is not closed.
func (s *scanner) splitQuoted(b []byte) (n int, crlf bool, err error) {
	s.fields, s.count = s.fields[:0], 0
	for at := 0; ; at++ {
		from := at
		if at < len(b) && b[at] == '"' {
			if at, err = closeQuote(b, at); err != nil {
				return 0, false, err
			}
		} else {
			for at < len(b) && b[at] != s.delim[0] && b[at] != '\n' {
				if b[at] == '"' {
					return 0, false, errBareQuote
				}
				at++
			}
		}
		n, crlf, ended := s.recordEnd(b, from, at)
		if !ended && at < len(b) && b[at] != s.delim[0] {
			return 0, false, errQuoteTail
		}
		to := at
		if ended {
			to = n
		}
		s.count++
		if len(s.fields) < s.want {
			s.fields = append(s.fields, span{from, to})
		}
		if ended {
			if at+len("\r") >= len(b) && s.readErr != io.EOF && (at == len(b) || b[at] == '\r') {
				return 0, false, errUnterminated // more of it may come
			}
			return n, crlf, nil
		}
	}
}

// recordEnd reports whether the field b[from:at] is the record's last, where
// the record then ends, and whether CRLF or a last CR ends it.
func (s *scanner) recordEnd(b []byte, from, at int) (n int, crlf, ended bool) {
	switch {
	case at == len(b) || b[at] == '\n':
		if at > from && b[at-1] == '\r' {
			return at - 1, true, true // an unquoted field that took the CR in
		}
		return at, false, true
	case b[at] == '\r' && at+1 == len(b), b[at] == '\r' && b[at+1] == '\n':
		return at, true, true
	}
	return 0, false, false
}

// closeQuote returns the place behind the quote that closes the field at b[at].
func closeQuote(b []byte, at int) (int, error) {
	for at++; ; at += 2 {
		n := bytes.IndexByte(b[at:], '"')
		if n < 0 {
			return 0, errUnterminated
		}
		at += n
		if at+1 >= len(b) || b[at+1] != '"' {
			return at + 1, nil
		}
	}
}

// field returns field i of the record, which must be a wanted one, without its
// quotes and the blanks around it. It is borrowed until the next call.
func (s *scanner) field(i int) []byte {
	f := s.fields[i]
	b := s.body[f.from:f.to]
	if len(b) > 0 && b[0] == '"' {
		b, s.scratch = unquote(b, s.scratch)
		return b
	}
	if len(b) > 0 && (b[0] == ' ' || b[len(b)-1] == ' ') {
		b = bytes.Trim(b, " ")
	}
	return b
}

// unquote takes the quotes off a quoted field. Where quotes are doubled it
// builds the text in scratch, which it returns for use again.
func unquote(b, scratch []byte) (text, kept []byte) {
	b = b[1 : len(b)-1]
	if bytes.IndexByte(b, '"') < 0 {
		return b, scratch
	}
	scratch = scratch[:0]
	for {
		n := bytes.IndexByte(b, '"')
		if n < 0 {
			scratch = append(scratch, b...)
			return scratch, scratch
		}
		scratch = append(scratch, b[:n+1]...)
		b = b[n+2:]
	}
}

func (s *scanner) bad(err error) error {
	return &feed.BadRecord{Place: fmt.Sprintf("line %d", s.line), Err: err}
}

// discard passes over the rest of a line.
func (s *scanner) discard() error {
	for {
		if n := bytes.IndexByte(s.buf[s.pos:s.end], '\n'); n >= 0 {
			s.discarding = false
			s.advance(n, false)
			return nil
		}
		s.pos = s.end
		if err := s.fill(1); err != nil {
			if err == io.EOF {
				s.final = finalNo
			}
			return err
		}
	}
}

// fill reads until there are least more unread bytes, growing the buffer as
// needed. It returns io.EOF where the input has no more at all.
func (s *scanner) fill(least int) error {
	if s.readErr != nil {
		return s.readErr
	}
	if s.pos > 0 {
		copy(s.buf, s.buf[s.pos:s.end])
		s.quote = max(s.quote-s.pos, -1) // -1 is before pos: not known
		s.end -= s.pos
		s.pos = 0
	}
	if s.end+least > len(s.buf) {
		s.buf = append(s.buf, make([]byte, max(least, len(s.buf)))...)
	}
	had := s.end
	for idle := 0; s.end-had < least && s.readErr == nil; {
		n, err := s.r.Read(s.buf[s.end:])
		s.end += n
		s.readErr = err
		if idle++; n > 0 {
			idle = 0
		}
		if idle == 100 {
			s.readErr = io.ErrNoProgress
		}
	}
	// What was known about quotes holds for the bytes that were there before.
	if s.quote >= had {
		s.quote = had
		if n := bytes.IndexByte(s.buf[had:s.end], '"'); n >= 0 {
			s.quote += n
		} else {
			s.quote = s.end
		}
	}
	if s.end > had {
		return nil
	}
	return s.readErr
}
