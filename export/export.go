package export

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// Errors of New: the target does not fit the records or the options.
var (
	// ErrTarget: no such target.
	ErrTarget = errors.New("export: unknown target")
	// ErrEncoding: the target cannot be made of records in these encodings.
	ErrEncoding = errors.New("export: the records are not of a kind that can be written so")
	// ErrOption: an option that has no meaning for the target, or a bad value.
	ErrOption = errors.New("export: option does not apply")
)

// RecordError is the error for a record that cannot be written to the target.
type RecordError struct {
	Number uint64 // of the record among those that are written, from 0
	Err    error
}

// Error implements error.
func (e *RecordError) Error() string { return fmt.Sprintf("export: record %d: %v", e.Number, e.Err) }

// Unwrap returns what is wrong.
func (e *RecordError) Unwrap() error { return e.Err }

// ReadError is an error of the walk over the records, not of writing.
type ReadError struct{ Err error }

// Error implements error.
func (e *ReadError) Error() string { return e.Err.Error() }

// Unwrap returns the walk's error.
func (e *ReadError) Unwrap() error { return e.Err }

// Records is a walk over the records to write, in their order.
type Records interface {
	// Next moves to the next record and reports whether there is one.
	Next() bool
	// Record returns the current record, borrowed until the next call of Next.
	Record() wire.Record
	// Err returns what ended the walk early, or nil.
	Err() error
	// Close ends the walk.
	Close() error
}

// Config says what to write. The zero value of an option is its default.
type Config struct {
	// Open starts a walk over the records. It is called once for each pass; each
	// walk gives the same records.
	Open func() Records
	// Encodings are those that the records may be in. For a topic those with the
	// longest prefix that it begins with count.
	Encodings []wire.Encoding
	// Topics are the topics of the records. Encodings for none of them are passed
	// over; none is not known, or no records, and all encodings count.
	Topics []string
	// Part says that the records are not all that the encodings describe.
	Part bool

	// Compression of what is written; the content is the same.
	Compression Compression

	// Group is where datagrams of ITCH go (pcap). Default 233.54.12.111:26477, the
	// group of Nasdaq's own feed.
	Group netip.AddrPort
	// Session is the MoldUDP64 session, up to 10 letters and digits (pcap). Default
	// "TAPEDECK".
	Session string
	// MTU is the largest IP packet that messages are put together in, bytes (pcap).
	// Default 1500. A message that is larger has a packet of its own.
	MTU int
}

// Report is what was written.
type Report struct {
	Records uint64
	Content uint64 // bytes before compression
	Bytes   uint64 // bytes written
	// Notes say what is not as it came, for people, without a full stop.
	Notes []string
}

// Target is a kind of file to write.
type Target struct {
	Name  string
	Title string // for help

	packed bool // compressed in itself
	plan   func(*Config) (job, error)
}

// job writes one file. It is used once.
type job interface {
	// passes is how many walks over the records it takes.
	passes() int
	// write writes the content.
	write(*run) error
}

// Targets lists the targets. It is not to be changed.
var Targets = []Target{
	{Name: "original", Title: "the file as it came: dbn, csv, jsonl, lines, length-prefixed, itch", plan: planOriginal},
	{Name: "dbn", Title: "Databento DBN, of a tape that came from DBN", plan: planDBN},
	{Name: "csv", Title: "CSV: as it came, or the decoded fields as columns", plan: planCSV},
	{Name: "jsonl", Title: "one JSON object a record, as cat --json prints it", plan: planJSONLines},
	{Name: "parquet", Title: "Parquet: columns for the record, its body and the decoded fields", packed: true, plan: planParquet},
	{Name: "pcap", Title: "UDP in pcap: ITCH in MoldUDP64, or the datagrams of a pcap tape", plan: planPcap},
}

// Export is a file to be written.
type Export struct {
	Passes int // walks over the records that Write takes
	cfg    Config
	job    job
}

// New plans a file of the named target. It checks what can be checked before
// anything is written, and copies cfg.
func New(target string, cfg Config) (*Export, error) {
	var names []string
	for i := range Targets {
		t := &Targets[i]
		if names = append(names, t.Name); t.Name != target {
			continue
		}
		if t.packed && cfg.Compression != None {
			return nil, fmt.Errorf("%w: %s is compressed in itself", ErrOption, target)
		}
		x := &Export{cfg: cfg}
		if err := checkPacketOptions(target, &cfg); err != nil {
			return nil, err
		}
		var err error
		if x.job, err = t.plan(&x.cfg); err != nil {
			return nil, err
		}
		x.Passes = x.job.passes()
		return x, nil
	}
	return nil, fmt.Errorf("%w %q; known: %s", ErrTarget, target, strings.Join(names, ", "))
}

// bufferSize is the size of the buffer before the output, bytes.
const bufferSize = 256 << 10

// Write writes the file to w, once. The report holds also with an error. An error
// of the walk is a *ReadError, one about a record a *RecordError; any other is
// w's or the context's.
func (x *Export) Write(ctx context.Context, w io.Writer) (Report, error) {
	written := &counter{w: w}
	packer, err := x.cfg.Compression.writer(written)
	if err != nil {
		return Report{}, err
	}
	content := &counter{w: packer}
	r := &run{ctx: ctx, cfg: &x.cfg, w: bufio.NewWriterSize(content, bufferSize)}
	err = x.job.write(r)
	if err == nil {
		err = r.w.Flush()
	}
	if closeErr := packer.Close(); err == nil {
		err = closeErr
	}
	r.report.Content, r.report.Bytes = content.n, written.n
	return r.report, err
}

// run is one call of Write.
type run struct {
	ctx    context.Context
	cfg    *Config
	w      *bufio.Writer
	report Report
}

// checkEvery is how many records pass between looks at the context.
const checkEvery = 1 << 10

// each calls f for every record, with its number.
func (r *run) each(f func(n uint64, rec wire.Record) error) error {
	records := r.cfg.Open()
	defer records.Close()
	n := uint64(0)
	for ; records.Next(); n++ {
		if n%checkEvery == 0 && r.ctx.Err() != nil {
			return context.Cause(r.ctx)
		}
		if err := f(n, records.Record()); err != nil {
			return err
		}
	}
	if err := records.Err(); err != nil {
		return &ReadError{err}
	}
	return nil
}

// note adds to the report's notes.
func (r *run) note(format string, args ...any) {
	r.report.Notes = append(r.report.Notes, fmt.Sprintf(format, args...))
}

// counter counts the bytes that pass.
type counter struct {
	w io.Writer
	n uint64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += uint64(n)
	return n, err
}
