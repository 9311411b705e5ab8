package itch

import "errors"

// Errors of opening an input.
var (
	// ErrDate: nothing says which day a file is of.
	ErrDate = errors.New("itch: the messages have only a time of day; give the day with --date YYYY-MM-DD")
	// ErrEmpty: the input has no bytes.
	ErrEmpty = errors.New("itch: input is empty")
)

// Errors of reading messages. They come inside a *feed.BadRecord.
var (
	// ErrLength: a length that no message of its type has.
	ErrLength = errors.New("itch: bad message length")
	// ErrTime: a time stamp beyond the end of the day.
	ErrTime = errors.New("itch: time is not one of a day")
	// ErrTruncated: the input ends inside a message.
	ErrTruncated = errors.New("itch: input breaks off")
	// ErrBlocks: a MoldUDP64 packet whose message blocks do not fill it.
	ErrBlocks = errors.New("itch: lengths of the MoldUDP64 packet contradict each other")
)
