package snail

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Squawk tells people that a reader's verdict has changed. As JSON it is the
// body of a notice on wire.SquawkTopic and the fields of tapedeck's squawk messages:
//
//	{"time":1700000000000000000,"reader":"00..ff","name":"desk 4","peer":"10.0.0.7:53122",
//	 "shard":0,"verdict":"snail","before":"lagging","cause":"lag","action":"die",
//	 "lag_ns":1200000000,"lost":0,"skew_ns":-31000,"queued_bytes":0}
//
// Readers of it must ignore keys they do not know.
type Squawk struct {
	// Time is when it was seen, by the clock of who squawks.
	Time wire.Nanos `json:"time"`
	// Reader is the reader's id in hexadecimal, "" where it has not said one.
	Reader string `json:"reader"`
	// Name is what the reader calls itself, for people.
	Name string `json:"name"`
	// Peer is the address of the reader's end of the connection, "" where the
	// transport has none or the reader speaks of itself.
	Peer string `json:"peer,omitempty"`
	// Shard is the one that it was seen on.
	Shard int `json:"shard"`
	// Verdict is the new one, Before the one that it follows.
	Verdict Verdict `json:"verdict"`
	Before  Verdict `json:"before"`
	// Cause is how it was seen.
	Cause Cause `json:"cause"`
	// Action is what is done about it by who squawks.
	Action Action `json:"action"`
	// LagNs is how long after it was sent the reader takes a batch, ns, without
	// the clocks' skew.
	LagNs int64 `json:"lag_ns"`
	// Lost is how many records the reader has not had, so far, on this shard.
	Lost uint64 `json:"lost"`
	// SkewNs is how far the reader's clock seems ahead of the publisher's, ns, the
	// shortest way between them included.
	SkewNs int64 `json:"skew_ns"`
	// QueuedBytes are those that wait in the TCP queue of the connection.
	QueuedBytes int64 `json:"queued_bytes"`
}

// AppendJSON appends the squawk as a JSON object and returns the extended slice.
func (s *Squawk) AppendJSON(dst []byte) []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("BUG: a squawk does not marshal: " + err.Error())
	}
	return append(dst, b...)
}

// ParseSquawk reads the JSON object of a squawk. It must not be trusted beyond
// showing it to people: any publisher can say anything.
func ParseSquawk(b []byte) (Squawk, error) {
	var s Squawk
	if err := json.Unmarshal(b, &s); err != nil {
		return Squawk{}, fmt.Errorf("snail: squawk: %w", err)
	}
	return s, nil
}

// Who names the reader as well as it can be named: name, address, or id.
func (s *Squawk) Who() string {
	var parts []string
	for _, part := range []string{s.Name, s.Peer} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	switch {
	case len(parts) == 0 && s.Reader == "":
		return "this reader"
	case len(parts) == 0:
		return "reader " + s.Reader
	}
	return "reader " + strings.Join(parts, " at ")
}

// String is the squawk in words, for a log.
func (s *Squawk) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s is %v on shard %d", s.Who(), s.Verdict, s.Shard)
	if s.Before != s.Verdict {
		fmt.Fprintf(&b, ", was %v", s.Before)
	}
	if s.Cause != CauseNone {
		fmt.Fprintf(&b, " (%s)", s.because())
	}
	fmt.Fprintf(&b, ": lag %v, %d records lost", round(s.LagNs), s.Lost)
	if skew := round(s.SkewNs); skew.Abs() >= time.Millisecond {
		fmt.Fprintf(&b, ", clock skew %v", skew)
	}
	if s.Action > ActWarn {
		fmt.Fprintf(&b, "; %v", s.Action)
	}
	return b.String()
}

func (s *Squawk) because() string {
	switch s.Cause {
	case CauseHandler:
		return "its handler does not return"
	case CauseQueue:
		return fmt.Sprintf("%d bytes wait in its TCP queue and it takes none", s.QueuedBytes)
	case CauseReported:
		return "as it reports itself"
	case CauseLost:
		return "records are missing"
	}
	return s.Cause.String()
}

// round makes a time fit for people.
func round(ns int64) time.Duration {
	d := time.Duration(ns)
	if d.Abs() >= time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Microsecond)
}

// hexID is a reader's id as JSON has it; "" for none.
func hexID(id wire.ReaderID) string {
	if id == (wire.ReaderID{}) {
		return ""
	}
	return hex.EncodeToString(id[:])
}
