package parquet

import (
	"bufio"
	"errors"
	"io"

	pq "github.com/parquet-go/parquet-go"
)

// cursorValues is how many values a cursor takes from a page at once.
const cursorValues = 256

var errShort = errors.New("it ends before the row group does")

// cursor walks the values of one column of a row group, row by row. It holds
// one page.
type cursor struct {
	pages  pq.Pages
	page   pq.Page // that buf is of; nil where there is none
	values pq.ValueReader
	buf    []pq.Value
	rest   []pq.Value // of buf, not taken yet
	many   bool       // a row may have any number of values

	row  []pq.Value // the values of the current row, borrowed until the next
	at   int        // the next one to be written
	kept []pq.Value // holds a row's values where rest does not hold all of them
}

// open starts at the column's first row.
func (c *cursor) open(chunk pq.ColumnChunk, many bool) {
	c.pages, c.many = chunk.Pages(), many
	if c.buf == nil {
		c.buf = make([]pq.Value, cursorValues)
	}
}

func (c *cursor) close() error {
	if c.pages == nil {
		return nil
	}
	c.release()
	err := c.pages.Close()
	c.pages, c.rest, c.row = nil, nil, nil
	return err
}

func (c *cursor) release() {
	if c.page != nil {
		pq.Release(c.page)
		c.page = nil
	}
}

// nextRow moves to the next row. It may be used only where there is one.
func (c *cursor) nextRow() error {
	if len(c.rest) == 0 {
		if err := c.fill(); err != nil {
			if err == io.EOF {
				err = errShort
			}
			return err
		}
	}
	c.at = 0
	if !c.many {
		c.row, c.rest = c.rest[:1], c.rest[1:]
		return nil
	}
	return c.nextList()
}

// nextList takes all values up to one that begins another row, whatever pages
// they are in. Repetition level 0 begins a row.
func (c *cursor) nextList() error {
	if n := rowEnd(c.rest, 1); n < len(c.rest) {
		c.row, c.rest = c.rest[:n], c.rest[n:]
		return nil
	}
	c.kept = c.kept[:0]
	for from := 1; ; from = 0 {
		n := rowEnd(c.rest, from)
		for i := range c.rest[:n] {
			// The page is gone when the row is written; values point into it.
			c.kept = append(c.kept, c.rest[i].Clone())
		}
		if c.rest = c.rest[n:]; len(c.rest) > 0 {
			break
		}
		if err := c.fill(); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	c.row = c.kept
	return nil
}

// rowEnd returns where behind from the next row begins.
func rowEnd(values []pq.Value, from int) int {
	for i := from; i < len(values); i++ {
		if values[i].RepetitionLevel() == 0 {
			return i
		}
	}
	return len(values)
}

// fill takes more values. It returns io.EOF behind the last one.
func (c *cursor) fill() error {
	return guard(func() error {
		for {
			if c.values != nil && c.page != nil {
				n, err := c.values.ReadValues(c.buf)
				if n > 0 {
					c.rest = c.buf[:n]
					return nil
				}
				if err != nil && err != io.EOF {
					return err
				}
			}
			c.release()
			page, err := c.pages.ReadPage()
			if err != nil {
				return err
			}
			c.page, c.values = page, page.Values()
		}
	})
}

// group is a row group that is being read.
type group struct {
	cursors []cursor
	rows    int64 // not read yet
	buffer  *bufio.Reader
}

// open starts at the first row of g.
func (gr *group) open(f *pq.File, at io.ReaderAt, index int, leaves []*leaf, lists []bool) error {
	meta := &f.Metadata().RowGroups[index]
	if len(meta.Columns) != len(leaves) || meta.NumRows < 0 {
		return errors.New("its columns are not those of the schema")
	}
	for i := range meta.Columns {
		if err := checkChunk(at, f.Size(), &meta.Columns[i].MetaData, gr.buffer); err != nil {
			return columnError(leaves[i], err)
		}
	}
	return guard(func() error {
		chunks := f.RowGroups()[index].ColumnChunks()
		if len(chunks) != len(leaves) {
			return errors.New("its columns are not those of the schema")
		}
		if gr.cursors == nil {
			gr.cursors = make([]cursor, len(chunks))
		}
		for i, chunk := range chunks {
			gr.cursors[i].open(chunk, lists[i])
		}
		gr.rows = meta.NumRows
		return nil
	})
}

func (gr *group) close() error {
	gr.rows = 0
	return guard(func() error {
		var first error
		for i := range gr.cursors {
			if err := gr.cursors[i].close(); err != nil && first == nil {
				first = err
			}
		}
		return first
	})
}
