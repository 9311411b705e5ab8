package chp

import (
	"fmt"
	"testing"
)

// TestPlainClient: a client of models 5 and 6, and of CHP, gets a snapshot and
// what follows.
func TestPlainClient(t *testing.T) {
	s := serve(t, Config{})
	for i := range 1000 {
		s.set(t, numbered("/a/", i), fmt.Sprint(i))
	}
	s.set(t, "/b/x", "1")
	p := newPlain(t, s.Endpoints(), 5, "/a/", "HUGZ")
	p.join()
	p.request("ICANHAZ?", "/a/")
	if n := p.receive(); n != 1000 || p.table["/a/000999"] != "999" {
		t.Fatalf("got %d entries", n)
	}
	s.set(t, "/b/y", "not ours")
	last := s.set(t, "/a/000001", "new")
	if key := p.next(); key != "/a/000001" || p.table[key] != "new" || p.sequence != last {
		t.Errorf("got %s at %d, want %d", key, p.sequence, last)
	}
}

// TestClient: this project's own client does.
func TestClient(t *testing.T) {
	s := serve(t, Config{})
	s.set(t, "/a/x", "1")
	s.set(t, "/b/x", "2")
	c, _ := attach(t, ClientConfig{}, "/a/", s.Endpoints())
	active(t, c)
	changes := follow(t, c, "")
	await(t, changes, "/a/x", "1")
	if err := c.Set(t.Context(), "/a/y", []byte("3"), 0); err != nil {
		t.Fatal(err)
	}
	await(t, changes, "/a/y", "3")
	if got := fmt.Sprint(contents(c)); got != "map[/a/x:1 /a/y:3]" {
		t.Error(got)
	}
	if e, ok := c.Get("/a/y"); !ok || string(e.Value) != "3" {
		t.Error(e, ok)
	}
	if err := c.Set(t.Context(), "/a/x", nil, 0); err != nil {
		t.Fatal(err)
	}
	await(t, changes, "/a/x", "")
}
