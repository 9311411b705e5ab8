package pirate

import (
	"bytes"
	"testing"
)

func TestNumber(t *testing.T) {
	want := []byte("TPLP\x01\x01\x00\x00\x08\x07\x06\x05\x04\x03\x02\x01")
	got := AppendNumber([]byte("x"), 0x0102030405060708, true)
	if !bytes.Equal(got[1:], want) {
		t.Errorf("% x", got)
	}
	for i := range want[:8] {
		b := bytes.Clone(want)
		b[i] += 2
		if _, _, ok := ParseNumber(b); ok {
			t.Errorf("byte %d changed, and still a number frame", i)
		}
	}
}

func FuzzParseNumber(f *testing.F) {
	f.Add(AppendNumber(nil, 7, false))
	f.Add([]byte("TPLP"))
	f.Fuzz(func(t *testing.T, b []byte) {
		n, failed, ok := ParseNumber(b)
		if ok && !bytes.Equal(AppendNumber(nil, n, failed), b) {
			t.Errorf("% x reads as %d, %t", b, n, failed)
		}
	})
}
