package control

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"
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

// Errors of parsing.
var (
	// ErrSignature: the message is of another schema, or of another version of this.
	ErrSignature = errors.New("control: signature is not " + Signature)
	// ErrMessage: the message has the signature and is not what the schema says.
	ErrMessage = errors.New("control: malformed message")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMessage, fmt.Sprintf(format, args...))
}

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

// ParseClientID reads an id, in either case.
func ParseClientID(s string) (ClientID, error) {
	var id ClientID
	if len(s) != 2*len(id) {
		return ClientID{}, malformed("client is not 32 hexadecimal digits")
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return ClientID{}, malformed("client is not 32 hexadecimal digits")
	}
	if id == (ClientID{}) {
		return ClientID{}, malformed("client is zero")
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
		Client string          `json:"client"`
		Number uint64          `json:"number"`
		Code   Code            `json:"code"`
		Reason string          `json:"reason,omitempty"`
		Try    string          `json:"try,omitempty"`
		Result json.RawMessage `json:"result,omitempty"`
	}
)

// AppendRequest appends the two frames of a request and returns the extended
// slice. The error is an ErrMessage where the request is none that ParseRequest
// would take.
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
		return malformed("there is no client")
	case r.Number < 1 || r.Number > NumberMax:
		return malformed("number is not from 1 to %d", uint64(NumberMax))
	case r.Command == "" || len(r.Command) > commandMax:
		return malformed("command has %d bytes, want 1 to %d", len(r.Command), commandMax)
	case r.Deadline < 0 || r.Deadline > DeadlineMax:
		return malformed("deadline_ms is not from 0 to %d", DeadlineMax.Milliseconds())
	case r.Args != nil && !isObject(r.Args):
		return malformed("args is no object")
	}
	return nil
}

// AppendReply appends the two frames of a reply and returns the extended slice.
// A reply to what could not be read may have no client and number 0.
func AppendReply(dst [][]byte, r *Reply) ([][]byte, error) {
	o := replyObject{Number: r.Number, Code: r.Code, Reason: r.Reason, Try: r.Try, Result: r.Result}
	if r.Client != (ClientID{}) {
		o.Client = r.Client.String()
	}
	if err := checkCode(r.Code); err != nil {
		return dst, err
	}
	if r.Number > NumberMax {
		return dst, malformed("number is beyond %d", uint64(NumberMax))
	}
	return appendObject(dst, &o)
}

func checkCode(c Code) error {
	if c < 200 || c > 599 {
		return malformed("code %d is not from 200 to 599", int(c))
	}
	return nil
}

func appendObject(dst [][]byte, o any) ([][]byte, error) {
	b, err := encode(o)
	if err != nil {
		return dst, malformed("%v", err)
	}
	if len(b) > MessageMax {
		return dst, malformed("the object has %d bytes, at most %d", len(b), MessageMax)
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
