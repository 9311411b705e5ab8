package columns

import "bytes"

// findTopic looks for a field that repeats the topic, or its end, in every
// record of the shape: feeds often have the symbol in each message.
func (s *sample) findTopic(g *grouped, payload []byte, names [][]byte) {
	s.topic = field{}
	longest := 0
	for i, t := range g.topic {
		if len(names[t]) > len(names[g.topic[longest]]) {
			longest = i
		}
	}
	name, body := names[g.topic[longest]], payload[g.bodies[longest]:][:s.width]
	for skip := range name {
		// Topics are words with something between them.
		if skip > 0 && isWord(name[skip-1]) {
			continue
		}
		at := bytes.Index(body, name[skip:])
		if at < 0 {
			continue
		}
		f := field{kind: fieldTopic, width: len(name) - skip, skip: skip}
		if !allZero(s.varies[at:][:f.width]) && f.fits(g, payload, at, names) {
			s.topic, s.at = f, at
		}
		return
	}
}

// fits reports whether the field repeats the topic in all records, and finds
// what fills it up.
func (f *field) fits(g *grouped, payload []byte, at int, names [][]byte) bool {
	known := false
	for i, t := range g.topic {
		name := names[t]
		name = name[min(f.skip, len(name)):]
		b := payload[int(g.bodies[i])+at:][:f.width]
		if string(b[:len(name)]) != string(name) {
			return false
		}
		for _, c := range b[len(name):] {
			if !known {
				f.pad, known = c, true
			}
			if c != f.pad {
				return false
			}
		}
	}
	return true
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}

func isWord(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
}
