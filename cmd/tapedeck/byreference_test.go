package main

import (
	"fmt"
	"path/filepath"
	"testing"
)

// TestByReference: across processes, a subscriber and a recorder that see the
// tape take it by reference, one that is told not to takes bytes, and all have
// the same.
func TestByReference(t *testing.T) {
	dir := t.TempDir()
	src, copied := filepath.Join(dir, "src.tape"), filepath.Join(dir, "copy.tape")
	const records = 50_000
	tapedeck(t, "import", fmt.Sprintf("synth:topics=20,records=%d,size=64,seed=5", records), "--codec", "plain", "--shards", "2", "-o", src)
	bind := "ipc://" + filepath.Join(dir, "s-{shard}")
	play := start(t, "play", src, "--speed", "max", "--wait", "3", "--bind", bind, "--json")
	readers := []struct {
		*process
		kind      string
		reference bool
	}{
		{start(t, "sub", "--shards", "2", "--connect", bind, "--json"), "sub.summary", true},
		{start(t, "sub", "--shards", "2", "--connect", bind, "--json", "--by-reference", "off"), "sub.summary", false},
		{start(t, "record", "--shards", "2", "--connect", bind, "-o", copied, "--json"), "record.summary", true},
	}
	for i, r := range readers {
		out, code := r.end()
		m := summary(t, out, r.kind)
		if code != 0 || m["records"] != float64(records) || m["complete"] != true || m["gaps"] != 0.0 {
			t.Errorf("reader %d exits with %d: %v\n%s", i, code, m, r.stderr)
		}
		if n := m["referred_batches"].(float64); (n > 0) != r.reference || r.reference && r.kind == "sub.summary" && n != m["batches"] {
			t.Errorf("reader %d: %v batches by reference", i, n)
		}
	}
	out, code := play.end()
	m := summary(t, out, "play.summary")
	if code != 0 || m["referred_batches"] != m["batches"] || m["readers_finished"] != 3.0 {
		t.Errorf("play exits with %d: %v\n%s", code, m, play.stderr)
	}
	tapedeck(t, "verify", copied)
	if tapedeck(t, "cat", src) != tapedeck(t, "cat", copied) {
		t.Error("the recording is not the same as the tape")
	}
	p := start(t, "sub", "--by-reference", "maybe")
	if _, code := p.end(); code != 2 {
		t.Errorf("--by-reference maybe exits with %d, want 2", code)
	}
}
