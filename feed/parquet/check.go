package parquet

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	pq "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"
)

// Bounds on what a file may ask to be held. The library reserves what a length
// field says before it looks at the bytes, so the lengths are looked at first.
const (
	footerMax     = 128 << 20 // bytes of the directory at the file's end
	pageMax       = 256 << 20 // bytes of a page, unpacked
	pageValuesMax = 1 << 24   // values of a page
)

const (
	magic          = "PAR1"
	magicEncrypted = "PARE"
	tailSize       = 8 // the directory's length and the magic
)

var (
	errNotParquet = errors.New("this is not a Parquet file")
	errEncrypted  = errors.New("the file is encrypted")
	errCutOff     = errors.New("the file is cut off: it does not end as Parquet does")
)

// checkFooter checks the directory at the end of a file before it is read.
func checkFooter(r io.ReaderAt, size int64) error {
	var head, tail [tailSize]byte
	if size < int64(len(magic))+tailSize {
		return errNotParquet
	}
	if _, err := r.ReadAt(head[:len(magic)], 0); err != nil {
		return err
	}
	if _, err := r.ReadAt(tail[:], size-tailSize); err != nil && err != io.EOF {
		return err
	}
	switch first, last := string(head[:len(magic)]), string(tail[4:]); {
	case first == magicEncrypted || first == magic && last == magicEncrypted:
		return errEncrypted
	case first != magic:
		return errNotParquet
	case last != magic:
		return errCutOff
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	if n > size-tailSize-int64(len(magic)) || n > footerMax {
		return fmt.Errorf("a directory of %d bytes does not fit a file of %d", n, size)
	}
	section := io.NewSectionReader(r, size-tailSize-n, n)
	w := &thriftWalk{r: bufio.NewReader(section), left: n}
	if err := w.structure(0, 0); err != nil {
		return fmt.Errorf("the directory at the file's end: %w", err)
	}
	return nil
}

// checkChunk checks the heads of all pages of a column of a row group.
func checkChunk(r io.ReaderAt, size int64, meta *format.ColumnMetaData, buffer *bufio.Reader) error {
	at := meta.DataPageOffset
	if d := meta.DictionaryPageOffset; d > 0 && d < at {
		at = d
	}
	if meta.TotalCompressedSize < 0 || at < int64(len(magic)) || at > size || meta.TotalCompressedSize > size-at {
		return fmt.Errorf("it lies outside the file: %d bytes at %d", meta.TotalCompressedSize, at)
	}
	end := at + meta.TotalCompressedSize
	for values := int64(0); at < end && values < meta.NumValues; {
		n, err := checkPage(r, at, end, &values, buffer)
		if err != nil {
			return fmt.Errorf("page at %d: %w", at, err)
		}
		at += n
	}
	return nil
}

// Fields of PageHeader in parquet.thrift.
const (
	pageUnpacked   = 2
	pagePacked     = 3
	pageData       = 5
	pageDictionary = 7
	pageDataV2     = 8
	pageValues     = 1 // in each of the three
)

// checkPage checks the head of the page at at and returns the page's size. It
// adds the data page's values to values.
func checkPage(r io.ReaderAt, at, end int64, values *int64, buffer *bufio.Reader) (int64, error) {
	buffer.Reset(io.NewSectionReader(r, at, end-at))
	var unpacked, packed, count int64
	w := &thriftWalk{r: buffer, left: end - at, number: func(in, field int16, v int64) {
		switch {
		case in == 0 && field == pageUnpacked:
			unpacked = v
		case in == 0 && field == pagePacked:
			packed = v
		case field == pageValues && (in == pageData || in == pageDataV2):
			count = v
			*values += v
		case field == pageValues && in == pageDictionary:
			count = v
		}
	}}
	if err := w.structure(0, 0); err != nil {
		return 0, noEOF(err)
	}
	if packed < 0 || packed > w.left {
		return 0, fmt.Errorf("it has %d bytes where %d are left", packed, w.left)
	}
	if unpacked < 0 || unpacked > pageMax {
		return 0, fmt.Errorf("it has %d bytes unpacked; %d are allowed", unpacked, pageMax)
	}
	if count < 0 || count > pageValuesMax {
		return 0, fmt.Errorf("it has %d values; %d are allowed", count, pageValuesMax)
	}
	return end - at - w.left + packed, nil
}

// noEOF turns an end inside a structure into what it is there: too soon.
func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// guard calls f and makes a panic of the library's, which it has for some kinds
// of damage, an error.
func guard(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", pq.ErrCorrupted, p)
		}
	}()
	return f()
}
