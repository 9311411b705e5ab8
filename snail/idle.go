package snail

import (
	"math"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// On a quiet shard send times hide a step back of the publisher's clock that is shorter
// than the pause between two messages, such as a second of nothing but marks: every
// message then seems late. But a reader that was seen to wait for a message, for a good
// part of the time by which that is late, is not why it is late. Where the message is
// small, nor is the way: it had nothing to carry.

const (
	idleBytes = 4096 // of payload that are carried at once by any way
	idleShare = 4    // the part of its lag for which a message was waited for
	idleTimes = 3    // messages that were waited for, all late: that is not the reader
)

// idle is what is seen of a reader that waits.
type idle struct {
	since instantNs // the reader has waited since then; 0: it does not
	heard uint64    // messages by then

	times int   // messages that were waited for, since the estimate of skew was looked at
	low   int64 // the least of raw since
}

// saw takes note of a look at the reader. asleep: the last one is long ago.
func (i *idle) saw(at instantNs, busy, asleep bool, heard uint64) {
	switch {
	case busy:
		i.since = 0
	case i.since == 0 || i.heard != heard || asleep:
		i.since, i.heard = at, heard
	}
}

// waited is how long the reader has been seen to wait for a message that has come now.
// ticked is when it was looked at last.
func (i *idle) waited(now, ticked instantNs, heard uint64, stuck time.Duration) time.Duration {
	since := i.since
	i.since = 0
	if since == 0 || i.heard != heard || time.Duration(now-ticked) >= stuck/2 {
		return 0
	}
	return time.Duration(now - since)
}

// excuses reports whether a message's lag says nothing about the reader. Where several
// had to be waited for, and all that came is late, the estimate of skew was wrong.
func (i *idle) excuses(s *skew, h *wire.Header, waited, lag time.Duration) bool {
	if i.times == 0 {
		i.low = math.MaxInt64
	}
	i.low = min(i.low, s.raw)
	if waited == 0 || waited < lag/idleShare || h.PayloadSize > idleBytes {
		return false
	}
	if i.times++; i.times == idleTimes {
		i.times = 0
		if sub(i.low, s.floor) >= int64(stepMin) {
			s.floor = i.low
		}
	}
	return true
}
