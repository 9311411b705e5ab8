package wire

import (
	"encoding/json"
	"errors"
	"fmt"
)

// DeckTopic is the topic of notices by which a player says where it is and what it
// does: at each change, and every second. The body is a DeckNotice.
const DeckTopic = OperatorPrefix + "deck"

// DeckNotice is where a player is, as the JSON body of a notice on DeckTopic.
// Readers ignore keys they do not know.
type DeckNotice struct {
	Time    Nanos  `json:"time"`              // when it was so, by the player's wall clock
	Session string `json:"session,omitempty"` // name of the deck
	// Command is what brought the change about: "play" at the start, "takeover", "seek",
	// "pause", "resume", "step", "speed", "loop", "unloop", "filter", "squeeze", "stop",
	// or "end" at the tape's end. Empty where it says how things stand, once a second.
	Command string `json:"command,omitempty"`
	Version uint64 `json:"version"` // +1 at each change
	Phase   string `json:"phase"`   // "waiting", "playing", "paused", "held", "finished"
	Speed   string `json:"speed"`   // "1x", "max"
	Clock   string `json:"clock"`   // that times are of: "receive", "event", "send"
	// Position is the time of the latest record that went out; behind a new epoch's
	// beginning, of the next one.
	Position Nanos     `json:"position"`
	Ordinal  Ordinal   `json:"ordinal"` // place in the tape's one order up to which everything has gone out
	Epoch    Epoch     `json:"epoch"`   // of the stream
	Pass     int       `json:"pass"`    // over the tape, from 0
	Round    uint64    `json:"round,omitempty"`
	Loop     *DeckLoop `json:"loop,omitempty"` // what is played again and again
	// Topics are the prefixes of the topics that are played; none: all of them.
	Topics []string `json:"topics,omitempty"`
	// TopicsLeftOut is how many prefixes are not listed, for want of room.
	TopicsLeftOut int    `json:"topics_left_out,omitempty"`
	SqueezeNs     int64  `json:"squeeze_ns,omitempty"`  // what longer idle stretches last
	SqueezedNs    int64  `json:"squeezed_ns,omitempty"` // idle tape time that was left out so far
	Records       uint64 `json:"records"`               // sent so far, last values not counted
	// Stream is what another player of the same source needs to go on in the place of
	// this one; nil where it is not one of a pair.
	Stream *DeckStream `json:"stream,omitempty"`
}

// DeckStream says how an epoch of a player's stream lies on its source.
type DeckStream struct {
	Start Ordinal `json:"start"` // place of its first record, counted through all passes
	// Starts are such places per shard, where they differ: none of its records lies before,
	// and all behind do.
	Starts []Ordinal `json:"starts,omitempty"`
	AsOf   *Ordinal  `json:"as_of,omitempty"`  // place in a pass that its last values come before; nil: it has none
	Values *Ordinal  `json:"values,omitempty"` // how many these are; nil while they are being sent
	// Clock is the tape's time when the notice was made, which goes on from there at the
	// player's speed while that plays; 0: it begins with the next record.
	Clock Nanos `json:"clock,omitempty"`
	// Places of the loop, in a pass, and whether at a pace a round lasts to its end.
	LoopFrom  Ordinal `json:"loop_from,omitempty"`
	LoopTo    Ordinal `json:"loop_to,omitempty"`
	LoopWaits bool    `json:"loop_waits,omitempty"`
	// What the player plays of its source: [From, To) by its clock, 0 is open, and
	// how often; below 0 without end.
	From   Nanos `json:"from,omitempty"`
	To     Nanos `json:"to,omitempty"`
	Passes int   `json:"passes"`
	// Points are, per shard, where two of its records are; nil where nothing was sent.
	Points []*DeckPoint `json:"points"`
}

// DeckPoint is where records of a shard are: ordinals as headers have them.
type DeckPoint struct {
	First   Ordinal `json:"first"` // of sequence 0
	Seq     Seq     `json:"seq"`   // of a later record, or the same
	Ordinal Ordinal `json:"ordinal"`
}

// DeckLoop is a part of a tape that is played again and again.
type DeckLoop struct {
	From Nanos `json:"from"`         // time of its first record
	To   Nanos `json:"to,omitempty"` // where it ends; 0: with the tape
}

// ErrDeck: a notice's body does not say where a player is.
var ErrDeck = errors.New("wire: notice is no deck notice")

// AppendDeck appends d as JSON and returns the extended slice.
func AppendDeck(dst []byte, d *DeckNotice) []byte {
	b, err := json.Marshal(d)
	if err != nil {
		panic("BUG: a deck notice does not marshal: " + err.Error())
	}
	return append(dst, b...)
}

// ParseDeck is the inverse of AppendDeck. It copies what it keeps. The error is an
// ErrDeck. What it says must not be trusted beyond showing it: any publisher can say
// anything.
func ParseDeck(body []byte) (DeckNotice, error) {
	var d DeckNotice
	if err := json.Unmarshal(body, &d); err != nil {
		return DeckNotice{}, fmt.Errorf("%w: %w", ErrDeck, err)
	}
	return d, nil
}
