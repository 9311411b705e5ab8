package wire

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// referred is the message that vectors of references start from: the stream
// message, whose payload and order lie at offset 0x1234 of a tape's third
// segment.
func referred(t testing.TB) vector {
	m := stream()
	m.Flags = FlagReference
	v := m.frames(t, nil)
	r := Reference{Offset: 0x1234, Segment: 2}
	for i := range r.Tape {
		r.Tape[i] = byte(i)
	}
	v.reference = AppendReference(nil, &r)
	return v
}

func referenceVectors(t testing.TB) []vector {
	r := refused{t: t}
	ok := referred(t)
	ok.name, ok.expect = "ok-reference", "ok"
	ok.about = "A reference, and payload and order as they lie at its place: segment 2, offset 4660."
	b, err := ok.parse()
	if err != nil {
		t.Fatal(err)
	}
	ok.values = values(&b)
	bad := func(name, expect, about string, edit func(v *vector)) {
		v := referred(t)
		edit(&v)
		r.add(name, expect, about, v)
	}
	bad("reference-short", reasonReference, "A reference frame of 31 bytes.", func(v *vector) { v.reference = v.reference[:31] })
	bad("reference-long", reasonReference, "A reference frame of 33 bytes.", func(v *vector) { v.reference = append(v.reference, 0) })
	bad("reference-empty", reasonReference, "An empty reference frame.", func(v *vector) { v.reference = []byte{} })
	bad("reference-reserved", reasonReference, "The reserved field of the reference is not zero.", func(v *vector) { v.reference[28] = 1 })
	bad("reference-checksum", reasonCRC, "At the reference's place lies something else.", func(v *vector) { v.payload[30] ^= 1 })
	bad("reference-place-short", reasonFrameSizes, "At the reference's place lie too few bytes.", func(v *vector) { v.order = v.order[:1] })
	bad("reference-unflagged", reasonNoReference, "A reference frame, and a header that is none of a reference.", func(v *vector) {
		put16(6, 0)(v.header)
	})
	bad("reference-missing", reasonByReference, "The header is a reference's, and the bytes follow themselves.", func(v *vector) { v.reference = nil })
	for name, flags := range map[string]HeaderFlags{
		"reference-copy": FlagReference | FlagCopy, "reference-snapshot": FlagReference | FlagSnapshotBatch,
		"copy-snapshot": FlagCopy | FlagSnapshotBatch,
	} {
		bad("flags-"+name, reasonHeaderFlags, "Both "+strings.ReplaceAll(name, "-", " and ")+".", func(v *vector) { put16(6, uint16(flags))(v.header) })
	}
	mark := bare(FlagHeartbeat, "")
	r.header("flags-heartbeat-reference", reasonHeaderFlags, "A heartbeat by reference.", mark, put16(6, 0x22))
	r.header("flags-heartbeat-copy", reasonHeaderFlags, "A heartbeat that is a copy.", mark, put16(6, 0x42))
	return append(r.list, ok)
}

// TestReferenceRoundTrip: what is written is read.
func TestReferenceRoundTrip(t *testing.T) {
	v := referred(t)
	h, r, err := ViewReference(v.header, v.reference)
	if err != nil {
		t.Fatal(err)
	}
	if r.Segment != 2 || r.Offset != 0x1234 || r.Tape[15] != 15 || !h.Twin() || h.Bare() {
		t.Errorf("%+v, %+v", h, r)
	}
	if got := AppendReference([]byte("x"), &r); string(got[1:]) != string(v.reference) {
		t.Errorf("got %x, want %x", got, v.reference)
	}
	b, err := h.Resolve(slices.Concat(v.payload, v.order))
	if err != nil || b.Flags != 0 || b.Count != 2 || string(b.Payload) != string(v.payload) || string(b.Order) != string(v.order) {
		t.Errorf("%+v, %v", b, err)
	}
}

// TestReferenceTopics: a reader that subscribes to them gets every batch but
// copies, and nobody else is taken for such a reader.
func TestReferenceTopics(t *testing.T) {
	for flags := range HeaderFlags(1 << 8) {
		m := bare(flags, "")
		if flags&headerFlagsBare == 0 {
			m = stream()
			m.Flags = flags
		} else if flags&FlagNotice != 0 {
			m.payload = notice(t).payload
		}
		v := m.frames(t, nil)
		h, err := ParseHeader(v.header)
		if err != nil {
			continue // not a combination of this format
		}
		n := 0
		for _, topic := range ReferenceTopics() {
			if strings.HasPrefix(string(v.header), topic) {
				n++
			}
		}
		if IsReference(v.header) != (h.Flags == FlagReference) || IsReference(v.header[:7]) {
			t.Errorf("flags %#x: is a reference: %v", flags, IsReference(v.header))
		}
		if want := 1 - int(h.Flags&FlagCopy>>6); n != want {
			t.Errorf("flags %#x: %d of the topics match, want %d", flags, n, want)
		}
	}
	for topic, want := range map[string][2]bool{ // references, copies
		"": {false, true}, "TPDK": {false, true}, "TPDK\x01P": {false, true}, "TPDK\x01P\x40": {false, true},
		"TPDK\x01P\x40\x00\x01\x00": {false, true}, "TPDK\x01P\x20\x00": {true, false}, "TPDK\x01P\x00\x00": {false, false},
		"TPDK\x01P\x20": {false, false}, "TPDK?ready:": {false, false}, "ABC": {false, false},
	} {
		if got := [2]bool{WantsReferences([]byte(topic)), WantsCopies([]byte(topic))}; got != want {
			t.Errorf("topic %q: wants references and copies %v, want %v", topic, got, want)
		}
	}
}

func TestAllocReference(t *testing.T) {
	v := referred(t)
	bytes := slices.Concat(v.payload, v.order)
	if n := testing.AllocsPerRun(200, func() {
		h, _, err := ViewReference(v.header, v.reference)
		if err != nil {
			panic(err)
		}
		if _, err := h.Resolve(bytes); err != nil {
			panic(err)
		}
	}); n != 0 {
		t.Errorf("taking a reference allocates %v times", n)
	}
}

// FuzzReference: never panics, and what is accepted is the one encoding of what
// it says.
func FuzzReference(f *testing.F) {
	for _, path := range vectorFiles(f) {
		v := readVector(f, path)
		f.Add(v.header, v.reference, v.payload)
	}
	f.Fuzz(func(t *testing.T, header, reference, bytes []byte) {
		h, r, err := ViewReference(header, reference)
		if err != nil {
			var bad *FormatError
			if !errors.As(err, &bad) {
				t.Fatalf("%v is no FormatError", err)
			}
			return
		}
		if got := AppendReference(nil, &r); string(got) != string(reference) {
			t.Fatalf("reference\n got %x\nfrom %x", got, reference)
		}
		if got := AppendHeader(nil, &h); string(got) != string(header) {
			t.Fatalf("header\n got %x\nfrom %x", got, header)
		}
		if b, err := h.Resolve(bytes); err == nil {
			for w := b.Records(); w.Next(); {
				_ = w.Record().Fields()
			}
		}
	})
}
