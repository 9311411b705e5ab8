package export

import (
	"errors"

	"github.com/tapedeck/tapedeck/wire"
)

// framed is the job of writing bodies as they are, with what stood around them in
// the file that they came from.
type framed struct {
	head   []byte // before everything
	header []byte // the first line, which is no record; nil where there is none
	sep    []byte // between lines
	last   []byte // behind the last line

	// before appends what stands before the body; nil is nothing. An error says why
	// the record cannot be written.
	before func(dst []byte, rec wire.Record) ([]byte, error)
	notes  []string
}

func (f *framed) passes() int { return 1 }

func (f *framed) write(r *run) error {
	r.report.Notes = append(r.report.Notes, f.notes...)
	r.w.Write(f.head)
	sep := []byte(nil) // none before the first line
	if f.header != nil {
		r.w.Write(f.header)
		sep = f.sep
	}
	any := f.header != nil
	var scratch []byte
	err := r.each(func(n uint64, rec wire.Record) error {
		r.w.Write(sep)
		sep, any = f.sep, true
		if f.before != nil {
			var err error
			if scratch, err = f.before(scratch[:0], rec); err != nil {
				return &RecordError{n, err}
			}
			r.w.Write(scratch)
		}
		r.report.Records++
		// The writer keeps its first error, and gives it from then on.
		_, err := r.w.Write(rec.Body())
		return err
	})
	if err == nil && any {
		_, err = r.w.Write(f.last)
	}
	return err
}

// lineEnds sets sep and last by what an encoding says of line ends.
func (f *framed) lineEnds(detail map[string]string) {
	end := "\n"
	switch detail["line_end"] {
	case "crlf":
		end = "\r\n"
	case "mixed":
		f.notes = append(f.notes, "line ends were LF and CRLF mixed; all are written as LF")
	}
	f.sep, f.last = []byte(end), []byte(end)
	switch detail["final_newline"] {
	case "no":
		f.last = nil
	case "cr":
		f.last = []byte("\r")
	}
	if n := detail["blank_lines"]; n != "" {
		f.notes = append(f.notes, "blank lines left out, as at import: "+n)
	}
}

const byteOrderMark = "\xef\xbb\xbf"

// bom sets the head by what an encoding says of a byte order mark.
func (f *framed) bom(detail map[string]string) {
	if detail["bom"] == "yes" {
		f.head = []byte(byteOrderMark)
	}
}

// errLength: a body that is too long for the length before it.
var errLength = errors.New("the body is too long for its length field")
