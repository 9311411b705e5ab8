// Package render takes bodies apart by the encodings that a tape or a session
// names, and writes records as text for people, as JSON lines for programs, and
// values as the text of a cell.
package render
