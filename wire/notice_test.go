package wire

import (
	"encoding/hex"
	"testing"
)

// notice is a squawk as a publisher sends it.
func notice(t testing.TB) message {
	t.Helper()
	payload, err := AppendRecord(nil, &Fields{
		Topic: []byte(SquawkTopic), Body: []byte(`{"who":"desk"}`), Kind: KindNotice, TopicSeq: 3,
		Event: vectorTime, Receive: vectorTime,
	})
	if err != nil {
		t.Fatal(err)
	}
	return bare(FlagNotice, string(payload))
}

func noticeVectors(t testing.TB) []vector {
	r := refused{t: t}
	ok := notice(t).frames(t, nil)
	ok.name, ok.expect, ok.about = "ok-notice", "ok", "A notice: its payload is one record that has no sequence."
	b, err := ParseBatch(ok.header, ok.payload, nil)
	if err != nil {
		t.Fatal(err)
	}
	ok.values = values(&b)
	bad := func(name, about string, edit func(p []byte) []byte) {
		r.add(name, reasonNotice, about, notice(t).frames(t, func(_ *Header, p, order []byte) ([]byte, []byte) { return edit(p), order }))
	}
	bad("notice-empty", "A notice that says nothing.", func([]byte) []byte { return nil })
	bad("notice-small", "A payload that is too small for a record.", func(p []byte) []byte { return p[:RecordHeadSize] })
	bad("notice-cut", "The record is cut off.", func(p []byte) []byte { return p[:len(p)-1] })
	bad("notice-two", "Two records.", func(p []byte) []byte { return append(p, p...) })
	bad("notice-kind", "A record of another kind.", func(p []byte) []byte { p[recKindOff] = byte(KindTrade); return p })
	bad("notice-topic", "A record without a topic.", func(p []byte) []byte { p[0] = 0; return p })
	r.add("notice-order", reasonOrder, "A notice with an order frame.", notice(t).frames(t, func(_ *Header, p, _ []byte) ([]byte, []byte) { return p, []byte{0} }))
	r.header("notice-count", reasonBareCount, "A notice with a count.", notice(t), put32(12, 1))
	for name, flag := range map[string]HeaderFlags{
		"end": FlagEnd, "heartbeat": FlagHeartbeat, "hello": FlagHello, "snapshot": FlagSnapshotBatch,
		"early": FlagEarly, "reference": FlagReference, "copy": FlagCopy,
	} {
		r.header("flags-notice-"+name, reasonHeaderFlags, "A notice with the flag "+name+".", notice(t), put16(6, uint16(FlagNotice|flag)))
	}
	return append(r.list, ok)
}

// TestNotice: the record is had from the batch, and from no other batch.
func TestNotice(t *testing.T) {
	v := notice(t).frames(t, nil)
	b, err := ViewBatch(v.header, v.payload, nil)
	if err != nil || !b.Bare() || b.Next() != b.FirstSeq {
		t.Fatalf("%+v, %v", b, err)
	}
	r, err := b.Notice()
	if err != nil || string(r.Topic()) != SquawkTopic || string(r.Body()) != `{"who":"desk"}` || r.TopicSeq() != 3 {
		t.Errorf("%q, %v", r, err)
	}
	w := b.Records()
	if w.Next() || w.Err() != nil {
		t.Errorf("a notice has records of the stream: %v", w.Err())
	}
	v = stream().frames(t, nil)
	if b, err = ViewBatch(v.header, v.payload, v.order); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Notice(); err == nil {
		t.Error("a batch of records is a notice")
	}
}

// TestHelloTopic: it matches hellos, and nobody who wants bytes or references
// asks for more of them by it.
func TestHelloTopic(t *testing.T) {
	if got := hex.EncodeToString([]byte(HelloTopic())); got != "5450444b01500400" {
		t.Errorf("topic %s", got)
	}
	if WantsCopies([]byte(HelloTopic())) || WantsReferences([]byte(HelloTopic())) {
		t.Error("a subscription to hellos asks for batches")
	}
}
