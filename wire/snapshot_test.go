package wire

import (
	"bytes"
	"testing"
)

// TestSetSnapshot: the flag is set and nothing else changes, wide records and other
// flags included.
func TestSetSnapshot(t *testing.T) {
	for _, f := range []Fields{
		{Topic: []byte("T"), Body: []byte("b"), Event: 5, Receive: 7, Kind: KindTrade, TopicSeq: 9},
		{Topic: []byte("T"), Event: NanosMin, Receive: NanosMax, Flags: FlagNoEventTime},
		{Topic: []byte("T"), Flags: FlagSnapshot | FlagNoReceiveTime},
	} {
		b, err := AppendRecord(nil, &f)
		if err != nil {
			t.Fatal(err)
		}
		Record(b).SetSnapshot()
		f.Flags |= FlagSnapshot
		if want, err := AppendRecord(nil, &f); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%x, want %x; %v", b, want, err)
		}
	}
}
