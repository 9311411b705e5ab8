package dbn

import (
	"cmp"
	"slices"
	"strconv"
	"unicode/utf8"
)

// span says that an instrument had a symbol over a range of UTC days.
type span struct {
	id       uint32
	startDay uint32
	endDay   uint32 // exclusive
	symOff   uint32 // of the symbol in symbolTable.text
	symLen   uint16
}

// symbolTable holds the mappings of a file head, by instrument id. It copies the
// symbols, so that the head need not be kept.
type symbolTable struct {
	text  []byte
	spans []span // by id; those of one id in file order
}

// newSymbolTable reads the mappings of m. Those without an instrument id on one
// side or without a usable symbol on the other are left out: they name nothing.
func newSymbolTable(m *metadata) (*symbolTable, error) {
	t := &symbolTable{}
	inverse := m.stypeIn == stypeInstrumentID && m.stypeOut != stypeInstrumentID
	if !inverse && m.stypeOut != stypeInstrumentID {
		return t, m.eachInterval(func(interval) {}) // only checks them
	}
	var last []byte // the symbol that was copied last, within text
	err := m.eachInterval(func(iv interval) {
		symbol, idText := iv.symbol, iv.mapped
		if inverse {
			symbol, idText = iv.mapped, iv.symbol
		}
		id, ok := parseID(idText)
		if !ok || !usable(symbol) || iv.startDay >= iv.endDay {
			return
		}
		if string(last) != string(symbol) {
			t.text = append(t.text, symbol...)
			last = t.text[len(t.text)-len(symbol):]
		}
		t.spans = append(t.spans, span{
			id: id, startDay: iv.startDay, endDay: iv.endDay,
			symOff: uint32(len(t.text) - len(symbol)), symLen: uint16(len(symbol)),
		})
	})
	slices.SortStableFunc(t.spans, func(a, b span) int { return cmp.Compare(a.id, b.id) })
	return t, err
}

// of returns the spans of an instrument, in file order.
func (t *symbolTable) of(id uint32) []span {
	i, _ := slices.BinarySearchFunc(t.spans, id, func(s span, id uint32) int { return cmp.Compare(s.id, id) })
	j := i
	for j < len(t.spans) && t.spans[j].id == id {
		j++
	}
	return t.spans[i:j]
}

// find returns the symbol that an instrument had at a time, borrowed from the
// table, or nil. The first mapping in the file wins where several cover the day.
// A record without a time gets the symbol only where the instrument had one and
// the same all the time.
func (t *symbolTable) find(id uint32, ts uint64) []byte {
	spans := t.of(id)
	if ts == undefinedTime {
		return t.only(spans)
	}
	day := uint32(ts / dayNs)
	for _, s := range spans {
		if day >= s.startDay && day < s.endDay {
			return t.symbol(s)
		}
	}
	return nil
}

func (t *symbolTable) only(spans []span) []byte {
	if len(spans) == 0 {
		return nil
	}
	first := t.symbol(spans[0])
	for _, s := range spans[1:] {
		if string(t.symbol(s)) != string(first) {
			return nil
		}
	}
	return first
}

func (t *symbolTable) symbol(s span) []byte { return t.text[s.symOff:][:s.symLen:s.symLen] }

// parseID reads a decimal instrument id.
func parseID(b []byte) (uint32, bool) {
	if len(b) == 0 || len(b) > len("4294967295") {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return uint32(n), n <= 1<<32-1
}

// usable reports whether b may be part of a topic: not empty, UTF-8, without
// control characters.
func usable(b []byte) bool {
	if len(b) == 0 || len(b) > topicSizeMax || !utf8.Valid(b) {
		return false
	}
	for _, c := range b {
		if c < ' ' || c == 0x7f {
			return false
		}
	}
	return true
}

// mappingSymbol returns the symbol that a symbol mapping record gives its
// instrument, borrowed from it, or nil. Of the two symbols it prefers the raw
// symbol. Version 1 does not say which that is: then it is the second, which
// live gateways resolve to, unless that is only the instrument id in digits.
func mappingSymbol(l *layout, body []byte, id uint32) []byte {
	in, out, raw := mappingV1Symbols(body)
	if l.size == mappingSizeV2 {
		in, out, raw = mappingV2Symbols(body)
	}
	for _, s := range [...][]byte{raw, out, in} {
		if n, ok := parseID(s); usable(s) && (!ok || n != id) {
			return s
		}
	}
	return nil
}

// Offsets in the symbol mapping records; a test holds them against the layouts.
const (
	mappingInV1   = headSize
	mappingOutV1  = mappingInV1 + symbolLenV1
	mappingSizeV1 = 80

	mappingStypeIn  = headSize
	mappingInV2     = mappingStypeIn + 1
	mappingStypeOut = mappingInV2 + symbolLenV2
	mappingOutV2    = mappingStypeOut + 1
	mappingSizeV2   = 176
)

func mappingV1Symbols(b []byte) (in, out, raw []byte) {
	return cstring(b[mappingInV1:][:symbolLenV1]), cstring(b[mappingOutV1:][:symbolLenV1]), nil
}

func mappingV2Symbols(b []byte) (in, out, raw []byte) {
	in, out = cstring(b[mappingInV2:][:symbolLenV2]), cstring(b[mappingOutV2:][:symbolLenV2])
	switch {
	case b[mappingStypeOut] == stypeRawSymbol:
		raw = out
	case b[mappingStypeIn] == stypeRawSymbol:
		raw = in
	}
	return in, out, raw
}

func appendID(dst []byte, id uint32) []byte { return strconv.AppendUint(dst, uint64(id), 10) }
