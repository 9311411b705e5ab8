package dbn

import "github.com/tapedeck/tapedeck/feed/window"

// recordWindow is a window that can find where the next record begins.
type recordWindow struct{ window.Window }

// take appends the next n bytes to dst.
func (w *recordWindow) take(dst []byte, n int) ([]byte, error) {
	for n > 0 {
		if err := w.Fill(1); err != nil {
			return dst, err
		}
		k := min(n, len(w.Rest()))
		dst = append(dst, w.Rest()[:k]...)
		w.Pass(k)
		n -= k
	}
	return dst, nil
}

// resync moves from a place that is no record to the next place that is one: to
// where the length byte there points, if a record begins there, else to the
// first byte at which one does. The error is the reader's where the input ends
// first; all of it is skipped then.
func (w *recordWindow) resync(size int) error {
	if size >= headSize {
		if err := w.Fill(size + lookahead); err != nil && !window.Ended(err) {
			return err
		}
		if b := w.Rest(); len(b) > size && w.recordAt(b[size:]) {
			w.Pass(size)
			return nil
		}
	}
	for {
		w.Pass(1)
		err := w.Fill(lookahead)
		if err != nil && (!window.Ended(err) || len(w.Rest()) == 0) {
			return err
		}
		if w.recordAt(w.Rest()) {
			return nil
		}
	}
}

// lookahead is what recordAt wants to see: a record and the head of the next.
const lookahead = recordSizeMax + headSize

// recordAt reports whether a believable record begins at b, whole and followed
// by another one or by the end of the input.
func (w *recordWindow) recordAt(b []byte) bool {
	if !plausible(b) {
		return false
	}
	size := int(b[lengthOff]) * wordSize
	if len(b) < size {
		return false
	}
	next := b[size:]
	return plausible(next) || (len(next) < headSize && window.Ended(w.Failed()))
}
