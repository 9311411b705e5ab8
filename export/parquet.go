package export

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	pq "github.com/parquet-go/parquet-go"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/wire"
)

// RowGroupBytes is how many bytes of values a row group of a Parquet file has at
// most, before encoding and but for the row that reaches it.
const RowGroupBytes = 64 << 20

// rowsHeld is how many rows go to the writer together.
const rowsHeld = 64

// Sizes of the buffers for pages, bytes: one for each column.
const (
	pageBuffers   = 32 << 20 // of all columns
	pageBufferMin = 4 << 10
	pageBufferMax = 256 << 10
)

// parquetColumns are the columns before those of fields.
const (
	columnTopic = iota
	columnTopicSeq
	columnKind
	columnEvent
	columnReceive
	columnFlags
	columnBody
	columnFields
)

// parquetFile writes a Parquet file.
type parquetFile struct {
	rowGroup int // bytes of values; RowGroupBytes but in tests
	decoder  *render.Decoder
	cols     *columns
	types    []columnType

	w       *pq.GenericWriter[any]
	rows    []pq.Row
	arena   []byte // what the rows borrow
	size    int    // bytes of values in the row group
	invalid uint64 // texts that were not UTF-8
}

func planParquet(*Config) (job, error) { return &parquetFile{rowGroup: RowGroupBytes}, nil }

func (p *parquetFile) passes() int { return 2 }

func (p *parquetFile) write(r *run) error {
	p.decoder, p.cols = render.NewDecoder(r.cfg.Encodings), newColumns("body")
	// Readers split and look up names at commas and dots.
	p.cols.clean = func(name string) string {
		return strings.NewReplacer(",", "_", ".", "_").Replace(strings.ToValidUTF8(name, "\uFFFD"))
	}
	if err := p.cols.learn(r, p.decoder); err != nil {
		return err
	}
	if err := p.open(r.w); err != nil {
		return err
	}
	err := r.each(func(n uint64, rec wire.Record) error {
		if err := p.add(rec); err != nil {
			return &RecordError{n, err}
		}
		r.report.Records++
		if len(p.rows) < rowsHeld && p.size < p.rowGroup {
			return nil
		}
		return p.flush()
	})
	if err == nil {
		err = p.flush()
	}
	if err == nil {
		err = p.w.Close()
	}
	if p.invalid > 0 {
		r.note("%d texts are not UTF-8; what is not is written as U+FFFD", p.invalid)
	}
	return err
}

// open begins the file, with a schema for the columns learned.
func (p *parquetFile) open(w io.Writer) error {
	text := func() pq.Node { return pq.Encoded(pq.String(), &pq.RLEDictionary) }
	stamp := func() pq.Node { return pq.Encoded(pq.Timestamp(pq.Nanosecond), &pq.DeltaBinaryPacked) }
	s := &parquetSchema{Group: pq.Group{}}
	s.add("topic", text())
	s.add("topic_seq", pq.Encoded(pq.Int(64), &pq.DeltaBinaryPacked))
	s.add("kind", text())
	s.add("event_time", stamp())
	s.add("receive_time", stamp())
	s.add("flags", text())
	s.add("body", pq.Leaf(pq.ByteArrayType))
	for i, name := range p.cols.names {
		t := p.cols.kinds[i].column()
		p.types = append(p.types, t)
		s.add(name, pq.Optional(t.node()))
	}
	cfg, err := pq.NewWriterConfig(
		pq.NewSchema("record", s),
		pq.Compression(&pq.Zstd),
		pq.CreatedBy("tapedeck", "", ""),
		pq.PageBufferSize(min(pageBufferMax, max(pageBufferMin, pageBuffers/len(s.order)))),
	)
	if err != nil {
		return fmt.Errorf("export: parquet: %w", err)
	}
	p.w = pq.NewGenericWriter[any](w, cfg)
	p.rows = make([]pq.Row, rowsHeld)
	for i := range p.rows {
		p.rows[i] = make(pq.Row, len(s.order))
	}
	p.rows = p.rows[:0]
	return nil
}

// add makes a row of a record.
func (p *parquetFile) add(rec wire.Record) error {
	fields, _ := p.decoder.Decode(rec)
	at, err := p.cols.of(fields)
	if err != nil {
		return err
	}
	row := p.row()
	set := func(column int, v pq.Value) { row[column] = v.Level(0, 0, column) }
	set(columnTopic, p.text(p.hold(rec.Topic())))
	set(columnTopicSeq, pq.Int64Value(int64(rec.TopicSeq())))
	set(columnKind, pq.ByteArrayValue(p.holdText(rec.Kind().String())))
	set(columnEvent, pq.Int64Value(int64(rec.Event())))
	set(columnReceive, pq.Int64Value(int64(rec.Receive())))
	from := len(p.arena)
	p.arena = render.AppendFlags(p.arena, rec.Flags(), "")
	set(columnFlags, pq.ByteArrayValue(p.arena[from:]))
	set(columnBody, pq.ByteArrayValue(p.hold(rec.Body())))
	for i := range fields {
		if fields[i].Value == nil {
			continue
		}
		column := columnFields + at[i]
		row[column] = p.value(p.types[at[i]], &fields[i]).Level(0, 1, column)
	}
	p.size += len(rec.Topic()) + len(rec.Body()) + wordSize*len(row)
	return nil
}

// wordSize is what a number takes in a row group, at most.
const wordSize = 8

// row returns the next row, with no field set.
func (p *parquetFile) row() pq.Row {
	n := len(p.rows)
	p.rows = p.rows[:n+1]
	row := p.rows[n]
	for i := columnFields; i < len(row); i++ {
		row[i] = pq.NullValue().Level(0, 0, i)
	}
	return row
}

// value makes a value of the column's type.
func (p *parquetFile) value(t columnType, f *feed.Field) pq.Value {
	switch v := f.Value.(type) {
	case bool:
		if t == typeBool {
			return pq.BooleanValue(v)
		}
	case int64:
		switch t {
		case typeInt, typeUint:
			return pq.Int64Value(v)
		case typeDouble:
			return pq.DoubleValue(float64(v))
		}
	case uint64:
		switch t {
		case typeInt, typeUint:
			return pq.Int64Value(int64(v))
		case typeDouble:
			return pq.DoubleValue(float64(v))
		}
	case float64:
		if t == typeDouble {
			return pq.DoubleValue(v)
		}
	}
	from := len(p.arena)
	p.arena = render.AppendValue(p.arena, f.Value)
	p.size += len(p.arena) - from
	return p.text(p.arena[from:])
}

// hold copies b to where it lasts until the rows are written.
func (p *parquetFile) hold(b []byte) []byte {
	from := len(p.arena)
	p.arena = append(p.arena, b...)
	return p.arena[from:]
}

func (p *parquetFile) holdText(s string) []byte {
	from := len(p.arena)
	p.arena = append(p.arena, s...)
	return p.arena[from:]
}

// text makes a value of text, which must be UTF-8.
func (p *parquetFile) text(b []byte) pq.Value {
	if !utf8.Valid(b) {
		p.invalid++
		b = bytes.ToValidUTF8(b, []byte("\uFFFD"))
	}
	return pq.ByteArrayValue(b)
}

// flush writes the rows, and ends the row group where it is full.
func (p *parquetFile) flush() error {
	if _, err := p.w.WriteRows(p.rows); err != nil {
		return err
	}
	p.rows, p.arena = p.rows[:0], p.arena[:0]
	if p.size < p.rowGroup {
		return nil
	}
	p.size = 0
	return p.w.Flush()
}
