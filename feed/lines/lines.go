// Package lines cuts a stream into lines that end in LF or CRLF. It holds one
// buffer, which grows to hold the longest line and no further than a record's
// body may be long. It gives a line as soon as its end has come, so that a live
// stream is not held up by what comes later.
package lines

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	// bufferStart is the size of a reader's buffer at first, bytes.
	bufferStart = 256 << 10
	// idleMax is how many reads in a row may give nothing.
	idleMax = 100
)

// ErrTooLong: a line is longer than a record's body may be.
var ErrTooLong = errors.New("line is longer than 16777215 bytes")

// Reader reads lines. It is used by one goroutine.
type Reader struct {
	// Filled, where set, is called after each read that brought bytes.
	Filled func()

	r          io.Reader
	buf        []byte
	pos, end   int // unread bytes: buf[pos:end]
	readErr    error
	discarding bool // the rest of an over-long line is to be passed over

	number   int64
	lf, crlf int64
	final    string
}

// NewReader returns a reader of r's lines.
func NewReader(r io.Reader) *Reader {
	return &Reader{r: r, buf: make([]byte, bufferStart), final: "yes"}
}

// Next returns the next line without its end, borrowed until the next call. It
// returns io.EOF behind the last one, ErrTooLong for a line that is passed over
// (Next may be called again), or the reader's error.
func (l *Reader) Next() ([]byte, error) {
	if l.discarding {
		if err := l.discard(); err != nil {
			return nil, err
		}
	}
	n, searched := -1, 0
	for {
		if n = bytes.IndexByte(l.buf[l.pos+searched:l.end], '\n'); n >= 0 {
			n += searched
			break
		}
		if searched = l.end - l.pos; searched > wire.BodySizeMax+1 {
			l.number++
			l.discarding = true
			return nil, ErrTooLong
		}
		if err := l.fill(); err == io.EOF {
			if searched == 0 {
				return nil, io.EOF
			}
			return l.last()
		} else if err != nil {
			return nil, err
		}
	}
	line := l.buf[l.pos : l.pos+n]
	l.pos += n + 1
	l.number++
	if n > 0 && line[n-1] == '\r' {
		line = line[:n-1]
		l.crlf++
	} else {
		l.lf++
	}
	if len(line) > wire.BodySizeMax {
		return nil, ErrTooLong
	}
	return line, nil
}

// last returns the last line, which has no end, or a CR alone.
func (l *Reader) last() ([]byte, error) {
	line := l.buf[l.pos:l.end]
	l.pos = l.end
	l.number++
	l.final = "no"
	if line[len(line)-1] == '\r' {
		line, l.final = line[:len(line)-1], "cr"
	}
	if len(line) > wire.BodySizeMax {
		return nil, ErrTooLong
	}
	return line, nil
}

// Number is the number of the line that Next returned last, from 1.
func (l *Reader) Number() int64 { return l.number }

// Bad makes err, which is about the line that Next returned last, an error that
// reading can go on behind.
func (l *Reader) Bad(err error) error {
	return &feed.BadRecord{Place: fmt.Sprintf("line %d", l.number), Err: err}
}

// Describe adds to an encoding's detail what the lines' ends are:
//
//	line_end       "lf", "crlf", or "mixed": then the file cannot be made again
//	final_newline  "yes", "no", or "cr": the last line ends in a CR alone
func (l *Reader) Describe(detail map[string]string) {
	switch {
	case l.crlf == 0:
		detail["line_end"] = "lf"
	case l.lf == 0:
		detail["line_end"] = "crlf"
	default:
		detail["line_end"] = "mixed"
	}
	detail["final_newline"] = l.final
}

// discard passes over the rest of a line.
func (l *Reader) discard() error {
	for {
		if n := bytes.IndexByte(l.buf[l.pos:l.end], '\n'); n >= 0 {
			l.discarding = false
			l.pos += n + 1
			return nil
		}
		l.pos = l.end
		if err := l.fill(); err != nil {
			if err == io.EOF {
				l.final = "no"
			}
			return err
		}
	}
}

// fill reads once, growing the buffer where it is full of one line.
func (l *Reader) fill() error {
	if l.readErr != nil {
		return l.readErr
	}
	if l.pos > 0 {
		copy(l.buf, l.buf[l.pos:l.end])
		l.end -= l.pos
		l.pos = 0
	}
	if l.end == len(l.buf) {
		l.buf = append(l.buf, make([]byte, len(l.buf))...)
	}
	for range idleMax {
		n, err := l.r.Read(l.buf[l.end:])
		l.end += n
		l.readErr = err
		if n > 0 {
			if l.Filled != nil {
				l.Filled()
			}
			return nil
		}
		if err != nil {
			return err
		}
	}
	l.readErr = io.ErrNoProgress
	return l.readErr
}
