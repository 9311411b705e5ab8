package main

import (
	"slices"
	"testing"
)

// TestDecksNote: what another process has written is read, or refused, whatever it is.
func TestDecksNote(t *testing.T) {
	n, err := parseDecksNote([]byte(`{"bus":"ipc://a","later":1,"decks":[{"args":{"deck":"es","tapes":["es.tape"]},"stream":7,"shards":["ipc://s"]}]}`))
	if err != nil || n.Bus != "ipc://a" || n.entry("es") == nil || n.entry("es").Stream != 7 || n.entry("nq") != nil {
		t.Errorf("%+v, %v", n, err)
	}
	if n = nil; n.entry("es") != nil {
		t.Error("a note that did not come has a deck")
	}
	for _, bad := range []string{"", "have=1.2", "[]", `{"decks":{}}`, `{"decks":[{"args":{"deck":"../es"}}]}`, `{"decks":[{"args":{"deck":""}}]}`} {
		if n, err := parseDecksNote([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, n)
		}
	}
}

// TestDecksReach: where the other one's decks are, seen from here.
func TestDecksReach(t *testing.T) {
	for _, x := range []struct{ peer, host, at, want string }{
		{"tcp://10.1.0.2:7404", "", "tcp://10.0.0.2:7100", "tcp://10.0.0.2:7100"},
		{"tcp://10.1.0.2:7404", "", "tcp://0.0.0.0:7100", "tcp://10.1.0.2:7100"},
		{"tcp://10.1.0.2:7404", "", "tcp://[::]:7100", "tcp://10.1.0.2:7100"},
		{"tcp://[fe80::1]:7404", "", "tcp://*:7100", "tcp://[fe80::1]:7100"},
		{"tcp://10.1.0.2:7404", "10.9.0.2", "tcp://10.0.0.2:7100", "tcp://10.9.0.2:7100"},
		{"ipc:///run/pair", "", "tcp://0.0.0.0:7100", "tcp://0.0.0.0:7100"},
		{"tcp://10.1.0.2:7404", "10.9.0.2", "ipc:///run/s-0", "ipc:///run/s-0"},
	} {
		l := &decksLink{peer: x.peer, host: x.host}
		if got := l.reach([]string{x.at}); !slices.Equal(got, []string{x.want}) {
			t.Errorf("%s of %s, %q: %v, want %s", x.at, x.peer, x.host, got, x.want)
		}
	}
}
