package wire

import (
	"bytes"
	"encoding/hex"
	"strconv"
)

// stepPrefix begins what a reader in lock-step subscribes to in order to say what
// it has handled of a shard.
const stepPrefix = Signature + "?step:"

// ReaderStep is how far a reader has handled a shard: of Epoch everything that was
// sent to it before sequence Next. What it was not sent, because it came later, it
// need not handle. Hello is the send time of the latest hello that it has had of the
// shard, so that the publisher knows that nothing from before waits for it any more.
type ReaderStep struct {
	Epoch Epoch
	Next  Seq
	Hello Nanos
}

// Topic is what the reader id subscribes to on the shard's socket in order to say
// so. Once the next step is subscribed to, it unsubscribes from this one.
func (s ReaderStep) Topic(id ReaderID) string {
	b := make([]byte, 0, 112)
	b = append(b, stepPrefix...)
	b = hex.AppendEncode(b, id[:])
	b = strconv.AppendUint(append(b, ':'), uint64(s.Epoch), 10)
	b = strconv.AppendUint(append(b, ':'), uint64(s.Next), 10)
	b = strconv.AppendInt(append(b, ':'), int64(s.Hello), 10)
	return string(b)
}

// ParseReaderStep reads the frame of a SignalStep or a SignalUnstep. ok is false
// where it is neither.
func ParseReaderStep(frame []byte) (id ReaderID, s ReaderStep, ok bool) {
	if len(frame) == 0 || frame[0] > 1 {
		return id, s, false
	}
	return parseStep(frame[1:])
}

func parseStep(topic []byte) (id ReaderID, s ReaderStep, ok bool) {
	rest, ok := bytes.CutPrefix(topic, []byte(stepPrefix))
	if !ok || len(rest) < 2*len(id)+1 || rest[2*len(id)] != ':' || !parseID(&id, rest) {
		return ReaderID{}, s, false
	}
	epoch, rest, _ := bytes.Cut(rest[2*len(id)+1:], []byte(":"))
	next, hello, ok := bytes.Cut(rest, []byte(":"))
	if !ok {
		return ReaderID{}, s, false
	}
	e, okEpoch := parseUint(epoch)
	n, okNext := parseUint(next)
	h, okHello := parseInt(hello)
	if !okEpoch || !okNext || !okHello || e == 0 {
		return ReaderID{}, s, false
	}
	return id, ReaderStep{Epoch: Epoch(e), Next: Seq(n), Hello: Nanos(h)}, true
}

// parseInt is parseUint for a number that may be negative.
func parseInt(text []byte) (n int64, ok bool) {
	text, negative := bytes.CutPrefix(text, []byte("-"))
	u, ok := parseUint(text)
	switch {
	case negative && u > 0 && u <= 1<<63:
		return -int64(u), ok // of 1<<63, itself
	case negative || u > 1<<63-1:
		return 0, false
	}
	return int64(u), ok
}

// parseUint reads a decimal number of 64 bits, digits alone, as short as it can be.
// It does not allocate: a publisher in lock-step reads two of them per batch and
// reader.
func parseUint(text []byte) (n uint64, ok bool) {
	if len(text) == 0 || len(text) > reportNumberMax || text[0] == '0' && len(text) > 1 {
		return 0, false
	}
	for _, c := range text {
		d := uint64(c - '0')
		if d > 9 || n > (1<<64-1-d)/10 {
			return 0, false
		}
		n = n*10 + d
	}
	return n, true
}
