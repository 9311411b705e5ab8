package wire

import (
	"bytes"
	"encoding/hex"
	"strings"
	"unicode/utf8"
)

// Readers talk to the publisher through subscriptions on the data socket
// itself, so that what the publisher hears proves the way the data takes. These
// topics match no batch: byte 4 of a batch is its version, never '?'.
const (
	readyPrefix = Signature + "?ready:"
	donePrefix  = Signature + "?done:"
)

// ReaderNameMax is the longest name of a reader, bytes.
const ReaderNameMax = 64

// ReaderID is the identity of one run of one reader: random bytes.
type ReaderID [16]byte

// ReadyTopic is what a reader subscribes to when a hello has reached it. The
// name is for people and is cut to at most ReaderNameMax bytes.
func ReadyTopic(id ReaderID, name string) string {
	return readyPrefix + hex.EncodeToString(id[:]) + ":" + cutName(name)
}

// DoneTopic is what a reader subscribes to when the end mark has reached it.
func DoneTopic(id ReaderID) string { return donePrefix + hex.EncodeToString(id[:]) }

// ReaderSignal is what a subscription frame says about a reader.
type ReaderSignal uint8

// The signals.
const (
	SignalNone     ReaderSignal = iota // not about a reader: a filter on the data, or foreign
	SignalReady                        // the reader receives
	SignalDone                         // the reader has the end mark
	SignalLeft                         // the reader is gone; comes once per topic it had subscribed to
	SignalReport                       // the reader says how it fares: see ParseReaderReport
	SignalUnreport                     // an earlier report is withdrawn: nothing new is said
	SignalStep                         // the reader says what it has handled: see ParseReaderStep
	SignalUnstep                       // an earlier step is withdrawn: nothing new is said, or the reader is gone
)

// ParseReaderSignal reads a frame that an XPUB socket received: byte 1
// (subscribe) or 0 (unsubscribe) and the topic.
func ParseReaderSignal(frame []byte) (sig ReaderSignal, id ReaderID, name string) {
	if len(frame) == 0 || frame[0] > 1 {
		return SignalNone, id, ""
	}
	on, topic := frame[0] == 1, frame[1:]
	if rest, ok := bytes.CutPrefix(topic, []byte(readyPrefix)); ok {
		if len(rest) < 2*len(id)+1 || rest[2*len(id)] != ':' || !parseID(&id, rest) {
			return SignalNone, id, ""
		}
		name = cutName(strings.ToValidUTF8(string(rest[2*len(id)+1:]), "?"))
		if on {
			return SignalReady, id, name
		}
		return SignalLeft, id, name
	}
	if rest, ok := bytes.CutPrefix(topic, []byte(donePrefix)); ok && len(rest) == 2*len(id) && parseID(&id, rest) {
		if on {
			return SignalDone, id, ""
		}
		return SignalLeft, id, ""
	}
	if id, _, ok := parseReport(topic); ok {
		if on {
			return SignalReport, id, ""
		}
		return SignalUnreport, id, ""
	}
	if id, _, ok := parseStep(topic); ok {
		if on {
			return SignalStep, id, ""
		}
		return SignalUnstep, id, ""
	}
	return SignalNone, ReaderID{}, ""
}

func parseID(id *ReaderID, text []byte) bool {
	_, err := hex.Decode(id[:], text[:2*len(id)])
	return err == nil
}

// cutName cuts a name to ReaderNameMax bytes, not inside a character.
func cutName(name string) string {
	if len(name) <= ReaderNameMax {
		return name
	}
	n := ReaderNameMax
	for n > 0 && !utf8.RuneStart(name[n]) {
		n--
	}
	return name[:n]
}
