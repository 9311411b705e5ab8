package majordomo

import (
	"bufio"
	"bytes"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// startPython runs one of the peers in testdata until the test ends, and returns
// what it prints.
func startPython(t *testing.T, interpreter, peer string, args ...any) *bufio.Scanner {
	t.Helper()
	words := []string{"testdata/" + peer}
	for _, a := range args {
		words = append(words, fmt.Sprint(a))
	}
	cmd := exec.Command(interpreter, words...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		if err := cmd.Wait(); err != nil && stderr.Len() > 0 {
			t.Errorf("%s: %s", peer, stderr.Bytes())
		}
	})
	return bufio.NewScanner(out)
}

// TestPythonClient: a client of others, our broker and our worker.
func TestPythonClient(t *testing.T) {
	interpreter := zsocktest.Python(t)
	b, _ := runBroker(t, BrokerConfig{})
	runWorker(t, WorkerConfig{Endpoints: b.Endpoints(), Handler: echo("w"), Concurrency: 2})
	for _, args := range [][]any{{b.Endpoints()[0], "echo", 20}, {b.Endpoints()[0], "echo", 200, "--dealer"}} {
		lines := startPython(t, interpreter, "mdp_client.py", args...)
		got := map[string]int{}
		for lines.Scan() {
			got[lines.Text()]++
		}
		for i := range args[2].(int) {
			if want := fmt.Sprintf(`["w", "request", "", "%d"]`, i); got[want] != 1 {
				t.Errorf("%s came %d times", want, got[want])
			}
		}
		if len(got) != args[2].(int) {
			t.Errorf("%d different replies", len(got))
		}
	}
}

// shout has many requests answered by the workers in Python, which give no number
// back, and by others at the same time.
func shout(t *testing.T, endpoint string, cfg ClientConfig) {
	cfg.Endpoints = []string{endpoint}
	c := newClient(t, cfg)
	ask(t, c, "shout", []string{"body", "hello"}, "HELLO")
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 25 {
				body := fmt.Sprintf("hello %d of %d", j, i)
				reply, err := c.Request(t.Context(), "shout", []byte(body))
				if err != nil || len(reply) != 1 || string(reply[0]) != strings.ToUpper(body) {
					t.Errorf("%s: got %q, %v", body, reply, err)
				}
			}
		})
	}
	all.Wait()
}

// TestPythonWorker: our client, our broker and workers of others.
func TestPythonWorker(t *testing.T) {
	interpreter := zsocktest.Python(t)
	b, _ := runBroker(t, BrokerConfig{})
	for range 2 {
		startPython(t, interpreter, "mdp_worker.py", b.Endpoints()[0], "shout", beat.Milliseconds(), liveness)
	}
	zsocktest.Until(func() bool { return b.State().Workers == 2 })
	shout(t, b.Endpoints()[0], ClientConfig{})
	shout(t, b.Endpoints()[0], ClientConfig{Plain: []string{"shout"}})
}

// TestPythonWorkerComesAgain: a worker of others finds a broker that was started
// anew.
func TestPythonWorkerComesAgain(t *testing.T) {
	interpreter := zsocktest.Python(t)
	endpoint := "ipc://" + t.TempDir() + "/bus"
	k := startBroker(t, endpoint)
	startPython(t, interpreter, "mdp_worker.py", endpoint, "shout", beat.Milliseconds(), 5)
	c := newClient(t, ClientConfig{Endpoints: []string{endpoint}})
	ask(t, c, "shout", []string{"one"}, "ONE")
	k.kill()
	startBroker(t, endpoint)
	ask(t, c, "shout", []string{"two"}, "TWO")
}

// TestPythonBroker: our client and our worker at a broker of others.
func TestPythonBroker(t *testing.T) {
	interpreter := zsocktest.Python(t)
	lines := startPython(t, interpreter, "mdp_broker.py", beat.Milliseconds(), liveness)
	if !lines.Scan() {
		t.Fatal("the broker said nothing")
	}
	endpoint := lines.Text()
	c := newClient(t, ClientConfig{Endpoints: []string{endpoint}})
	ask(t, c, "mmi.service", []string{"echo"}, "404")
	w, stop := runWorker(t, WorkerConfig{Endpoints: []string{endpoint}, Handler: echo("w"), Concurrency: 2, Prefetch: 8})
	found := func(code string) bool {
		reply, err := c.Request(t.Context(), "mmi.service", []byte("echo"))
		return err == nil && string(reply[0]) == code
	}
	zsocktest.Until(func() bool { return found("200") })
	a := answers{t: t}
	a.ask(c, "echo", 500)
	a.wait()
	startPython(t, interpreter, "mdp_worker.py", endpoint, "shout", beat.Milliseconds(), liveness)
	shout(t, endpoint, ClientConfig{})
	zsocktest.Until(func() bool { return w.Counters().Requests == 500 })
	stop()
	zsocktest.Until(func() bool { return found("404") })
	if n := w.Counters(); n.Dismissed != 0 || n.Lost != 0 || n.Malformed != 0 {
		t.Errorf("%+v", n)
	}
}
