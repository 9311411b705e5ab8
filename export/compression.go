package export

import (
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// Compression is what is around the content of a file.
type Compression uint8

// The compressions.
const (
	None Compression = iota
	Zstd
	Gzip
)

// CompressionOf returns the compression that a file's name asks for by its
// suffix: .zst or .zstd, .gz, or else none.
func CompressionOf(name string) Compression {
	switch strings.ToLower(filepath.Ext(name)) {
	case ".zst", ".zstd":
		return Zstd
	case ".gz":
		return Gzip
	}
	return None
}

// writer returns a writer that compresses into w. Closing it ends the frame and
// leaves w open.
func (c Compression) writer(w io.Writer) (io.WriteCloser, error) {
	switch c {
	case None:
		return openWriter{w}, nil
	case Zstd:
		return zstd.NewWriter(w)
	case Gzip:
		return gzip.NewWriter(w), nil
	}
	return nil, fmt.Errorf("%w: compression %d", ErrOption, c)
}

// openWriter is a writer whose Close does nothing.
type openWriter struct{ io.Writer }

// Close implements io.Closer.
func (openWriter) Close() error { return nil }
