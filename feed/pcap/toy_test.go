package pcap

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

// toy is a protocol of datagrams "T", session, sequence number, count, and a
// message for each byte behind them. A message "!" is bad. With Whole the number
// is the datagram's.
type toy struct {
	packet *Packet
	whole  bool
	rest   []byte
	left   int
}

func toyProtocol(whole bool) *Protocol {
	return &Protocol{
		Name: "toy", Title: "toy", Unit: "messages",
		Detect: func(b []byte) int {
			if len(b) >= 4 && b[0] == 'T' {
				return 80
			}
			return 0
		},
		New: func(*feed.Input, feed.Options) (Parser, error) { return &toy{whole: whole}, nil },
	}
}

func (y *toy) Begin(p *Packet, h *Head) error {
	b := p.Payload
	if len(b) == 0 || b[0] != 'T' {
		return fmt.Errorf("no toy: %w", ErrForeign)
	}
	if len(b) < 4 {
		return errors.New("short")
	}
	y.packet, y.rest, y.left = p, b[4:], int(b[3]-'0')
	h.Stream[0] = b[1]
	h.Seq, h.Count = uint64(b[2]-'0'), y.left
	h.Sequenced = b[1] != '-'
	if y.whole && y.left > 0 {
		h.Whole, h.Count = true, 1
	}
	return nil
}

func (y *toy) Next(rec *feed.Record) (bool, error) {
	if y.left == 0 {
		return false, nil
	}
	if len(y.rest) == 0 || y.rest[0] == '!' {
		return false, errors.New("bad message")
	}
	rec.Topic, rec.Body = []byte("t"), y.rest[:1]
	rec.Event, rec.Kind = 5, wire.KindQuote
	if y.rest[0] == '?' {
		rec.Event, rec.Flags = rec.Receive, wire.FlagNoEventTime
	}
	y.rest, y.left = y.rest[1:], y.left-1
	return true, nil
}

func (y *toy) Describe(s Stream) string { return "session " + string(s[:1]) }
func (y *toy) Encoding() feed.Encoding  { return feed.Encoding{Format: "toy"} }
func (y *toy) Notes() []string          { return []string{"a toy"} }

// toyCapture is a capture of datagrams "A:..." and "B:..." on two lines.
func toyCapture(datagrams ...string) []byte {
	var f pcaptest.File
	for i, d := range datagrams {
		line, payload, _ := strings.Cut(d, ":")
		to := map[string]string{"A": groupA, "B": groupB}[line]
		f.UDP(int64(i+1)*1e9, to, []byte(payload))
	}
	return f.Bytes()
}

func TestLines(t *testing.T) {
	for _, tt := range []struct {
		name  string
		in    []string
		keep  string
		merge string
		notes []string // with merge
	}{
		{"same twice", []string{"A:Ts12ab", "B:Ts12ab", "A:Ts31c", "B:Ts31c"}, "ababcc", "abc",
			[]string{"sequence numbers of messages: 3 repeated", "a toy"}},
		{"each fills the other", []string{"A:Ts11a", "B:Ts11a", "A:Ts31c", "B:Ts21b", "B:Ts31c", "B:Ts51e"}, "aacbce", "acbe",
			[]string{"sequence numbers of messages: 1 missing in 1 gap, 1 late, 2 repeated", "session s: 4 to 4 missing", "a toy"}},
		{"cut otherwise", []string{"A:Ts13abc", "B:Ts12ab", "B:Ts33cde", "A:Ts43def"}, "abcabcdedef", "abcdef",
			[]string{"sequence numbers of messages: 5 repeated", "a toy"}},
		{"sessions apart", []string{"A:Ts11a", "B:Tu11b", "A:Ts21c"}, "abc", "abc", []string{"a toy"}},
		{"heartbeats", []string{"A:Ts10", "A:Ts11a", "A:Ts20", "B:Ts10"}, "a", "a", []string{"a toy"}},
		{"no numbers", []string{"A:T-11a", "B:T-11a"}, "aa", "aa", []string{"a toy"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for ab, want := range map[string]string{"": tt.keep, "keep": tt.keep, "merge": tt.merge} {
				src := mustOpen(t, toyProtocol(false), toyCapture(tt.in...), feed.Options{AB: ab})
				if got := bodies(t, src); got != want {
					t.Errorf("%s: %q, want %q", ab, got, want)
				}
				if notes := src.(feed.Noter).Notes(); ab == "merge" && !slices.Equal(notes, tt.notes) {
					t.Errorf("notes %q, want %q", notes, tt.notes)
				}
			}
		})
	}
	src := mustOpen(t, toyProtocol(true), toyCapture("A:Ts12ab", "B:Ts12ab", "B:Ts22cd", "A:Ts22cd"), feed.Options{AB: "merge"})
	if got := bodies(t, src); got != "abcd" {
		t.Errorf("numbers of datagrams: %q", got)
	}
	src = mustOpen(t, toyProtocol(false), toyCapture("A:Ts11a", "A:Ts31c", "B:Ts11a"), feed.Options{})
	bodies(t, src)
	want := []string{"sequence numbers of messages: 1 missing in 1 gap", groupA + ", session s: 2 to 2 missing", "a toy"}
	if notes := src.(feed.Noter).Notes(); !slices.Equal(notes, want) {
		t.Errorf("notes %q, want %q", notes, want)
	}
}

