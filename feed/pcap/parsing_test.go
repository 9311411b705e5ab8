package pcap

import (
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

func TestTopicPrefix(t *testing.T) {
	for _, tt := range []struct {
		opts feed.Options
		want string
	}{
		{feed.Options{}, "XNYS."},
		{feed.Options{Topic: "a/"}, "a/XNYS."},
		{feed.Options{Topic: "a/", Dataset: "XASE"}, "a/XASE."},
		{feed.Options{Topic: strings.Repeat("a", wire.TopicSizeMax-len("XNYS.")-11)}, strings.Repeat("a", wire.TopicSizeMax-len("XNYS.")-11) + "XNYS."},
		{feed.Options{Topic: strings.Repeat("a", wire.TopicSizeMax-len("XNYS.")-10)}, ""},
	} {
		got, err := TopicPrefix("x", &tt.opts, "XNYS", "a symbol", 11)
		if got != tt.want || (err == nil) != (tt.want != "") || err != nil && !strings.HasPrefix(err.Error(), "x: ") {
			t.Errorf("%+v: %q, %v", tt.opts, got, err)
		}
	}
}

func TestMessages(t *testing.T) {
	take := func(b []byte) ([]byte, bool) { // a length, all included, and a type
		if len(b) < 2 || b[0] < 2 || int(b[0]) > len(b) {
			return nil, false
		}
		return b[:b[0]], true
	}
	known := func(m []byte) bool { return m[1] == 'A' }
	for _, tt := range []struct {
		b          string
		count      int
		whole, all bool
	}{
		{"\x02A\x03A.", 2, true, true},
		{"\x02A\x02B", 2, true, false},
		{"\x02A\x02A", 1, false, true}, // more behind them
		{"\x02A", 2, false, false},     // fewer than it says
		{"\x02A\x05A", 2, false, false},
		{"", 0, true, true},
	} {
		if whole, all := Messages([]byte(tt.b), tt.count, take, known); whole != tt.whole || whole && all != tt.all {
			t.Errorf("%q, %d: whole %v, all %v", tt.b, tt.count, whole, all)
		}
	}
}

func TestNoteCount(t *testing.T) {
	notes := NoteCount(NoteCount(NoteCount(nil, "a", 0), "b", 7), "c", 1)
	if !slices.Equal(notes, []string{"b: 7", "c: 1"}) || NoteCount(nil, "a", 0) != nil {
		t.Errorf("%q", notes)
	}
}
