package chp

import "time"

// Answer is one snapshot on its way to one requester: its messages, made one
// after the other. One goroutine uses it, and closes it.
type Answer struct {
	capture  Capture
	form     Form
	epoch    Properties
	subtree  []byte
	now      func() time.Time
	counters *counters
	closed   func() // told once; nil: nobody

	entries  uint64 // messages given so far
	ended    bool   // the last message was given
	err      error
	props    Properties // scratch
	sequence [8]byte
	frames   [5][]byte
}

// Next returns the frames of the next message, without an identity, borrowed
// until the call after it; nil after the last, or when the store failed. The
// last message is KTHXBAI; it does not come when the store failed.
func (a *Answer) Next() [][]byte {
	m, ok := a.message()
	if !ok {
		return nil
	}
	return m.AppendFrames(a.frames[:0], a.form, &a.sequence)
}

// Err says why Next ended before KTHXBAI, if it did.
func (a *Answer) Err() error { return a.err }

// message returns the next message, borrowed until the call after it.
func (a *Answer) message() (m Message, ok bool) {
	if a.ended || a.err != nil {
		return m, false
	}
	for e, ok := a.capture.Next(); ok; e, ok = a.capture.Next() {
		if !usableKey(e.Key) || len(e.Value) == 0 || !hasPrefix(e.Key, a.subtree) ||
			len(e.Properties) > 0 && !e.Properties.givable() {
			a.counters.entriesBad.Add(1)
			continue
		}
		a.entries++
		a.counters.entries.Add(1)
		return Message{Key: e.Key, Sequence: e.Sequence, Properties: a.properties(&e), Value: e.Value}, true
	}
	if a.err = a.capture.Err(); a.err != nil {
		return m, false
	}
	a.ended = true
	m = Message{Key: []byte(keyEnd), Sequence: a.capture.Sequence()}
	if a.form == KVMsg {
		a.props = append(a.props[:0], a.epoch...)
		a.props = appendNumber(a.props, propEntries, a.entries)
		m.Properties, m.Value = a.props, a.subtree
	}
	return m, true
}

// properties are an entry's own and, in whole seconds from now, its time to
// live: the server's clock is no client's business.
func (a *Answer) properties(e *Entry) Properties {
	p := e.Properties.without(true)
	if e.Expires.IsZero() {
		return p
	}
	a.props = append(a.props[:0], p...)
	a.props = appendTTL(a.props, max(e.Expires.Sub(a.now()), time.Second))
	return a.props
}

// Close lets go what the snapshot holds.
func (a *Answer) Close() {
	if a.capture != nil {
		a.capture.Close()
		a.capture = nil
		a.ended = true
		if a.closed != nil {
			a.closed()
		}
	}
}
