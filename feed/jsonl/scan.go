package jsonl

// depthMax is how deep objects and arrays may be nested, as in encoding/json.
const depthMax = 10000

// scanner checks that a text is one JSON value and finds the values at some
// paths in it. It does what encoding/json's Valid does, and no more of
// Unmarshal than the paths ask for.
type scanner struct {
	root  *node
	slots []span // by node.slot; a zero span is no value

	b       []byte
	escapes int                     // how many have been passed over
	depth   int                     // containers open around the value at hand
	kinds   [depthMax/64 + 1]uint64 // of the containers that skip is in: 1 for objects
	bad     int                     // where the text is not JSON
}

// span is a value within the text, a string's quotes included.
type span struct{ from, to int }

// scan reads b, which it keeps until the next call. It reports whether b is
// JSON, an object or array; the slots then hold what was found.
func (s *scanner) scan(b []byte) bool {
	s.b, s.depth, s.bad = b, 0, 0
	clear(s.slots)
	i := blank(b, 0)
	if i == len(b) || b[i] != '{' && b[i] != '[' {
		s.bad = i
		return false
	}
	if i = s.value(i, s.root); i < 0 {
		return false
	}
	if i = blank(b, i); i < len(b) {
		s.bad = i
		return false
	}
	return true
}

// fail notes where the text goes wrong. It returns -1, as all that scan a part
// of it then do; else they return where the part ends.
func (s *scanner) fail(i int) int {
	s.bad = i
	return -1
}

// value scans the value at i, which has paths below it where n is not nil.
func (s *scanner) value(i int, n *node) int {
	if n == nil || i >= len(s.b) {
		return s.skip(i)
	}
	from := i
	switch {
	case s.b[i] == '{' && len(n.children) > 0:
		i = s.object(i, n)
	case s.b[i] == '[' && len(n.children) > 0:
		i = s.array(i, n)
	default:
		i = s.skip(i)
	}
	if n.slot >= 0 && i >= 0 {
		s.slots[n.slot] = span{from, i}
	}
	return i
}

// object scans an object that has wanted values in it.
func (s *scanner) object(i int, n *node) int {
	s.depth++
	if i = blank(s.b, i+1); i < len(s.b) && s.b[i] == '}' {
		s.depth--
		return i + 1
	}
	for {
		from, escapes := i, s.escapes
		if i = s.text(i); i < 0 {
			return i
		}
		child := n.named(s.b[from:i], s.escapes != escapes)
		if i = blank(s.b, i); i >= len(s.b) || s.b[i] != ':' {
			return s.fail(i)
		}
		if child != nil {
			child.forget(s.slots) // of an earlier key of this name
		}
		if i = s.value(blank(s.b, i+1), child); i < 0 {
			return i
		}
		if i = blank(s.b, i); i >= len(s.b) {
			return s.fail(i)
		}
		switch s.b[i] {
		case ',':
			i = blank(s.b, i+1)
		case '}':
			s.depth--
			return i + 1
		default:
			return s.fail(i)
		}
	}
}

// array scans an array that has wanted values in it.
func (s *scanner) array(i int, n *node) int {
	s.depth++
	if i = blank(s.b, i+1); i < len(s.b) && s.b[i] == ']' {
		s.depth--
		return i + 1
	}
	for index := 0; ; index++ {
		if i = s.value(i, n.indexed(index)); i < 0 {
			return i
		}
		if i = blank(s.b, i); i >= len(s.b) {
			return s.fail(i)
		}
		switch s.b[i] {
		case ',':
			i = blank(s.b, i+1)
		case ']':
			s.depth--
			return i + 1
		default:
			return s.fail(i)
		}
	}
}

