package resync

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Code says why a request has failed.
type Code uint16

// The codes. Their numbers are part of the protocol.
const (
	CodeBadRequest   Code = 1  // the request breaks the protocol
	CodeVersion      Code = 2  // the request is of a version that the server does not speak
	CodeUnknownEpoch Code = 3  // ErrUnknownEpoch
	CodeGone         Code = 4  // ErrGone
	CodeNotYet       Code = 5  // ErrNotYet
	CodeDeadline     Code = 6  // nothing could be sent for as long as the request allowed
	CodeBusy         Code = 7  // this client, or all together, ask for more than the server serves at once
	CodeNotServed    Code = 8  // this server does not serve such requests
	CodeFailed       Code = 9  // the source could not be read
	CodeStopping     Code = 10 // the server is about to stop
)

var codeNames = []string{"", "bad request", "unknown version", "unknown epoch", "gone", "not there yet", "deadline passed",
	"busy", "not served here", "source failed", "stopping"}

// String returns the code's name, or its number where it has none.
func (c Code) String() string {
	if c > 0 && int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("code %d", uint16(c))
}

// Advice says what a client had best do about an error.
type Advice uint8

// The advices. Their numbers are part of the protocol.
const (
	AdviceNone  Advice = 0 // asking again leads nowhere
	AdviceRetry Advice = 1 // ask again after Wait
	AdviceOther Advice = 2 // ask another server
	AdviceSkip  Advice = 3 // ask from Skip on: what lies before is not to be had here
)

// RequestError is a server's answer that a request has failed. What was sent for
// it before is good.
type RequestError struct {
	ID     RequestID
	Code   Code
	Advice Advice
	Wait   time.Duration // before asking again; whole ms, 0 at once
	Next   wire.Seq      // of a refill: the sequence after the last one sent
	Skip   wire.Seq      // of a refill: where what can be had begins again; 0: unknown
	Text   string        // for people
}

// Error implements error.
func (e *RequestError) Error() string {
	if e.Text == "" {
		return "resync: server: " + e.Code.String()
	}
	return fmt.Sprintf("resync: server: %v: %s", e.Code, e.Text)
}

// Is makes an answer that stands for a source's error match it.
func (e *RequestError) Is(target error) bool {
	return e.Code != 0 && errors.Is(sourceError(e.Code), target)
}

func sourceError(c Code) error {
	switch c {
	case CodeUnknownEpoch:
		return ErrUnknownEpoch
	case CodeGone:
		return ErrGone
	case CodeNotYet:
		return ErrNotYet
	}
	return nil
}

// AppendError appends the frames of e, the head to head and the text to text, and
// returns the extended slices. The text is cut to TextMax.
func AppendError(head, text []byte, e *RequestError) (h, t []byte) {
	h, b := appendHead(head, CommandError, e.ID)
	le := binary.LittleEndian
	le.PutUint16(b[16:], uint16(e.Code))
	b[18] = uint8(e.Advice)
	if e.Wait > 0 {
		le.PutUint32(b[20:], milliseconds(e.Wait))
	}
	le.PutUint64(b[24:], uint64(e.Next))
	le.PutUint64(b[32:], uint64(e.Skip))
	return h, append(text, e.Text[:min(len(e.Text), TextMax)]...)
}

// ParseError is the inverse of AppendError. Codes and advices that are not known
// are kept as they are. The error is a *ProtocolError.
func ParseError(head, text []byte) (RequestError, error) {
	id, err := parse(head, CommandError)
	if err != nil {
		return RequestError{ID: id}, err
	}
	le := binary.LittleEndian
	e := RequestError{
		ID: id, Code: Code(le.Uint16(head[16:])), Advice: Advice(head[18]),
		Wait: time.Duration(le.Uint32(head[20:])) * time.Millisecond,
		Next: wire.Seq(le.Uint64(head[24:])), Skip: wire.Seq(le.Uint64(head[32:])),
	}
	switch {
	case head[19] != 0:
		return e, bad(reasonReserved)
	case e.Code == 0:
		return e, bad(reasonCode)
	case len(text) > TextMax:
		return e, bad(reasonText)
	}
	e.Text = string(text)
	return e, nil
}
