package control

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"
)

// Signature is the first frame of every request and reply: the schema and its
// version.
const Signature = "TPDC01"

// Bounds of messages.
const (
	// MessageMax is the size of the second frame of a request or reply at most,
	// bytes: with its envelopes it is within the 1 MiB that brokers take.
	MessageMax = 1_000_000
	// NumberMax is the greatest number: any language's JSON can tell it exactly.
	NumberMax = 1<<53 - 1
	// DeadlineMax is the longest deadline.
	DeadlineMax = 24 * time.Hour

	commandMax = 64
)

// ClientID tells clients apart, for as long as anybody may remember them. As text
// it is 32 hexadecimal digits. The zero ClientID is none.
type ClientID [16]byte

// NewClientID draws an id.
func NewClientID() ClientID {
	var id ClientID
	_, _ = rand.Read(id[:]) // never fails
	return id
}

// String returns the id as text.
func (id ClientID) String() string { return hex.EncodeToString(id[:]) }

// ParseClientID reads an id, in either case. The error is a *FormatError.
func ParseClientID(s string) (ClientID, error) {
	var id ClientID
	if len(s) != 2*len(id) {
		return ClientID{}, malformed(reasonClient)
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil || id == (ClientID{}) {
		return ClientID{}, malformed(reasonClient)
	}
	return id, nil
}

// Request is a command to a service.
type Request struct {
	Client  ClientID
	Number  uint64 // 1 to NumberMax; with Client it says which command this is
	Command string
	// Args is a JSON object; nil is an empty one.
	Args json.RawMessage
	// Deadline is how long the command may take; 0 leaves it to the service. It
	// travels in whole milliseconds.
	Deadline time.Duration
}

// Decode reads the arguments into args, a pointer to the type of the command.
// The error is an *Error with BadRequest.
func (r *Request) Decode(args any) error {
	if r.Args == nil {
		return nil
	}
	err := json.Unmarshal(r.Args, args)
	var wrong *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrong) && wrong.Field != "":
		return &Error{BadRequest, fmt.Sprintf("%s: %s is a JSON %s, want %s", r.Command, wrong.Field, wrong.Value, wrong.Type), seeSchema}
	}
	return &Error{BadRequest, fmt.Sprintf("%s: arguments: %v", r.Command, err), seeSchema}
}

const seeSchema = "docs/CONTROL.md has the arguments of every command"

// Reply is what a service says to a request.
type Reply struct {
	Client ClientID // of the request
	Number uint64
	Code   Code
	Reason string          // what is wrong and where; "" where Code is Done
	Try    string          // what to do next; "" where there is no advice
	Result json.RawMessage // of Done: of the command's type
}

// Err returns the reply as an *Error; nil where it is Done.
func (r *Reply) Err() error {
	if r.Code == Done {
		return nil
	}
	return &Error{r.Code, r.Reason, r.Try}
}

// The objects of the second frames, as they are written.
type (
	requestObject struct {
		Client   string          `json:"client"`
		Number   uint64          `json:"number"`
		Command  string          `json:"command"`
		Args     json.RawMessage `json:"args,omitempty"`
		Deadline int64           `json:"deadline_ms,omitempty"`
	}
	replyObject struct {
		Client string          `json:"client,omitempty"`
		Number uint64          `json:"number,omitempty"`
		Code   Code            `json:"code"`
		Reason string          `json:"reason,omitempty"`
		Try    string          `json:"try,omitempty"`
		Result json.RawMessage `json:"result,omitempty"`
	}
)

// AppendRequest appends the two frames of a request and returns the extended
// slice. The error is a *FormatError where ParseRequest would not take them.
func AppendRequest(dst [][]byte, r *Request) ([][]byte, error) {
	if err := r.check(); err != nil {
		return dst, err
	}
	return appendObject(dst, &requestObject{r.Client.String(), r.Number, r.Command, r.Args, milliseconds(r.Deadline)})
}

// milliseconds rounds up, so that a short deadline is one.
func milliseconds(d time.Duration) int64 {
	return int64((d + time.Millisecond - 1) / time.Millisecond)
}

func (r *Request) check() error {
	switch {
	case r.Client == (ClientID{}):
		return malformed(reasonClient)
	case r.Number < 1 || r.Number > NumberMax:
		return malformed(reasonNumber)
	case r.Command == "" || len(r.Command) > commandMax || !utf8.ValidString(r.Command):
		return malformed(reasonCommand)
	case r.Deadline < 0 || r.Deadline > DeadlineMax:
		return malformed(reasonDeadline)
	case r.Args != nil && !isObject(r.Args):
		return malformed(reasonArgs)
	}
	return nil
}

// AppendReply appends the two frames of a reply and returns the extended slice.
// A reply to what could not be read has no client or no number. The error is a
// *FormatError where ParseReply would not take them.
func AppendReply(dst [][]byte, r *Reply) ([][]byte, error) {
	if err := r.check(); err != nil {
		return dst, err
	}
	o := replyObject{Code: r.Code, Reason: r.Reason, Try: r.Try, Result: r.Result}
	if r.Client != (ClientID{}) && r.Number != 0 {
		o.Client, o.Number = r.Client.String(), r.Number
	}
	return appendObject(dst, &o)
}

func (r *Reply) check() error {
	switch {
	case r.Code < 200 || r.Code > 599:
		return malformed(reasonCode)
	case r.Number > NumberMax:
		return malformed(reasonNumber)
	}
	return nil
}

func appendObject(dst [][]byte, o any) ([][]byte, error) {
	b, err := encode(o)
	if err != nil {
		return dst, malformed(reasonObject)
	}
	switch {
	case len(b) > MessageMax:
		return dst, malformed(reasonLarge)
	case !utf8.Valid(b):
		return dst, malformed(reasonUTF8)
	}
	return append(dst, []byte(Signature), b), nil
}

// encode writes JSON without escapes that are for HTML alone.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte{'\n'}), nil
}

// canonical writes arguments so that those with the same values are the same
// bytes: without white space, keys in order. Numbers are as they were written.
func canonical(args json.RawMessage) []byte {
	if args == nil {
		return []byte("{}")
	}
	d := json.NewDecoder(bytes.NewReader(args))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return args // nothing that was checked
	}
	b, err := encode(v)
	if err != nil {
		return args
	}
	return b
}
