package jsonl

import (
	"bytes"
	"errors"
	"fmt"
)

var (
	errNoJSON   = errors.New("there is no JSON object or array behind the time")
	errNoPrefix = errors.New("there is no time before the JSON, as on the first line")
)

// notJSON is where a line stops being JSON.
type notJSON struct {
	at  int // byte of the JSON text, from 0
	end bool
}

// Error implements error.
func (e *notJSON) Error() string {
	if e.end {
		return fmt.Sprintf("not JSON: it ends too soon, after %d bytes", e.at)
	}
	return fmt.Sprintf("not JSON at byte %d of the JSON text", e.at)
}

// hasPrefix reports whether a line begins as a time before JSON does.
func hasPrefix(line []byte) bool { return len(line) > 0 && (isDigit(line[0]) || line[0] == '-') }

// splitLine cuts a line into the time before the JSON, the separator and the
// JSON. Without a time all of it is JSON.
func splitLine(line []byte) (prefix []byte, separator byte, text []byte) {
	if !hasPrefix(line) {
		return nil, 0, line
	}
	at := bytes.IndexByte(line, ' ')
	if tab := bytes.IndexByte(line[:max(at, 0)], '\t'); at < 0 || tab >= 0 {
		if at < 0 {
			tab = bytes.IndexByte(line, '\t')
		}
		if at = tab; at < 0 {
			return line, 0, nil
		}
	}
	return line[:at], line[at], line[at+1:]
}

// isCanonical reports whether a count is written as one writes it: then it can
// be made again from the time that it is.
func isCanonical(prefix []byte) bool {
	if len(prefix) == 0 || prefix[0] == '0' && len(prefix) > 1 {
		return false
	}
	for _, c := range prefix {
		if !isDigit(c) {
			return false
		}
	}
	return true
}