// bodies reads a source to its end and joins the bodies; it has no bad records.
func bodies(t *testing.T, src feed.Source) string {
	t.Helper()
	recs, bad, err := pcaptest.ReadAll(t, src)
	if len(bad) > 0 || err != io.EOF {
		t.Fatal(bad, err)
	}
	out := ""
	for _, r := range recs {
		out += r.Body
	}
	return out
}

func TestForeign(t *testing.T) {
	src := mustOpen(t, toyProtocol(false), toyCapture("B:dns", "A:Ts11a", "B:dns", "A:dns", "A:T", "A:Ts22b!", "A:Ts41d"), feed.Options{})
	recs, bad, err := pcaptest.ReadAll(t, src)
	if len(recs) != 3 || err != io.EOF {
		t.Fatal(recs, err)
	}
	var places []string
	for _, b := range bad {
		places = append(places, b.Error())
	}
	want := []string{
		"packet 4 (" + groupA + "): no toy: pcap: datagram of another protocol",
		"packet 5 (" + groupA + "): short",
		"packet 6 (" + groupA + "): bad message",
	}
	if !slices.Equal(places, want) {
		t.Errorf("bad %q, want %q", places, want)
	}
	notes := src.(feed.Noter).Notes()
	if len(notes) == 0 || notes[0] != "2 datagrams are not toy and left out: "+groupB+" (2)" {
		t.Errorf("notes %q", notes)
	}
	_, _, err = pcaptest.ReadAll(t, mustOpen(t, toyProtocol(false), toyCapture("B:dns", "A:dns"), feed.Options{}))
	if !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), groupB+", "+groupA) {
		t.Errorf("nothing of the protocol: %v", err)
	}
}

func TestDetect(t *testing.T) {
	p := toyProtocol(false)
	for _, tt := range []struct {
		name string
		head []byte
		want int
	}{
		{"all", toyCapture("A:Ts11a", "A:Ts11a"), 80},
		{"half", toyCapture("A:Ts11a", "A:dns"), 40},
		{"few", toyCapture("A:Ts11a", "A:dns", "A:dns", "A:dns"), 0},
		{"none", toyCapture(), 0},
		{"cut", toyCapture("A:Ts11a", "A:dns")[:100], 80},
		{"no capture", []byte("Ts11a"), 0},
		{"empty", nil, 0},
	} {
		if got := p.Format().Detect(tt.head); got != tt.want {
			t.Errorf("%s: %d, want %d", tt.name, got, tt.want)
		}
	}
	if got := Format.Detect(toyCapture()); got != sureCapture {
		t.Errorf("generic: %d", got)
	}
	if got := Format.Detect([]byte("\xd4\xc3\xb2")); got != 0 {
		t.Errorf("generic, three bytes: %d", got)
	}
}
