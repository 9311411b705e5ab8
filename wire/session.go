package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// Encoding names the format of bodies and what a reader needs beside a body to
// decode it. A tape's manifest stores encodings and a hello announces them.
type Encoding struct {
	Format string            `json:"format"`           // name of the vendor format, such as "dbn"
	Detail map[string]string `json:"detail,omitempty"` // per format: version, schema, columns
	Topics string            `json:"topics,omitempty"` // topic prefix it applies to; "" is all
}

// Equal reports whether e and o say the same.
func (e Encoding) Equal(o Encoding) bool {
	return e.Format == o.Format && e.Topics == o.Topics && maps.Equal(e.Detail, o.Detail)
}

// Session is what a hello's payload says, as JSON, about the stream that
// follows. Readers ignore fields they do not know.
type Session struct {
	Publisher string     `json:"publisher"`           // program and version
	Mode      string     `json:"mode"`                // "lossless" or "live"
	Speed     string     `json:"speed,omitempty"`     // of a replay: "1x", "max"
	Tape      string     `json:"tape,omitempty"`      // of a replay: id of the tape; of several at once their ids, in order, by commas
	Sources   []string   `json:"sources,omitempty"`   // where the records came from
	Encodings []Encoding `json:"encodings,omitempty"` // of the bodies
	// ByReference is where the tape lies; its batches may be had as references.
	ByReference *TapePlace `json:"by_reference,omitempty"`
	// Start is how the epoch began, where it follows another of the same
	// publisher. Nil where it is the publisher's first.
	Start *SessionStart `json:"start,omitempty"`
	// PairEpoch is the epoch of the pair in which the publisher is active, where it is one
	// of a pair: readers of both go by the greatest. 0: it is not, or does not say.
	PairEpoch uint64 `json:"pair_epoch,omitempty"`
}

// SessionStart says why and where a publisher began a new epoch, and how far the
// one before had come on this shard. That one has no end mark: a reader that was
// in it sees by these numbers whether it has all of it.
type SessionStart struct {
	Reason   string `json:"reason"`             // "seek", "loop", "filter", "takeover"
	At       Nanos  `json:"at,omitempty"`       // the place in the source where it goes on
	Clock    string `json:"clock,omitempty"`    // that At is of: "receive", "event", "send"
	Snapshot bool   `json:"snapshot,omitempty"` // each shard begins with the last values as of At

	PreviousEpoch Epoch `json:"previous_epoch"`
	PreviousNext  Seq   `json:"previous_next"` // how many records the epoch before had on this shard
	PreviousHash  Hash  `json:"previous_hash"` // rolling hash over all of them
	// Before are epochs that the one before went on with by takeovers, the latest first: a
	// reader may not have heard that one.
	Before []SessionPlace `json:"before,omitempty"`
}

// SessionPlace says that an epoch begins where another one had Next records on the shard,
// or would have had them, had it gone on.
type SessionPlace struct {
	Epoch Epoch `json:"epoch"`
	Next  Seq   `json:"next"`
}

// TakeoverReason is the reason of an epoch by which a publisher goes on with what
// another one sent.
const TakeoverReason = "takeover"

// TakesOver reports whether the epoch goes on with what another publisher sent. It may
// begin before the end of that one's: PreviousNext is then less than what a reader has,
// and the difference is how many records at its beginning the reader has had. A
// PreviousHash of 0 is not known then.
func (s *SessionStart) TakesOver() bool { return s.Reason == TakeoverReason }

// ErrSession: a hello's payload is not a session description.
var ErrSession = errors.New("wire: hello payload is not a session description")

// AppendSession appends s as JSON and returns the extended slice.
func AppendSession(dst []byte, s *Session) ([]byte, error) {
	b, err := json.Marshal(s)
	return append(dst, b...), err
}

// ParseSession is the inverse of AppendSession. It copies what it keeps. The
// error is an ErrSession.
func ParseSession(payload []byte) (Session, error) {
	var s Session
	if err := json.Unmarshal(payload, &s); err != nil {
		return Session{}, fmt.Errorf("%w: %w", ErrSession, err)
	}
	return s, nil
}
