package chp

import "time"

// Store is state that somebody else keeps and a Server shows.
type Store interface {
	// Capture returns the entries whose keys begin with subtree, as they were at
	// one moment. It is called by the server's snapshot loop, or by whoever calls
	// Server.Serve or Server.Answer, from several goroutines at once. subtree is
	// borrowed until the capture is closed.
	//
	// Every update up to the capture's sequence must be in it, and every later one
	// must have been given to Server.Update, or be given to it yet.
	Capture(subtree []byte) (Capture, error)
}

// Capture is a Store's state at one moment. One goroutine uses it.
type Capture interface {
	// Sequence is the last update's that is in the capture.
	Sequence() uint64
	// Next returns the next entry, borrowed until the call after it, or false
	// after the last. Its Sequence may be 0. An entry with a key that cannot be
	// used or without a value is left out and counted.
	Next() (Entry, bool)
	// Err says why Next ended early, if it did: then the snapshot is not ended, and
	// whoever asked for it asks again.
	Err() error
	// Close lets go what the capture holds. It is called once.
	Close()
}

// tableCapture is a capture of a server's own table.
type tableCapture struct {
	walk     walk
	sequence uint64
	now      time.Time
}

// Sequence implements Capture.
func (c *tableCapture) Sequence() uint64 { return c.sequence }

// Next implements Capture.
func (c *tableCapture) Next() (Entry, bool) {
	for e := c.walk.next(); e != nil; e = c.walk.next() {
		// What is due by now will be removed with a sequence above the capture's.
		if e.Expires.IsZero() || e.Expires.After(c.now) {
			return *e, true
		}
	}
	return Entry{}, false
}

// Err implements Capture.
func (c *tableCapture) Err() error { return nil }

// Close implements Capture.
func (c *tableCapture) Close() { c.walk.chunks = nil }
