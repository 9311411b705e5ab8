package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestServers: of the servers of --resync one is dead, one hangs, one has another tape,
// and one is right: everything missed comes from that, and the summary says so. When it
// is killed, and the one that hung goes on, the rest comes from that one.
func TestServers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	src := paced(t, dir, 1_000_000, 1500) // it is stopped long before its end
	play := startReader(t, "play", src, "--wait", "5", "--bind", "tcp://127.0.0.1:*", "--json")
	at := play.served("playing " + src + " at 1x on [")
	recorder := func(name string) *reader {
		return startReader(t, "record", "--connect", at, "-o", filepath.Join(dir, name), "--resync-bind", "tcp://127.0.0.1:*", "--resync-linger", "1m")
	}
	dead, hangs, right := recorder("dead.tape"), recorder("hangs.tape"), recorder("right.tape")
	other := startReader(t, "resync", src, "--bind", "tcp://127.0.0.1:*") // which has epochs of its own
	endpoints := []string{dead.served(servingAt), hangs.served(servingAt), other.served(servingAt), right.served(servingAt)}

	line := newCable(t, at)
	witness := startReader(t, "sub", "--connect", at, "--print")
	sub := startReader(t, "sub", "--connect", line.endpoint(), "--resync", strings.Join(endpoints, ","), "--print", "--json")
	sub.further(200)
	dead.signal(os.Kill)
	dead.finish()
	hangs.signal(stopSignal)
	gap := func() {
		line.set(true)
		witness.further(700)
		line.set(false)
		sub.further(1000) // what was missed is among them
	}
	gap()
	gap()
	right.signal(os.Kill)
	right.finish()
	hangs.signal(continueSignal)
	gap()

	play.signal(os.Interrupt)
	out, _ := play.finish()
	records := figure(t, summary(t, out, "play.summary"), "records")
	out, code := sub.finish()
	m := summary(t, out, "sub.summary")
	healed := part(t, m, "resync")
	if code != exitDamaged || m["early"] != true || m["ended"] != true || figure(t, m, "records") != records || figure(t, m, "lost") != 0 || figure(t, healed, "twice")+figure(t, healed, "unsaid") != 0 {
		t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
	}
	list, _ := healed["by_server"].([]any)
	if len(list) != len(endpoints) {
		t.Fatalf("%d servers: %v", len(list), healed)
	}
	total := 0
	for i, want := range []struct{ heals, fails bool }{{fails: true}, {heals: true}, {}, {heals: true}} {
		s, _ := list[i].(map[string]any)
		refilled, failed := figure(t, s, "refilled"), figure(t, s, "failed")
		total += refilled
		if s["endpoint"] != endpoints[i] || (refilled > 0) != want.heals || want.fails && failed == 0 || !want.heals && figure(t, s, "bytes") > 0 {
			t.Errorf("server %d: %v, want %+v", i, s, want)
		}
	}
	if total == 0 || total != figure(t, healed, "refilled") {
		t.Errorf("%d records of servers, %d refilled", total, figure(t, healed, "refilled"))
	}
	t.Log(healed["by_server"])
	witness.finish()
	other.signal(os.Interrupt)
	other.finish()
	hangs.signal(os.Interrupt)
	hangs.finish()
}
