package chp

import "errors"

// FormatError says why frames are not a message of the protocol.
type FormatError struct {
	Reason string // one of a fixed set of texts, so it can be a counter's label
}

// Error implements error.
func (e *FormatError) Error() string { return "chp: " + e.Reason }

// The reasons of a FormatError.
const (
	reasonFrames        = "message has the wrong number of frames"
	reasonKeyEmpty      = "key is empty"
	reasonKeyLong       = "key is longer than 255 bytes"
	reasonKeyZero       = "key has a zero byte"
	reasonSequence      = "sequence is not 8 bytes"
	reasonUUID          = "UUID is neither empty nor 16 bytes"
	reasonPropsLong     = "properties are longer than 8192 bytes"
	reasonPropsMany     = "more than 64 properties"
	reasonPropsEnd      = "properties do not end with a line feed"
	reasonPropsEqual    = "property without an equals sign"
	reasonPropsName     = "property without a name"
	reasonPropsValue    = "value of a property is longer than 255 bytes"
	reasonPropsTwice    = "property is there twice"
	reasonPropsZero     = "property has a zero byte"
	reasonRequest       = "request is not ICANHAZ?"
	reasonRequestFrames = "request has neither one frame nor two"
	reasonSubtreeLong   = "subtree is longer than 255 bytes"
	reasonSubtreeZero   = "subtree has a zero byte"
)

func malformed(reason string) error { return &FormatError{Reason: reason} }

// Errors of values that are handed in.
var (
	// ErrKey: a key is empty, longer than 255 bytes, has a zero byte, or is a
	// word of the protocol.
	ErrKey = errors.New("chp: key cannot be used")
	// ErrProperty: the name or value of a property cannot be written.
	ErrProperty = errors.New("chp: property cannot be written")
	// ErrValue: a value is larger than the configuration allows.
	ErrValue = errors.New("chp: value is too large")
	// ErrTTL: a time to live is negative, longer than 68 years, or no number.
	ErrTTL = errors.New("chp: time to live cannot be used")
	// ErrTableFull: the table has no room for another entry.
	ErrTableFull = errors.New("chp: table is full")
)

// Errors of a Server.
var (
	// ErrQueueFull: more updates wait to be published than the configuration
	// allows. The update was not published, and counts as missed by everyone.
	ErrQueueFull = errors.New("chp: too many updates wait")
	// ErrOrder: an update's sequence is not above the one before it.
	ErrOrder = errors.New("chp: sequence does not grow")
	// ErrReadOnly: the state is somebody else's, or changes are not taken.
	ErrReadOnly = errors.New("chp: table is read only")
	// ErrBusy: as many snapshots as the configuration allows are on their way.
	ErrBusy = errors.New("chp: too many requesters")
)

// Errors of a Client.
var (
	// ErrConfig: a setting makes no sense, or comes after Run.
	ErrConfig = errors.New("chp: bad configuration")
	// ErrUnconfirmed: a change was not seen to come back from the server in time.
	// It may or may not have been made.
	ErrUnconfirmed = errors.New("chp: change was not confirmed")
	// ErrClosed: the client or server has ended.
	ErrClosed = errors.New("chp: closed")
)
