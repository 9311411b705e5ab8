package tape

import (
	"errors"
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// scanned is what a walk over a segment's blocks found.
type scanned struct {
	index  index
	end    int64  // where the last whole block ends
	reason string // why the walk ended there; "" at the end of the file
}

// scan walks a segment's blocks from header to header. With content set it also
// checks the stored bytes and the padding, as is needed where a crash may have
// left any mixture of old and new sectors. The error is one of the disk;
// damage is a reason.
func (t *Tape) scan(number, first int, size int64, content bool) (scanned, error) {
	s := scanned{index: index{first: first, segmentSize: size}}
	f, err := t.fs.Open(t.path(segmentName(number)), fsys.Read)
	if err != nil {
		return s, fmt.Errorf("tape: open segment: %w", err)
	}
	defer f.Close()
	var head [SegmentHeaderSize]byte
	if err := readAt(f, head[:], 0, size); err != nil {
		return s, err
	}
	if s.reason = checkSegmentHeader(head[:min(size, SegmentHeaderSize)], t.meta.ID, number, first); s.reason != "" {
		return s, nil
	}
	var buf []byte
	for s.end = SegmentHeaderSize; s.end < size; {
		b, header, reason, err := readHeader(f, s.end, size)
		if err == nil && reason == "" && content {
			buf, reason, err = readStored(f, buf, &b)
		}
		if s.reason = reason; err != nil || reason != "" {
			return s, err
		}
		s.index.entries = appendIndexEntry(s.index.entries, s.end, header[:])
		s.end = b.end()
	}
	return s, nil
}

// readHeader reads and checks the block header at off of a file of size bytes,
// and that the block lies inside the file.
func readHeader(f io.ReaderAt, off, size int64) (b BlockInfo, header [BlockHeaderSize]byte, reason string, err error) {
	if off+BlockHeaderSize > size {
		return b, header, reasonHeaderCut, nil
	}
	if err := readAt(f, header[:], off, size); err != nil {
		return b, header, "", err
	}
	b, reason = parseBlockHeader(header[:])
	b.Offset = off
	if reason == "" && b.end() > size {
		reason = reasonStoredCut
	}
	return b, header, reason, nil
}

// readStored reads a block's stored bytes and padding into buf, which it
// returns, grown where needed, and checks them.
func readStored(f io.ReaderAt, buf []byte, b *BlockInfo) (_ []byte, reason string, err error) {
	n := int(b.end() - b.Offset - BlockHeaderSize)
	if cap(buf) < n {
		buf = make([]byte, n)
	}
	buf = buf[:n]
	if err := readAt(f, buf, b.Offset+BlockHeaderSize, b.end()); err != nil {
		return buf, "", err
	}
	switch {
	case checksum(buf[:b.StoredSize]) != b.StoredCRC:
		reason = reasonStoredCRC
	case !allZero(buf[b.StoredSize:]):
		reason = reasonPadding
	}
	return buf, reason, nil
}

// readAt fills b from off, or as much of it as lies below size.
func readAt(f io.ReaderAt, b []byte, off, size int64) error {
	if rest := size - off; int64(len(b)) > rest {
		b = b[:max(rest, 0)]
	}
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("tape: file shrank while it was read: %w", io.ErrUnexpectedEOF)
	}
	return fmt.Errorf("tape: read: %w", err)
}

// searchStep is how much of a segment is searched at once, bytes.
const searchStep = 1 << 20

// beyond looks at what follows a place where no whole block begins. end is
// where its last byte that is not zero ends. later reports whether a whole block
// follows that was written when the place had been synced already: then the
// place is damaged. Otherwise it is the torn tail of a writer that died, even
// where whole blocks follow: a disk may store later sectors first.
func (t *Tape) beyond(number int, from, size int64) (end int64, later bool, err error) {
	f, err := t.fs.Open(t.path(segmentName(number)), fsys.Read)
	if err != nil {
		return from, false, fmt.Errorf("tape: open segment: %w", err)
	}
	defer f.Close()
	end = from
	for at := from; at < size; {
		next, last, err := findBlock(f, at, size)
		if err != nil {
			return end, later, err
		}
		end = max(end, last)
		if next == nil {
			break
		}
		later = later || int64(next.Synced) > from
		at = next.end()
		end = max(end, at)
	}
	return end, later, nil
}

// findBlock returns the first whole block at or after from, or nil, and where
// the last byte before it that is not zero ends.
func findBlock(f io.ReaderAt, from, size int64) (b *BlockInfo, last int64, err error) {
	buf, last := make([]byte, searchStep), from
	for at := from; at < size; at += searchStep {
		chunk := buf[:min(searchStep, size-at)]
		if err := readAt(f, chunk, at, size); err != nil {
			return nil, last, err
		}
		if allZero(chunk) {
			continue
		}
		for i := range chunk {
			off := at + int64(i)
			if off%blockAlign == 0 && off > from && i+len(blockMagic) <= len(chunk) && string(chunk[i:i+len(blockMagic)]) == blockMagic {
				if b, err := wholeBlock(f, off, size); b != nil || err != nil {
					return b, last, err
				}
			}
			if chunk[i] != 0 {
				last = off + 1
			}
		}
	}
	return nil, last, nil
}

// wholeBlock returns the block at off, or nil where there is none.
func wholeBlock(f io.ReaderAt, off, size int64) (*BlockInfo, error) {
	b, _, reason, err := readHeader(f, off, size)
	if err != nil || reason != "" {
		return nil, err
	}
	_, reason, err = readStored(f, nil, &b)
	if err != nil || reason != "" {
		return nil, err
	}
	return &b, nil
}
