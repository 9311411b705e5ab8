package titanic

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var someID = ID{1, 2, 3, 0xfe}

func TestRecordRoundTrip(t *testing.T) {
	for _, body := range [][]byte{nil, []byte("x"), []byte("12345678"), bytes.Repeat([]byte{7}, 1001)} {
		want := record{Kind: kindAnswered, Log: 7, Sequence: 8, Synced: 9, Time: -10, ID: someID, Body: append([]byte{}, body...)}
		b := appendRecord([]byte("before"), &want)[6:]
		if len(b) != recordSize(len(body)) {
			t.Fatalf("%d bytes, %d were announced", len(b), recordSize(len(body)))
		}
		got, size, err := parseRecord(append(bytes.Clone(b), "behind"...))
		if err != nil || size != len(b) {
			t.Fatalf("%d, %v", size, err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal(d)
		}
		for i := range b { // every single byte matters
			b[i] ^= 0x10
			if _, _, err := parseRecord(b); !errors.Is(err, ErrRecord) {
				t.Fatalf("byte %d changed: %v", i, err)
			}
			b[i] ^= 0x10
		}
		for n := range b {
			if _, _, err := parseRecord(b[:n]); !errors.Is(err, ErrRecord) {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
	}
}

func TestAddedRoundTrip(t *testing.T) {
	frames := [][]byte{[]byte("one"), {}, []byte("three")}
	for _, want := range []added{
		{Number: 1, Service: "echo", Frames: frames, Digest: digestOf("echo", frames)},
		{Number: 2, NotBefore: 5, Expires: 9, Service: "s", Key: "k", Note: "n", Frames: [][]byte{{}}},
		{Number: 3, Service: "s", Key: strings.Repeat("k", KeyMax), Note: strings.Repeat("n", NoteMax), Bare: true},
	} {
		b := appendAdded(nil, &want)
		if len(b) != want.size() {
			t.Errorf("%d bytes, %d were announced", len(b), want.size())
		}
		got, err := parseAdded(b)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
		for n := range b {
			if _, err := parseAdded(b[:n]); !errors.Is(err, ErrRecord) {
				t.Fatalf("cut to %d bytes: %v", n, err)
			}
		}
	}
}

// TestDigest: what is cut into other frames is another content.
func TestDigest(t *testing.T) {
	seen := map[digest]bool{}
	for _, x := range [][]string{{"a", "bc"}, {"ab", "c"}, {"a", "b", "c"}, {"a", "bc", ""}, {"", "abc"}} {
		frames := make([][]byte, 0, len(x))
		for _, f := range x[1:] {
			frames = append(frames, []byte(f))
		}
		seen[digestOf(x[0], frames)] = true
	}
	if len(seen) != 5 {
		t.Errorf("%d digests of 5 contents", len(seen))
	}
}

func TestID(t *testing.T) {
	id := newID()
	for _, text := range []string{id.String(), strings.ToLower(id.String())} {
		if got, err := ParseID(text); got != id || err != nil {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "12", strings.Repeat("g", 32), id.String() + "0"} {
		if _, err := ParseID(text); !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v", text, err)
		}
	}
	if len(id.String()) != 32 || id == newID() {
		t.Errorf("%v", id)
	}
}

// FuzzRecord: no bytes make the decoder panic or take more memory than there are
// bytes, and what it accepts it writes the same.
func FuzzRecord(f *testing.F) {
	frames := [][]byte{[]byte("one"), {}}
	for _, r := range []record{
		{Kind: kindAdded, Body: appendAdded(nil, &added{Service: "s", Key: "k", Note: "n", Frames: frames})},
		{Kind: kindAdded, Body: appendAdded(nil, &added{Service: "s", Bare: true})},
		{Kind: kindDispatched, Body: attemptBody(3)},
		{Kind: kindAnswered, Body: appendFrames(nil, frames)},
		{Kind: kindEnded, Body: appendEnded(nil, Expired, "too late")},
		{Kind: kindClosed},
	} {
		f.Add(appendRecord(nil, &r))
		f.Add(r.Body)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, size, err := parseRecord(b); err == nil {
			if !bytes.Equal(appendRecord(nil, &r), b[:size]) {
				t.Errorf("%x is written as %x", b[:size], appendRecord(nil, &r))
			}
			fuzzApply(t, &r)
		}
		// The checksum keeps the fuzzer from most bodies: they are tried by themselves.
		for k := kindAdded; k < kindEnd; k++ {
			fuzzApply(t, &record{Kind: k, Body: b})
		}
		if a, err := parseAdded(b); err == nil && !bytes.Equal(appendAdded(nil, &a), b) {
			t.Errorf("%x is written as %x", b, appendAdded(nil, &a))
		}
		if frames, err := parseFrames(b); err == nil && !bytes.Equal(appendFrames(nil, frames), b) {
			t.Errorf("%x is written as %x", b, appendFrames(nil, frames))
		}
		if how, reason, err := parseEnded(b); err == nil && !bytes.Equal(appendEnded(nil, how, reason), b) {
			t.Errorf("%x is written as %x", b, appendEnded(nil, how, reason))
		}
	})
}

// fuzzApply gives a record to a machine that knows its job, and to one that does not.
func fuzzApply(t *testing.T, r *record) {
	m := newMachine(1, 1, 1)
	err := m.apply(r, place{64, 64}, 1)
	known := newMachine(1, 1, 1)
	_ = known.apply(&record{Kind: kindAdded, ID: r.ID, Body: appendAdded(nil, &added{Service: "s", Frames: [][]byte{{1}}})}, place{64, 64}, 1)
	if kerr := known.apply(r, place{128, 64}, 2); (kerr == nil) != (err == nil) && r.Kind != kindAdded {
		t.Errorf("a record that is %v where its job is not known is %v where it is", err, kerr)
	}
	for _, m := range []*machine{m, known} {
		m.due(1 << 62)
		if m.live < 0 || m.pending < 0 || m.over < 0 || m.waiting < 0 {
			t.Errorf("%+v", m)
		}
	}
}
