package main

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// foreign is a plain client that has nothing of ours, in a process of its own.
type foreign struct {
	*process
	prefix string
}

// plainSummary is the last line of the plain subscribers under examples.
type plainSummary struct {
	LastValues uint64 `json:"last_values"`
	Live       uint64 `json:"live"`
	Topics     uint64 `json:"topics"`
	Through    uint64 `json:"through"`
	Missing    uint64 `json:"missing"`
	Repeated   uint64 `json:"repeated"`
	Ended      bool   `json:"ended"`
}

// plainClients are the ways to start one, by language; those that this machine can
// run.
func plainClients(t *testing.T) map[string]func(endpoint, prefix string) *foreign {
	t.Helper()
	program := filepath.Join(t.TempDir(), "plain_subscriber")
	out, err := exec.Command("cc", "-O2", "-o", program, "../../examples/c/plain_subscriber.c", "-lzmq").CombinedOutput()
	if err != nil {
		t.Fatalf("cc: %v\n%s", err, out)
	}
	clients := map[string]func(endpoint, prefix string) *foreign{
		"c": func(endpoint, prefix string) *foreign {
			args := []string{endpoint}
			if prefix != "" {
				args = append(args, prefix)
			}
			return &foreign{startProgram(t, program, args...), prefix}
		},
	}
	interpreter, ok := zsocktest.FindPython("import zmq")
	if !ok {
		t.Log("no python3 with zmq: the clients are in C alone; install python3-zmq for both")
		return clients
	}
	clients["python"] = func(endpoint, prefix string) *foreign {
		return &foreign{startProgram(t, interpreter, "../../examples/python/plain_subscriber.py", endpoint,
			"--topics", prefix, "--timeout", "600"), prefix}
	}
	return clients
}

// TestPlainClients: clients that are not ours come at random moments while records
// flow, with prefixes of every kind; each gets, by sequence, exactly what those get
// that were there before the first record, without a gap and nothing twice.
func TestPlainClients(t *testing.T) {
	dir := t.TempDir()
	src := filepath.Join(dir, "load.tape")
	tapedeck(t, "import", "synth:topics=300,records=3000000,rate=20000,size=64,seed=9", "-o", src)
	bind := "ipc://" + filepath.Join(dir, "s")
	proxy := start(t, "lvc", "--shards", bind, "--plain", "ipc://"+filepath.Join(dir, "plain"), "--json")
	if !proxy.stderr.await("serving") {
		t.Fatal(proxy.stderr)
	}
	endpoint := "ipc://" + filepath.Join(dir, "plain")
	clients := plainClients(t)
	// All topics, some, one, none; and SYN.A0007 begins no other one.
	prefixes := []string{"", "SYN.A00", "SYN.A0007", "nothing"}
	var all []*foreign
	for _, prefix := range prefixes {
		all = append(all, clients["c"](endpoint, prefix))
	}
	joined := func() {
		t.Helper()
		for _, c := range all {
			if !c.stderr.await("joined") {
				t.Fatalf("a client of %q ended: %s", c.prefix, c.stderr)
			}
		}
	}
	joined()
	play := start(t, "play", src, "--bind", bind, "--speed", "1x", "--wait", "1", "--json")
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	moments := 16
	if testing.Short() {
		moments = 6
	}
	for i := range moments {
		// The moments are the test's input; nothing waits for them.
		time.Sleep(time.Duration(rnd.IntN(100)) * time.Millisecond)
		language := "c"
		if _, ok := clients["python"]; ok && i%4 == 3 {
			language = "python"
		}
		all = append(all, clients[language](endpoint, prefixes[rnd.IntN(len(prefixes))]))
	}
	joined()
	play.signal(syscall.SIGINT)
	play.end()
	reference := map[string]plainSummary{}
	for i, c := range all {
		out, code := c.end()
		var s plainSummary
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatalf("%v: %q, %s", err, out, c.stderr)
		}
		if i < len(prefixes) {
			reference[c.prefix] = s
			if s.LastValues != 0 || s.Through != s.Live || (s.Live == 0) != (c.prefix == "nothing") {
				t.Errorf("from the start, %q: %+v", c.prefix, s)
			}
		}
		want := reference[c.prefix]
		if code != 0 || s.Missing+s.Repeated != 0 || !s.Ended || s.Through != want.Through || s.Topics != want.Topics {
			t.Errorf("client %d of %q: exit code %d, %+v, want through %d of %d topics", i, c.prefix, code, s, want.Through, want.Topics)
		}
	}
	proxy.signal(os.Interrupt)
	out, _ := proxy.end()
	m := summary(t, out, "lvc.summary")
	if m["dropped"] != 0.0 || m["lost"] != 0.0 || m["joined"] != float64(len(all)) {
		t.Errorf("%v", m)
	}
	if m["records"] != float64(reference[""].Through) {
		t.Errorf("%v records went through the proxy, %d came", m["records"], reference[""].Through)
	}
}
