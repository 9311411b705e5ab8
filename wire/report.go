package wire

import (
	"bytes"
	"encoding/hex"
	"math"
	"strconv"
	"time"
)

// OperatorPrefix is how the topics of notices begin, so that none is taken for a
// topic of the stream.
const OperatorPrefix = Signature + "!"

// SquawkTopic is the topic of notices about a reader that is late, stuck, or well
// again.
const SquawkTopic = OperatorPrefix + "squawk"

// reportPrefix begins what a reader subscribes to in order to say how it fares on
// a shard.
const reportPrefix = Signature + "?lag:"

// VerdictSizeMax is the longest verdict of a report, bytes.
const VerdictSizeMax = 16

// reportNumberMax is the longest number of a report, bytes.
const reportNumberMax = 20

// ReaderReport is how a reader fares on one shard, as it says itself.
type ReaderReport struct {
	Lag     time.Duration // how late the last batch came; whole microseconds travel
	Lost    uint64        // records lost so far
	Verdict string        // one word of a-z and '-', 1 to VerdictSizeMax bytes: "ok", "lagging"
}

// Topic is what the reader id subscribes to on the shard's socket in order to
// report. Once the next report is subscribed to, it unsubscribes from this one.
func (r ReaderReport) Topic(id ReaderID) string {
	b := make([]byte, 0, 96)
	b = append(b, reportPrefix...)
	b = hex.AppendEncode(b, id[:])
	b = strconv.AppendInt(append(b, ':'), r.Lag.Microseconds(), 10)
	b = strconv.AppendUint(append(b, ':'), r.Lost, 10)
	return string(append(append(b, ':'), r.Verdict...))
}

// ParseReaderReport reads the frame of a SignalReport. ok is false where it is
// none.
func ParseReaderReport(frame []byte) (id ReaderID, r ReaderReport, ok bool) {
	if len(frame) == 0 || frame[0] != 1 {
		return id, r, false
	}
	return parseReport(frame[1:])
}

func parseReport(topic []byte) (id ReaderID, r ReaderReport, ok bool) {
	rest, ok := bytes.CutPrefix(topic, []byte(reportPrefix))
	if !ok || len(rest) < 2*len(id)+1 || rest[2*len(id)] != ':' || !parseID(&id, rest) {
		return ReaderID{}, r, false
	}
	lag, rest, _ := bytes.Cut(rest[2*len(id)+1:], []byte(":"))
	lost, verdict, ok := bytes.Cut(rest, []byte(":"))
	if !ok || len(lag) > reportNumberMax || len(lost) > reportNumberMax || !ValidVerdict(verdict) {
		return ReaderID{}, r, false
	}
	us, err := strconv.ParseInt(string(lag), 10, 64)
	if err != nil || us > math.MaxInt64/1000 || us < math.MinInt64/1000 {
		return ReaderID{}, r, false
	}
	if r.Lost, err = strconv.ParseUint(string(lost), 10, 64); err != nil {
		return ReaderID{}, ReaderReport{}, false
	}
	r.Lag, r.Verdict = time.Duration(us)*time.Microsecond, string(verdict)
	return id, r, true
}

// ValidVerdict reports whether a verdict may stand in a report.
func ValidVerdict[T string | []byte](verdict T) bool {
	for i := range len(verdict) {
		if c := verdict[i]; c != '-' && (c < 'a' || c > 'z') {
			return false
		}
	}
	return len(verdict) > 0 && len(verdict) <= VerdictSizeMax
}
