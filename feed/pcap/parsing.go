package pcap

import (
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// What the parsers of several protocols have in common.

// TopicPrefix returns what the topics of a capture begin with: Options.Topic, the
// venue, which is Options.Dataset or else the given one, and a dot. The error says
// that they leave no room for what comes behind them, such as "a symbol", of up to
// longest bytes.
func TopicPrefix(format string, opts *feed.Options, venue, what string, longest int) (string, error) {
	if opts.Dataset != "" {
		venue = opts.Dataset
	}
	prefix := opts.Topic + venue + "."
	if len(prefix)+longest > wire.TopicSizeMax {
		return "", fmt.Errorf("%s: topic prefix and venue of %d bytes leave no room for %s in %d", format, len(prefix), what, wire.TopicSizeMax)
	}
	return prefix, nil
}

// Messages walks over the count messages that b should be, one behind the other, for
// a Detect. take returns the message at the start of its argument and reports
// whether there is one. Messages reports whether b is all messages, and whether all
// of them are known.
func Messages(b []byte, count int, take func([]byte) ([]byte, bool), known func([]byte) bool) (whole, all bool) {
	all = true
	for range count {
		m, ok := take(b)
		if !ok {
			return false, false
		}
		all = all && known(m)
		b = b[len(m):]
	}
	return len(b) == 0, all
}

// NoteCount appends a count to notes, as in "heartbeats: 7", where it is not 0.
func NoteCount(notes []string, what string, n int64) []string {
	if n == 0 {
		return notes
	}
	return append(notes, fmt.Sprintf("%s: %d", what, n))
}
