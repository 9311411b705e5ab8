package feed

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// rawBufferSize is how much is read from disk at once, bytes.
	rawBufferSize = 128 << 10
	// zstdWindowMax bounds what a zstd frame may ask the decoder to hold, bytes.
	// It is what the zstd tool allows without --long.
	zstdWindowMax = 128 << 20
	// membersListed bounds how many members of a zip an error names.
	membersListed = 20
	// zipMethodZstd is the compression method of zstd in a zip (APPNOTE 4.4.5).
	zipMethodZstd = 93
)

// peel takes the containers off in.raw and returns the content and the name of
// the innermost container.
func (in *Input) peel(member string) (io.Reader, string, error) {
	buffered := bufio.NewReaderSize(in.raw, rawBufferSize)
	head, err := buffered.Peek(4)
	if err != nil && err != io.EOF {
		return nil, "", err
	}
	if !isZip(head) {
		if member != "" {
			return nil, "", fmt.Errorf("feed: %s is not a zip, so it has no member %q", in.Name, member)
		}
		r, container, err := in.peelStream(buffered)
		if err != nil || container == "" {
			return r, container, err
		}
		inner := bufio.NewReaderSize(r, rawBufferSize)
		if head, _ := inner.Peek(4); isZip(head) {
			return nil, "", fmt.Errorf("feed: %s: a zip inside %s cannot be read; unpack the %s first", in.Name, container, container)
		}
		return inner, container, nil
	}
	r, err := in.openZip(member)
	if err != nil {
		return nil, "", err
	}
	inner, container, err := in.peelStream(bufio.NewReaderSize(r, rawBufferSize))
	if container == "" {
		container = "zip"
	}
	return inner, container, err
}

// peelStream takes gzip or zstd off r, whichever its first bytes announce, and
// returns the content and the container's name, "" where r has none.
func (in *Input) peelStream(r *bufio.Reader) (io.Reader, string, error) {
	// A short input or a damaged one shows again when it is read.
	head, _ := r.Peek(4)
	switch {
	case isGzip(head):
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, "", in.containerError("gzip", 0, noEOF(err))
		}
		ahead := newReadAhead(z)
		in.closers = append(in.closers, ahead.Close)
		return ahead, "gzip", nil
	case isZstd(head):
		z, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(zstdWindowMax))
		if err != nil {
			return nil, "", in.containerError("zstd", 0, noEOF(err))
		}
		in.closers = append(in.closers, func() error { z.Close(); return nil })
		return z, "zstd", nil
	}
	return r, "", nil
}

// isGzip: RFC 1952 section 2.3.1, deflate, no reserved flag.
func isGzip(b []byte) bool {
	return len(b) >= 4 && b[0] == 0x1f && b[1] == 0x8b && b[2] == 8 && b[3]&0xe0 == 0
}

// isZstd: RFC 8878 section 3.1, a frame or a skippable frame.
func isZstd(b []byte) bool {
	if len(b) < 4 {
		return false
	}
	frame := b[0] == 0x28 && b[1] == 0xb5 && b[2] == 0x2f && b[3] == 0xfd
	skippable := b[0]&0xf0 == 0x50 && b[1] == 0x2a && b[2] == 0x4d && b[3] == 0x18
	return frame || skippable
}

// isZip: APPNOTE 4.3.7 and 4.3.16, a local file header or, in a zip without
// files, the end of the directory.
func isZip(b []byte) bool {
	return len(b) >= 4 && (string(b[:4]) == "PK\x03\x04" || string(b[:4]) == "PK\x05\x06")
}

// noEOF turns an end inside a container into what it is there: too soon.
func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// openZip opens the wanted member and sets in.Inner.
func (in *Input) openZip(member string) (io.Reader, error) {
	if in.raw.at == nil {
		return nil, fmt.Errorf("feed: %s: a zip cannot be read from a pipe, since its directory is at its end; give the file's path", in.Name)
	}
	directory, err := zip.NewReader(in.raw, in.raw.size)
	if errors.Is(err, zip.ErrFormat) {
		err = errors.New("no directory at its end: cut off or damaged")
	}
	if err != nil {
		// The directory is read from the end, so all the file has been seen.
		in.raw.consumed.Store(in.raw.size)
		return nil, in.containerError("zip", 0, err)
	}
	file, err := in.pickMember(directory.File, member)
	if err != nil {
		return nil, err
	}
	if file.Flags&1 != 0 {
		return nil, fmt.Errorf("feed: %s (%s): the zip is encrypted", in.Name, file.Name)
	}
	directory.RegisterDecompressor(zip.Deflate, func(r io.Reader) io.ReadCloser {
		return flate.NewReader(bufio.NewReaderSize(r, rawBufferSize))
	})
	directory.RegisterDecompressor(zipMethodZstd, zstd.ZipDecompressor(zstd.WithDecoderMaxWindow(zstdWindowMax)))
	in.Inner = file.Name
	start, err := file.DataOffset()
	if err != nil {
		return nil, in.containerError("zip", 0, noEOF(err))
	}
	in.raw.consumed.Store(start)
	r, err := file.Open()
	if err != nil {
		return nil, in.containerError("zip", 0, noEOF(err))
	}
	ahead := newReadAhead(r)
	in.closers = append(in.closers, func() error {
		// All that closing a decoder can say is what reading has said before.
		_ = r.Close()
		return nil
	}, ahead.Close)
	return ahead, nil
}

// pickMember returns the file called member, or the only one.
func (in *Input) pickMember(all []*zip.File, member string) (*zip.File, error) {
	var files []*zip.File
	for _, f := range all {
		// What macOS adds beside each file is not content.
		if f.FileInfo().IsDir() || strings.HasPrefix(f.Name, "__MACOSX/") {
			continue
		}
		if f.Name == member {
			return f, nil
		}
		files = append(files, f)
	}
	switch {
	case len(files) == 0:
		return nil, fmt.Errorf("feed: %s: the zip has no file in it", in.Name)
	case member != "":
		return nil, fmt.Errorf("feed: %s: the zip has no member %q; it has %s", in.Name, member, listMembers(files))
	case len(files) > 1:
		return nil, fmt.Errorf("feed: %s: the zip has %d files, name one with --member: %s", in.Name, len(files), listMembers(files))
	}
	return files[0], nil
}

func listMembers(files []*zip.File) string {
	var names []string
	for _, f := range files[:min(len(files), membersListed)] {
		names = append(names, f.Name)
	}
	list := strings.Join(names, ", ")
	if len(files) > membersListed {
		list += fmt.Sprintf(" and %d more", len(files)-membersListed)
	}
	return list
}
