package wire

import (
	"errors"
	"reflect"
	"testing"
)

// deckExample is the notice of docs/WIRE.md, section 5.
const deckExample = `{"time":1700000000000000000,"session":"es","command":"seek","version":12,"phase":"playing","speed":"1x","clock":"receive",` +
	`"position":1690000000000000000,"ordinal":1000000,"epoch":1700000000000000000,"pass":0,"round":3,` +
	`"loop":{"from":1690000000000000000,"to":1690000060000000000},"topics":["GLBX.MDP3.ES"],"squeeze_ns":1000000000,"squeezed_ns":86400000000000,"records":1000000}`

func TestDeckNotice(t *testing.T) {
	d := DeckNotice{
		Time: 1_700_000_000_000_000_000, Session: "es", Command: "seek", Version: 12, Phase: "playing", Speed: "1x", Clock: "receive",
		Position: 1_690_000_000_000_000_000, Ordinal: 1_000_000, Epoch: 1_700_000_000_000_000_000, Round: 3,
		Loop:   &DeckLoop{From: 1_690_000_000_000_000_000, To: 1_690_000_060_000_000_000},
		Topics: []string{"GLBX.MDP3.ES"}, SqueezeNs: 1e9, SqueezedNs: 86_400e9, Records: 1_000_000,
	}
	if got := string(AppendDeck([]byte("x"), &d)); got != "x"+deckExample {
		t.Errorf("%s\nwant\n%s", got, deckExample)
	}
	if got, err := ParseDeck([]byte(deckExample)); err != nil || !reflect.DeepEqual(got, d) {
		t.Errorf("%+v, %v", got, err)
	}
	// Numbers stay exact to the last bit, and what is not known is left out.
	got, err := ParseDeck([]byte(`{"epoch":18446744073709551615,"position":-9223372036854775808,"later":[1]}`))
	if err != nil || got.Epoch != 1<<64-1 || got.Position != NanosMin {
		t.Errorf("%+v, %v", got, err)
	}
	for _, bad := range []string{"", "null!", `{"epoch":-1}`, `{"time":"now"}`, `[]`} {
		if d, err := ParseDeck([]byte(bad)); !errors.Is(err, ErrDeck) || !reflect.DeepEqual(d, DeckNotice{}) {
			t.Errorf("%q: %+v, %v", bad, d, err)
		}
	}
}

func FuzzParseDeck(f *testing.F) {
	f.Add([]byte(deckExample))
	f.Add([]byte(`{"loop":{},"topics":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		d, err := ParseDeck(body)
		if err != nil {
			return
		}
		// What was understood says the same when it is said again.
		again, err := ParseDeck(AppendDeck(nil, &d))
		if len(d.Topics) == 0 {
			d.Topics = nil // none is left out
		}
		if err != nil || !reflect.DeepEqual(again, d) {
			t.Fatalf("%+v, was %+v, %v", again, d, err)
		}
	})
}
