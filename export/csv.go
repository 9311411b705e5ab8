package export

import (
	"encoding/base64"
	"strconv"

	"github.com/tapedeck/tapedeck/feed/csv"
	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/wire"
)

// planCSV writes the lines of one CSV file as they came, and anything else as
// columns.
func planCSV(c *Config) (job, error) {
	all, bare := c.encodings()
	if len(all) == 1 && bare == "" && all[0].Format == csv.Format.Name {
		return newCSV(all[0])
	}
	return csvColumns{}, nil
}

// csvColumns writes decoded fields as columns.
type csvColumns struct{}

func (csvColumns) passes() int { return 2 }

func (csvColumns) write(r *run) error {
	decoder, cols := render.NewDecoder(r.cfg.Encodings), newColumns()
	if err := cols.learn(r, decoder); err != nil {
		return err
	}
	var line []byte
	for i, name := range recordColumns {
		if i > 0 {
			line = append(line, ',')
		}
		line = append(line, name...)
	}
	for _, name := range cols.names {
		line = appendCell(append(line, ','), name)
	}
	if cols.bodies {
		line = append(append(line, ','), bodyColumn...)
	}
	r.w.Write(append(line, '\n'))
	values := make([]any, len(cols.names))
	return r.each(func(n uint64, rec wire.Record) error {
		fields, known := decoder.Decode(rec)
		clear(values)
		at, err := cols.of(fields)
		if err != nil {
			return &RecordError{n, err}
		}
		for i := range fields {
			values[at[i]] = fields[i].Value
		}
		line = appendRecordCells(line[:0], rec)
		for _, v := range values {
			line = appendCell(append(line, ','), v)
		}
		if cols.bodies {
			line = append(line, ',')
			if !known {
				line = base64.StdEncoding.AppendEncode(line, rec.Body())
			}
		}
		r.report.Records++
		_, err = r.w.Write(append(line, '\n'))
		return err
	})
}

// appendRecordCells appends the cells of recordColumns.
func appendRecordCells(dst []byte, rec wire.Record) []byte {
	from := len(dst)
	dst = quoteFrom(append(dst, rec.Topic()...), from)
	dst = append(dst, ',')
	dst = strconv.AppendUint(dst, uint64(rec.TopicSeq()), 10)
	dst = append(dst, ',')
	dst = append(dst, rec.Kind().String()...)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(rec.Event()), 10)
	dst = append(dst, ',')
	dst = strconv.AppendInt(dst, int64(rec.Receive()), 10)
	dst = append(dst, ',')
	from = len(dst)
	return quoteFrom(render.AppendFlags(dst, rec.Flags(), ""), from)
}

// appendCell appends a value as a cell: nothing for nil, and quotes around an
// empty string, to tell them apart.
func appendCell(dst []byte, v any) []byte {
	if s, ok := v.(string); ok && s == "" {
		return append(dst, `""`...)
	}
	from := len(dst)
	return quoteFrom(render.AppendValue(dst, v), from)
}

// quoteFrom quotes the cell that begins at dst[from] where RFC 4180 asks for it.
func quoteFrom(dst []byte, from int) []byte {
	quotes, needed := 0, false
	for _, c := range dst[from:] {
		switch c {
		case '"':
			quotes++
			needed = true
		case ',', '\r', '\n':
			needed = true
		}
	}
	if !needed {
		return dst
	}
	end := len(dst)
	dst = append(dst, make([]byte, quotes+2)...)
	// From the end on, so that nothing is written over before it is read.
	to := len(dst) - 1
	dst[to] = '"'
	for i := end - 1; i >= from; i-- {
		to--
		dst[to] = dst[i]
		if dst[i] == '"' {
			to--
			dst[to] = '"'
		}
	}
	dst[from] = '"'
	return dst
}