// skip passes over the value at i, whatever it is. It does not recurse, so the
// depth of a hostile text costs a bit each.
func (s *scanner) skip(i int) int {
	b, open := s.b, 0
	for {
		if i = blank(b, i); i >= len(b) {
			return s.fail(i)
		}
		switch c := b[i]; c {
		case '"':
			i = s.text(i)
		case '{', '[':
			if s.depth+open == depthMax {
				return s.fail(i)
			}
			bit := uint64(1) << (open % 64)
			if s.kinds[open/64] &^= bit; c == '{' {
				s.kinds[open/64] |= bit
			}
			i = blank(b, i+1)
			if i < len(b) && b[i] == c+2 { // in ASCII } is { + 2, and ] is [ + 2
				i++
				break
			}
			open++
			if c == '{' {
				if i = s.name(i); i < 0 {
					return i
				}
			}
			continue
		default:
			i = s.scalar(i)
		}
		if i < 0 {
			return i
		}
		if i, open = s.behind(i, open); open == 0 || i < 0 {
			return i
		}
	}
}

// behind passes over what follows a value with so many containers open around
// it: closing brackets, and the comma and name before the next value.
func (s *scanner) behind(i, open int) (at, stillOpen int) {
	b := s.b
	for open > 0 {
		if i = blank(b, i); i >= len(b) {
			return s.fail(i), open
		}
		object := s.kinds[(open-1)/64]>>((open-1)%64)&1 != 0
		switch c := b[i]; {
		case c == ',' && object:
			return s.name(blank(b, i+1)), open
		case c == ',':
			return i + 1, open
		case c == '}' && object, c == ']' && !object:
			i++
			open--
		default:
			return s.fail(i), open
		}
	}
	return i, 0
}

// name passes over a name and the colon behind it.
func (s *scanner) name(i int) int {
	if i = s.text(i); i < 0 {
		return i
	}
	if i = blank(s.b, i); i >= len(s.b) || s.b[i] != ':' {
		return s.fail(i)
	}
	return i + 1
}

// plainText are the bytes that stand for themselves in a string. Bytes that are
// not UTF-8 pass, as in encoding/json.
var plainText = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// text passes over the string at i.
func (s *scanner) text(i int) int {
	b := s.b
	if i >= len(b) || b[i] != '"' {
		return s.fail(i)
	}
	for i++; i < len(b); i++ {
		c := b[i]
		if plainText[c] {
			continue
		}
		if c == '"' {
			return i + 1
		}
		if c != '\\' {
			break
		}
		if i = s.escape(i); i < 0 {
			return i
		}
	}
	return s.fail(i)
}

// escape checks the escape at i and returns its last byte.
func (s *scanner) escape(i int) int {
	s.escapes++
	if i++; i >= len(s.b) {
		return s.fail(i)
	}
	switch s.b[i] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return i
	case 'u':
		for range 4 {
			if i++; i >= len(s.b) || !isHex(s.b[i]) {
				return s.fail(i)
			}
		}
		return i
	}
	return s.fail(i)
}

func isHex(c byte) bool { return isDigit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func isDigit(c byte) bool { return c-'0' <= 9 }

// scalar passes over a number, true, false or null.
func (s *scanner) scalar(i int) int {
	rest := s.b[i:]
	switch rest[0] {
	case 't':
		if len(rest) >= 4 && string(rest[:4]) == "true" {
			return i + 4
		}
		return s.fail(i)
	case 'f':
		if len(rest) >= 5 && string(rest[:5]) == "false" {
			return i + 5
		}
		return s.fail(i)
	case 'n':
		if len(rest) >= 4 && string(rest[:4]) == "null" {
			return i + 4
		}
		return s.fail(i)
	}
	return s.number(i)
}

// number passes over a number: RFC 8259, section 6.
func (s *scanner) number(i int) int {
	b := s.b
	if b[i] == '-' {
		i++
	}
	first := i
	if i = digits(b, i); i == first || i > first+1 && b[first] == '0' {
		return s.fail(first)
	}
	if i < len(b) && b[i] == '.' {
		first = i + 1
		if i = digits(b, first); i == first {
			return s.fail(i)
		}
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		if i++; i < len(b) && (b[i] == '+' || b[i] == '-') {
			i++
		}
		first = i
		if i = digits(b, first); i == first {
			return s.fail(i)
		}
	}
	return i
}

func digits(b []byte, i int) int {
	for i < len(b) && b[i]-'0' <= 9 {
		i++
	}
	return i
}

// blank passes over white space.
func blank(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}
