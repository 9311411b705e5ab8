package wire

import "testing"

func TestReaderStep(t *testing.T) {
	id := ReaderID{0: 0xab, 15: 0x01}
	const hexID = "ab000000000000000000000000000001"
	for _, c := range []struct {
		step  ReaderStep
		topic string
	}{
		{ReaderStep{Epoch: 7, Next: 0}, "TPDK?step:" + hexID + ":7:0:0"},
		{ReaderStep{Epoch: 1700000000000000000, Next: 42, Hello: 1700000000000000001}, "TPDK?step:" + hexID + ":1700000000000000000:42:1700000000000000001"},
		{ReaderStep{Epoch: 1<<64 - 1, Next: 1<<64 - 1, Hello: NanosMax}, "TPDK?step:" + hexID + ":18446744073709551615:18446744073709551615:9223372036854775807"},
		{ReaderStep{Epoch: 1, Next: 2, Hello: NanosMin}, "TPDK?step:" + hexID + ":1:2:-9223372036854775808"},
	} {
		if got := c.step.Topic(id); got != c.topic {
			t.Errorf("%+v: topic %q, want %q", c.step, got, c.topic)
		}
		for on, want := range []ReaderSignal{SignalUnstep, SignalStep} {
			frame := append([]byte{byte(on)}, c.topic...)
			sig, sigID, _ := ParseReaderSignal(frame)
			gotID, got, ok := ParseReaderStep(frame)
			if sig != want || sigID != id || gotID != id || got != c.step || !ok {
				t.Errorf("%q: signal %d of %x; %+v of %x, %v", frame, sig, sigID, got, gotID, ok)
			}
		}
	}
	for _, bad := range []string{
		"", ":", "::", ":::", ":1", ":1:2", ":1:2:", ":1::3", "::1:2", "1:2:3", ":0:1:2", ":-1:2:3", ":1:-2:3", ":+1:2:3", ":1:2:3:4", ":1:2:3 ",
		":01:2:3", ":1:02:3", ":1:2:03", ":x:2:3", ":1:x:3", ":1:2:x", ":1:2:-0", ":1:2:-", ":1:2:--3", ":1:2:9223372036854775808", ":1:2:-9223372036854775809",
		":18446744073709551616:1:2", ":1:18446744073709551616:2", ":1:99999999999999999999:2", ":1:111111111111111111111:2",
	} {
		frame := []byte("\x01TPDK?step:" + hexID + bad)
		if sig, _, _ := ParseReaderSignal(frame); sig != SignalNone {
			t.Errorf("%q: signal %d", frame, sig)
		}
		if id, s, ok := ParseReaderStep(frame); ok || id != (ReaderID{}) || s != (ReaderStep{}) {
			t.Errorf("%q: %+v of %x, %v", frame, s, id, ok)
		}
	}
	for _, frame := range []string{"", "\x01", "\x02TPDK?step:" + hexID + ":1:2:3", "\x01TPDK?step:" + hexID[1:] + ":1:2:3", "\x01TPDK?step:xy" + hexID[2:] + ":1:2:3"} {
		if _, _, ok := ParseReaderStep([]byte(frame)); ok {
			t.Errorf("%q is a step", frame)
		}
	}
}

// TestParseReaderStepAllocatesNothing: a publisher in lock-step parses one per batch,
// shard and reader.
func TestParseReaderStepAllocatesNothing(t *testing.T) {
	frame := append([]byte{1}, ReaderStep{Epoch: 1700000000000000000, Next: 4711, Hello: 1700000000000000001}.Topic(ReaderID{1})...)
	if n := testing.AllocsPerRun(1000, func() {
		if sig, _, _ := ParseReaderSignal(frame); sig != SignalStep {
			t.Fatal("no step")
		}
		if _, _, ok := ParseReaderStep(frame); !ok {
			t.Fatal("no step")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzReaderSignal: no frame of a peer makes a publisher panic, and what is read as
// a step is written the same.
func FuzzReaderSignal(f *testing.F) {
	id := ReaderID{0: 0xab, 15: 0x01}
	for _, topic := range []string{
		ReaderStep{Epoch: 7, Next: 3, Hello: -5}.Topic(id), ReadyTopic(id, "desk"), DoneTopic(id), ReaderReport{Verdict: "ok"}.Topic(id), "TPDK?step:", "",
	} {
		f.Add(append([]byte{1}, topic...))
		f.Add(append([]byte{0}, topic...))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		sig, sigID, _ := ParseReaderSignal(frame)
		_, _, _ = ParseReaderReport(frame)
		id, step, ok := ParseReaderStep(frame)
		if ok != (sig == SignalStep || sig == SignalUnstep) || ok && id != sigID {
			t.Fatalf("%q: signal %d of %x, step %+v of %x, %v", frame, sig, sigID, step, id, ok)
		}
		if again, againStep, _ := ParseReaderStep([]byte("\x01" + step.Topic(id))); ok && (again != id || againStep != step) {
			t.Fatalf("%q: %+v of %x comes back as %+v of %x", frame, step, id, againStep, again)
		}
	})
}
