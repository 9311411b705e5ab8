package majordomo

import "testing"

// TestClientBytes: one client does not have all the bytes there are, beyond its first
// request; what is answered makes room.
func TestClientBytes(t *testing.T) {
	cfg := testBounds
	cfg.clientBytes = 350
	m := newMachine(cfg)
	ask := func(client string, want Reason) {
		t.Helper()
		if got := m.request(0, []byte(client), nil, []byte("s"), [][]byte{make([]byte, 250)}); got != want {
			t.Errorf("%s: %q, want %q", client, got, want)
		}
	}
	ask("a", "")
	ask("a", ReasonFull)
	ask("b", "")
	m.ready(0, []byte("w"), []byte("s"))
	if m.reply(0, []byte("w"), []byte("a")) == nil {
		t.Fatal("the worker was not given the request")
	}
	ask("a", "")
}
