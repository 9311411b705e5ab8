package wire

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestReaderReport(t *testing.T) {
	id := ReaderID{0: 0xab, 15: 0x01}
	const hexID = "ab000000000000000000000000000001"
	for _, c := range []struct {
		report ReaderReport
		topic  string
	}{
		{ReaderReport{Lag: 1500 * time.Microsecond, Lost: 7, Verdict: "lagging"}, "TPDK?lag:" + hexID + ":1500:7:lagging"},
		{ReaderReport{Verdict: "ok"}, "TPDK?lag:" + hexID + ":0:0:ok"},
		{ReaderReport{Lag: -time.Second, Lost: 1<<64 - 1, Verdict: "a-b"}, "TPDK?lag:" + hexID + ":-1000000:18446744073709551615:a-b"},
		{ReaderReport{Lag: 9223372036854775000, Verdict: "snail"}, "TPDK?lag:" + hexID + ":9223372036854775:0:snail"},
	} {
		if got := c.report.Topic(id); got != c.topic {
			t.Errorf("%+v: topic %q, want %q", c.report, got, c.topic)
		}
		sig, sigID, _ := ParseReaderSignal([]byte("\x01" + c.topic))
		gotID, got, ok := ParseReaderReport([]byte("\x01" + c.topic))
		if sig != SignalReport || sigID != id || gotID != id || got != c.report || !ok {
			t.Errorf("%q: signal %d of %x; %+v of %x, %v", c.topic, sig, sigID, got, gotID, ok)
		}
		if sig, sigID, _ := ParseReaderSignal([]byte("\x00" + c.topic)); sig != SignalUnreport || sigID != id {
			t.Errorf("%q withdrawn: signal %d of %x", c.topic, sig, sigID)
		}
		if _, _, ok := ParseReaderReport([]byte("\x00" + c.topic)); ok {
			t.Errorf("%q withdrawn is a report", c.topic)
		}
	}
	for _, bad := range []string{
		"", ":", ":::", ":1:2", ":1:2:", "1:2:ok", ":x:2:ok", ":1:-2:ok", ":1:x:ok", "::2:ok", ":1::ok", ":1:2:OK", ":1:2:o k", ":1:2:ok:",
		":9223372036854776:0:ok", ":-9223372036854776:0:ok", ":1:18446744073709551616:ok", ":1:2:" + strings.Repeat("a", VerdictSizeMax+1),
		":" + strings.Repeat("0", 21) + ":2:ok", ":1:" + strings.Repeat("0", 21) + ":ok",
	} {
		frame := []byte("\x01TPDK?lag:" + hexID + bad)
		if sig, _, _ := ParseReaderSignal(frame); sig != SignalNone {
			t.Errorf("%q: signal %d", frame, sig)
		}
		if id, r, ok := ParseReaderReport(frame); ok || id != (ReaderID{}) || r != (ReaderReport{}) {
			t.Errorf("%q: %+v of %x, %v", frame, r, id, ok)
		}
	}
	for _, frame := range []string{"", "\x01", "\x02TPDK?lag:" + hexID + ":1:2:ok", "\x01TPDK?lag:" + hexID[1:] + ":1:2:ok", "\x01TPDK?lag:xy" + hexID[2:] + ":1:2:ok"} {
		if _, _, ok := ParseReaderReport([]byte(frame)); ok {
			t.Errorf("%q is a report", frame)
		}
	}
}

// TestSessionStart: numbers of 64 bits come through exactly, and a session
// without a start has no such key.
func TestSessionStart(t *testing.T) {
	want := SessionStart{
		Reason: "seek", At: vectorTime, Clock: "receive", Snapshot: true,
		PreviousEpoch: 1<<64 - 1, PreviousNext: 1<<64 - 2, PreviousHash: 1<<64 - 3,
	}
	b, err := AppendSession(nil, &Session{Publisher: "p", Mode: "live", Start: &want})
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSession(b)
	if err != nil || got.Start == nil || !reflect.DeepEqual(*got.Start, want) {
		t.Errorf("%s\n%+v, %v", b, got.Start, err)
	}
	for _, key := range []string{
		`"start":{"reason":"seek","at":1700000000000000000,"clock":"receive","snapshot":true,`,
		`"previous_epoch":18446744073709551615,"previous_next":18446744073709551614,"previous_hash":18446744073709551613}`,
	} {
		if !strings.Contains(string(b), key) {
			t.Errorf("%s has no %s", b, key)
		}
	}
	if b, err = AppendSession(nil, &Session{}); err != nil || strings.Contains(string(b), "start") {
		t.Errorf("%s, %v", b, err)
	}
	if _, err := ParseSession([]byte(`{"start":{"previous_next":-1}}`)); err == nil {
		t.Error("a negative sequence is accepted")
	}
}
