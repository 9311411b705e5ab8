package wire

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestReaderSignals(t *testing.T) {
	id := ReaderID{0: 0xab, 15: 0x01}
	const hexID = "ab000000000000000000000000000001"
	if got, want := ReadyTopic(id, "desk"), "TPDK?ready:"+hexID+":desk"; got != want {
		t.Errorf("ready topic %q, want %q", got, want)
	}
	if got, want := DoneTopic(id), "TPDK?done:"+hexID; got != want {
		t.Errorf("done topic %q, want %q", got, want)
	}
	for _, c := range []struct {
		frame string
		sig   ReaderSignal
		name  string
	}{
		{"\x01" + ReadyTopic(id, "desk"), SignalReady, "desk"},
		{"\x01" + ReadyTopic(id, ""), SignalReady, ""},
		{"\x01" + ReadyTopic(id, "a:b"), SignalReady, "a:b"},
		{"\x00" + ReadyTopic(id, "desk"), SignalLeft, "desk"},
		{"\x01" + DoneTopic(id), SignalDone, ""},
		{"\x00" + DoneTopic(id), SignalLeft, ""},
		{"\x01TPDK?ready:" + hexID + ":\xff", SignalReady, "?"},
		{"", SignalNone, ""},
		{"\x01", SignalNone, ""},
		{"\x01TPDK", SignalNone, ""},
		{"\x02" + DoneTopic(id), SignalNone, ""},
		{"\x01TPDK?ready:" + hexID, SignalNone, ""},
		{"\x01TPDK?ready:" + hexID[1:] + ":desk", SignalNone, ""},
		{"\x01TPDK?ready:" + "xy" + hexID[2:] + ":desk", SignalNone, ""},
		{"\x01TPDK?done:" + hexID + "0", SignalNone, ""},
		{"\x01TPDK?done:" + hexID[2:], SignalNone, ""},
		{"\x01TPDK?other:" + hexID, SignalNone, ""},
	} {
		sig, gotID, name := ParseReaderSignal([]byte(c.frame))
		if sig != c.sig || name != c.name || (sig != SignalNone && gotID != id) {
			t.Errorf("%q: signal %d, id %x, name %q; want %d, %q", c.frame, sig, gotID, name, c.sig, c.name)
		}
	}
}

// TestReadyTopicsMatchNoBatch: a subscription matches by prefix, and no header
// has these.
func TestReadyTopicsMatchNoBatch(t *testing.T) {
	header := string(AppendHeader(nil, &Header{}))
	for _, topic := range []string{ReadyTopic(ReaderID{}, ""), DoneTopic(ReaderID{}), ReaderReport{Verdict: "ok"}.Topic(ReaderID{}), ReaderStep{Epoch: 1}.Topic(ReaderID{})} {
		common := len(Signature)
		if header[:common] != topic[:common] || header[common] == topic[common] {
			t.Errorf("topic %q against header %q", topic, header[:8])
		}
	}
}

func TestReaderNameIsCut(t *testing.T) {
	for _, long := range []string{strings.Repeat("x", 65), strings.Repeat("x", 63) + "é", strings.Repeat("世", 40)} {
		_, _, name := ParseReaderSignal([]byte("\x01" + ReadyTopic(ReaderID{}, long)))
		if len(name) > ReaderNameMax || len(name) < ReaderNameMax-3 || !utf8.ValidString(name) || !strings.HasPrefix(long, name) {
			t.Errorf("%q became %q", long, name)
		}
	}
	// Replacing bad bytes must not make a name longer than the limit either.
	_, _, name := ParseReaderSignal([]byte("\x01TPDK?ready:" + strings.Repeat("0", 32) + ":" + strings.Repeat("\xff\xfea", 500)))
	if len(name) > ReaderNameMax || !utf8.ValidString(name) {
		t.Errorf("%d bytes: %q", len(name), name)
	}
}

func TestSession(t *testing.T) {
	s := Session{Publisher: "tapedeck 1", Mode: "lossless", Sources: []string{"a"}, Encodings: []Encoding{{Format: "dbn", Detail: map[string]string{"version": "3"}}}}
	b, err := AppendSession([]byte("x"), &s)
	if err != nil || b[0] != 'x' {
		t.Fatal(err)
	}
	got, err := ParseSession(b[1:])
	if err != nil || got.Publisher != s.Publisher || got.Encodings[0].Detail["version"] != "3" {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := ParseSession([]byte(`{"publisher":"p","mode":"live","later":[1]}`)); err != nil {
		t.Errorf("an unknown key is refused: %v", err)
	}
	for _, bad := range []string{"", "{", "[]", `{"publisher":1}`} {
		if _, err := ParseSession([]byte(bad)); err == nil || !strings.HasPrefix(err.Error(), "wire: ") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzParseReaderSignal(f *testing.F) {
	f.Add([]byte("\x01" + ReadyTopic(ReaderID{1}, "desk")))
	f.Add([]byte("\x00" + DoneTopic(ReaderID{2})))
	f.Add([]byte("\x01" + ReaderReport{Lag: -time.Second, Lost: 5, Verdict: "ok"}.Topic(ReaderID{3})))
	f.Fuzz(func(t *testing.T, frame []byte) {
		sig, id, name := ParseReaderSignal(frame)
		if len(name) > ReaderNameMax || !utf8.ValidString(name) {
			t.Fatalf("name %q", name)
		}
		if sig == SignalNone {
			return
		}
		// What was understood says the same when it is said again.
		_, report, reports := ParseReaderReport(frame)
		if reports != (sig == SignalReport) {
			t.Fatalf("%q: signal %d, a report: %v", frame, sig, reports)
		}
		if sig == SignalUnreport {
			return
		}
		again := map[ReaderSignal]string{SignalReport: "\x01" + report.Topic(id), SignalReady: "\x01" + ReadyTopic(id, name), SignalLeft: "\x00" + ReadyTopic(id, name), SignalDone: "\x01" + DoneTopic(id)}[sig]
		if sig2, id2, name2 := ParseReaderSignal([]byte(again)); sig2 != sig || id2 != id || name2 != name {
			t.Fatalf("%q: %d %x %q, then %d %x %q", frame, sig, id, name, sig2, id2, name2)
		}
		if _, again, _ := ParseReaderReport([]byte(again)); again != report {
			t.Fatalf("%q: %+v, then %+v", frame, report, again)
		}
	})
}
