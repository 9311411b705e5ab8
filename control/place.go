package control

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// PlaceKind says how a Place is meant.
type PlaceKind int

// The kinds of places.
const (
	AtStart PlaceKind = iota // of what is played
	AtTime
	AtMark
	ByDistance // from where the deck is
)

// Place is a place on a tape, as people write it:
//
//	start                           where play begins
//	2023-12-25T14:30:00.5Z          RFC 3339, to the nanosecond
//	1703514600000000000             nanoseconds since 1970
//	@open                           the mark of that name
//	+10m  -5s                       so much tape time from here
type Place struct {
	Kind   PlaceKind
	Time   int64         // AtTime, nanoseconds since 1970, by the deck's clock
	Mark   string        // AtMark
	Offset time.Duration // ByDistance
}

// ParsePlace reads a Place. The error is an *Error with BadRequest.
func ParsePlace(s string) (Place, error) {
	bad := func(why string) (Place, error) {
		return Place{}, &Error{BadRequest, fmt.Sprintf("place %.80q: %s", s, why),
			"a place is start, RFC 3339 such as 2023-12-25T14:30:00Z, nanoseconds since 1970, @ and a mark's name, or +10m, -5s from here"}
	}
	switch {
	case s == "":
		return bad("there is none")
	case s == "start":
		return Place{Kind: AtStart}, nil
	case s[0] == '@':
		if len(s) == 1 {
			return bad("a mark has a name")
		}
		return Place{Kind: AtMark, Mark: s[1:]}, nil
	case s[0] == '+' || s[0] == '-':
		d, err := time.ParseDuration(s)
		if err != nil {
			return bad("no duration")
		}
		return Place{Kind: ByDistance, Offset: d}, nil
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return Place{Kind: AtTime, Time: n}, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return bad("no time")
	}
	n := t.UnixNano()
	if !time.Unix(0, n).Equal(t) {
		return bad("the time is not between 1678 and 2262")
	}
	return Place{Kind: AtTime, Time: n}, nil
}

// String returns the place as ParsePlace reads it.
func (p Place) String() string {
	switch p.Kind {
	case AtTime:
		if p.Time < 0 { // a minus is a distance's
			return time.Unix(0, p.Time).UTC().Format(time.RFC3339Nano)
		}
		return strconv.FormatInt(p.Time, 10)
	case AtMark:
		return "@" + p.Mark
	case ByDistance:
		if p.Offset < 0 {
			return p.Offset.String()
		}
		return "+" + p.Offset.String()
	}
	return "start"
}

// CheckName refuses what is no name of a deck or recorder: it is part of keys and of
// file names. what is for the reason. The error is an *Error with BadRequest.
func CheckName(what, name string) error {
	other := func(r rune) bool { return !strings.ContainsRune(nameLetters, r) }
	if name == "" || len(name) > nameMax || strings.ContainsFunc(name, other) || strings.Trim(name, ".") == "" {
		return &Error{BadRequest, fmt.Sprintf("%s %.80q is no name", what, name), "a name has letters, digits, '-', '_' and '.', at most 64"}
	}
	return nil
}

const (
	nameLetters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	nameMax     = 64
)
