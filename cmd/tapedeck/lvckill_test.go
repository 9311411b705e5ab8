package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestProxyKilled: a proxy is killed while records flow and started again. It begins
// with every topic's last value, from the recorder; who was connected is given them
// anew; and in the end every client has what the recorder has.
func TestProxyKilled(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "load.tape")
	tapedeck(t, "import", "synth:topics=300,records=3000000,rate=20000,size=64,seed=9", "-o", src)
	bind, plain, refills := "ipc://"+filepath.Join(dir, "s"), "ipc://"+filepath.Join(dir, "plain"), "ipc://"+filepath.Join(dir, "refills")
	client := plainClients(t)["c"]
	record := start(t, "record", "--connect", bind, "-o", filepath.Join(dir, "copy.tape"), "--resync-bind", refills, "--json")
	if !record.stderr.await("serving refills") {
		t.Fatal(record.stderr)
	}
	startProxy := func() *process {
		p := start(t, "lvc", "--shards", bind, "--plain", plain, "--resync", refills, "--json")
		if !p.stderr.await("serving [") {
			t.Fatal(p.stderr)
		}
		return p
	}
	proxy := startProxy()
	play := start(t, "play", src, "--bind", bind, "--speed", "1x", "--wait", "2")
	if !play.stderr.await("playing") {
		t.Fatal(play.stderr)
	}
	before := client(plain, "")
	if !before.stderr.await("joined\n") {
		t.Fatal(before.stderr)
	}
	// Records flow: so the recorder has some, too.
	for probe, live := plainReader(t, plain, ""), false; !live; {
		_, headers := plainMessage(t, probe)
		live = headers[0].Flags == 0 && headers[0].Seq > 1000
	}
	proxy.signal(os.Kill)
	proxy.end()
	proxy = startProxy()
	after := client(plain, "")
	if !before.stderr.await("joined\njoined\n") || !after.stderr.await("joined\n") {
		t.Fatalf("%s, %s", before.stderr, after.stderr)
	}
	play.signal(syscall.SIGINT)
	play.end()
	out, _ := record.end()
	recorded := summary(t, out, "record.summary")["records"]
	for name, c := range map[string]*foreign{"before": before, "after": after} {
		out, code := c.end()
		var s plainSummary
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatalf("%v: %q, %s", err, out, c.stderr)
		}
		if code != 0 || s.Missing+s.Repeated != 0 || !s.Ended || float64(s.Through) != recorded {
			t.Errorf("the client from %s: exit code %d, %+v; %v records were recorded", name, code, s, recorded)
		}
	}
	proxy.signal(os.Interrupt)
	out, _ = proxy.end()
	if m := summary(t, out, "lvc.summary"); m["partial"] != false || m["lost"] != 0.0 {
		t.Errorf("%v", m)
	}
}
