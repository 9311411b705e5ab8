package snail

import (
	"fmt"
	"slices"
)

// Verdict says how a reader fares. A greater one is worse.
type Verdict uint8

// The verdicts. Their words are part of the wire format: readers report with
// them, squawks carry them.
const (
	// OK: the reader keeps up.
	OK Verdict = iota
	// Lagging: late, and not yet too late.
	Lagging
	// Snail: later than the limit, or records were lost.
	Snail
	// Stuck: does not move at all. Its handler has not returned, or its
	// connection has bytes queued and takes none.
	Stuck
	// Gone: the reader left while it was not OK.
	Gone
)

var verdictWords = []string{"ok", "lagging", "snail", "stuck", "gone"}

// String returns the verdict's word.
func (v Verdict) String() string { return word(verdictWords, v) }

// Slow reports whether a policy must act: Snail or Stuck.
func (v Verdict) Slow() bool { return v == Snail || v == Stuck }

// ParseVerdict reads a verdict's word.
func ParseVerdict(s string) (Verdict, error) { return parse[Verdict](verdictWords, "verdict", s) }

// MarshalText writes the word.
func (v Verdict) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// UnmarshalText reads the word.
func (v *Verdict) UnmarshalText(b []byte) (err error) {
	*v, err = ParseVerdict(string(b))
	return err
}

// Cause says how a verdict was seen.
type Cause uint8

// The causes.
const (
	// CauseNone: nothing was seen that is not OK.
	CauseNone Cause = iota
	// CauseLag: batches were taken later than the limit after they were sent.
	CauseLag
	// CauseLost: sequences are missing.
	CauseLost
	// CauseHandler: the reader's handler has not returned.
	CauseHandler
	// CauseReported: the reader said so itself.
	CauseReported
	// CauseQueue: bytes wait in the TCP queue of the reader's connection and
	// none are taken.
	CauseQueue
)

var causeWords = []string{"none", "lag", "lost", "handler", "reported", "tcp queue"}

// String returns the cause's word.
func (c Cause) String() string { return word(causeWords, c) }

// ParseCause reads a cause's word.
func ParseCause(s string) (Cause, error) { return parse[Cause](causeWords, "cause", s) }

// MarshalText writes the word.
func (c Cause) MarshalText() ([]byte, error) { return []byte(c.String()), nil }

// UnmarshalText reads the word.
func (c *Cause) UnmarshalText(b []byte) (err error) {
	*c, err = ParseCause(string(b))
	return err
}

// word returns what words calls v, or a number.
func word[T ~uint8](words []string, v T) string {
	if int(v) < len(words) {
		return words[v]
	}
	return fmt.Sprint(uint8(v))
}

func parse[T ~uint8](words []string, what, s string) (T, error) {
	if i := slices.Index(words, s); i >= 0 {
		return T(i), nil
	}
	return 0, fmt.Errorf("snail: %s %q, want one of %q", what, s, words)
}
