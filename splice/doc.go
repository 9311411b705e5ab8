// Package splice makes tapes from tapes: a cut of one, several merged into one by
// time, one stored with another codec, and what can be saved of a damaged one. It
// also counts a tape's records over time.
//
// A new tape appears under its name only when it is whole. The tapes it is made
// from are only read. Records keep their bytes; the one exception is the topic
// sequence of a topic that several merged tapes have.
package splice
