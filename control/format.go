package control

// FormatError is a message that is no request or reply of this schema.
type FormatError struct{ Reason string }

// Error implements error.
func (e *FormatError) Error() string { return "control: " + e.Reason }

// Is makes errors with the same reason match.
func (e *FormatError) Is(target error) bool {
	t, ok := target.(*FormatError)
	return ok && t.Reason == e.Reason
}

// ErrSignature: the message is of another schema, or of another version of this.
var ErrSignature error = &FormatError{reasonSignature}

// The reasons. testkit/control has a vector for each.
const (
	reasonSignature = "signature is not TPDC01"
	reasonFrames    = "not two frames"
	reasonLarge     = "object has more than 1000000 bytes"
	reasonUTF8      = "object is not UTF-8"
	reasonObject    = "second frame is no JSON object"
	reasonTwice     = "a key is there twice"
	reasonClient    = "client is not 32 hexadecimal digits, or zero"
	reasonNumber    = "number is not from 1 to 2^53-1"
	reasonCommand   = "command is not a string of 1 to 64 bytes"
	reasonArgs      = "args is no object"
	reasonDeadline  = "deadline_ms is not from 0 to 86400000"
	reasonCode      = "code is not from 200 to 599"
	reasonText      = "reason or try is no string"
)

func malformed(reason string) error { return &FormatError{reason} }
