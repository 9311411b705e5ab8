package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
)

// TestInfoOfTornTape: what info and the bus say of a torn tail has the names that
// docs/CONTROL.md gives.
func TestInfoOfTornTape(t *testing.T) {
	v := newTapeInfo("a.tape", &tape.Info{}, &tape.Torn{Segment: "000001.seg", Offset: 10, Bytes: 20, Reason: "cut off"})
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if want := `"torn":{"segment":"000001.seg","offset":10,"bytes":20,"reason":"cut off"}`; !strings.Contains(string(b), want) {
		t.Errorf("%s, want %s in it", b, want)
	}
}
