package control

import "strconv"

// Code says how a command went.
type Code int

// The codes.
const (
	Done         Code = 200
	Pending      Code = 202 // not done yet: ask again with the same client and number
	BadRequest   Code = 400
	NotFound     Code = 404 // no such deck, tape, recorder, job
	NotInTime    Code = 408 // the deadline has passed; the command may still take effect
	Refused      Code = 409 // the state does not allow it
	TooLarge     Code = 413
	BeyondTape   Code = 416
	Busy         Code = 429
	Failed       Code = 500
	NoCommand    Code = 501
	NotAvailable Code = 503 // the service is stopping
)

var codeNames = map[Code]string{
	Done: "done", Pending: "not done yet", BadRequest: "bad request", NotFound: "not found", NotInTime: "not in time",
	Refused: "not now", TooLarge: "too large", BeyondTape: "beyond the tape", Busy: "busy", Failed: "failed",
	NoCommand: "unknown command", NotAvailable: "not available",
}

// String returns the code in words, or its number where it is not one of ours.
func (c Code) String() string {
	if name, ok := codeNames[c]; ok {
		return name
	}
	return strconv.Itoa(int(c))
}

// Error is a command that was not done: a reply whose code is neither Done nor
// Pending. What a Command returns as one is given to the client as it is.
type Error struct {
	Code   Code
	Reason string // what is wrong and where, lower case, no full stop
	Try    string // what to do next, in words; "" where there is no advice
}

// Error implements error. It says nothing of Try.
func (e *Error) Error() string {
	if e.Reason == "" {
		return "control: " + e.Code.String()
	}
	return "control: " + e.Reason
}

// Is makes an Error match another with the same code and no reason, so that
// errors.Is(err, &Error{Code: NotFound}) asks for the code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code && t.Reason == "" && t.Try == ""
}
