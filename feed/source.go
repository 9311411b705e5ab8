package feed

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/wire"
)

// Record is one item as a source gives it. The slices are borrowed: they are
// valid until the next call of Next. Topic sequences are not the source's
// concern; whoever stores or publishes the record numbers it.
type Record struct {
	Topic   []byte
	Body    []byte // the vendor's own bytes, unchanged
	Event   wire.Nanos
	Receive wire.Nanos
	Kind    wire.Kind
	Flags   wire.RecordFlags
}

// Source is a stream of records from one input. It is used by one goroutine.
type Source interface {
	// Next returns the next record, valid until the next call. It returns
	// io.EOF after the last one. Any other error is final unless it is a
	// *BadRecord: then the source has moved past the bad place and Next may be
	// called again (this is what --skip-bad does).
	Next() (*Record, error)
	// Encoding says how the bodies are to be read. It is complete once Next has
	// returned io.EOF, and may be asked for earlier.
	Encoding() Encoding
}

// Noter is what a Source may implement to remark on its input.
type Noter interface {
	// Notes returns what was odd about the input but no error, such as gaps in
	// sequence numbers: one sentence each, for people, without a full stop. It is
	// complete once Next has returned io.EOF.
	Notes() []string
}

// Encoding names the bodies' format and what a reader needs beside the body to
// decode it.
type Encoding = wire.Encoding

// BadRecord is the error for a place in the input that is not a valid record,
// where the source can go on behind it.
type BadRecord struct {
	Place string // where: "line 17", "offset 4096"
	Err   error  // what is wrong there
}

// Error implements error.
func (e *BadRecord) Error() string { return e.Place + ": " + e.Err.Error() }

// Unwrap returns what is wrong.
func (e *BadRecord) Unwrap() error { return e.Err }

// Field is one named value of a decoded body. Value is a string, bool, int64,
// uint64, float64, json.RawMessage or nil (undefined in the vendor's terms).
type Field struct {
	Value any
	Name  string
}

// Format is one vendor format. The table in feed/formats lists them all.
type Format struct {
	Name  string // as in --format and Encoding.Format: "dbn"
	Title string // for help: "Databento DBN, versions 1 to 3"

	// Detect looks at the first bytes of an input, containers (gzip, zstd, zip)
	// already peeled off, and says how sure it is that the input is of this
	// format: 0 not at all, 100 certain (a signature matched).
	Detect func(head []byte) int

	// Open starts reading. It may read ahead as far as it needs to check its
	// options against the input; memory stays bounded whatever the input's size.
	Open func(ctx context.Context, in *Input, opts Options) (Source, error)

	// Decode takes a body apart for people: it appends named fields to dst and
	// returns the extended slice. Fields may borrow from body. An error means
	// that the body is not of this encoding.
	Decode func(dst []Field, enc Encoding, kind wire.Kind, body []byte) ([]Field, error)
}

// Options are what a user can say about an input. A format refuses, with a
// clear error, an option that it has no use for where ignoring it would change
// what the user gets.
type Options struct {
	Format   string // name of a Format; "" recognises by content
	Preset   string // csv: a named column layout
	Columns  string // csv: column map
	Date     string // YYYY-MM-DD: the date where the input has only a time of day
	Zone     string // IANA time zone of times without one; "" is UTC, or where the format has one the exchange's
	TimeUnit string // csv: "s", "ms", "us", "ns": unit of bare numbers; "" guesses by size
	Topic    string // topic prefix, or the whole topic where the input names none
	Header   string // csv: "auto", "yes", "no"; "" is auto
	Dataset  string // dbn fragments: dataset where no file head names one; itch: venue, such as "XBOS"

	// Groups selects datagrams of a capture by destination: "233.200.79.0:61000",
	// a group alone, a prefix such as "233.200.79.0/24", or a port alone, with or
	// without a colon before it. None takes all.
	Groups []string
	// AB says what becomes of a message that a capture has more than once, as the
	// lines A and B of one feed give it: "keep" keeps each, "merge" only the one
	// that comes first by session and sequence number; "" is keep.
	AB string
}

// ErrNoFormat: the input is of none of the known formats.
type ErrNoFormat struct{ Name string }

// Error implements error.
func (e *ErrNoFormat) Error() string {
	return fmt.Sprintf("%s: format not recognised by its content; name it with --format", e.Name)
}
