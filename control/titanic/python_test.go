package titanic

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestPythonClient: a client of 9/TSP in another language has jobs done by ours.
func TestPythonClient(t *testing.T) {
	interpreter := zsocktest.Python(t)
	at := runBroker(t)
	o, _ := runTitanic(t, Config{Endpoints: at})
	runWorker(t, at, "echo", 1, upper)
	const jobs = 50
	cmd := exec.CommandContext(t.Context(), interpreter, "testdata/tsp_client.py", at[0], "echo", fmt.Sprint(jobs))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || string(out) != "OK\n" {
		t.Fatalf("%v: %s%s", err, out, stderr.Bytes())
	}
	if n := o.Counters(); n.Added != jobs || n.Closed != jobs || n.Pending+n.Waiting+n.Remembered != 0 {
		t.Errorf("%+v", n)
	}
}

// TestPythonServer: our client has jobs done by a server of 9/TSP in another language.
func TestPythonServer(t *testing.T) {
	interpreter := zsocktest.Python(t)
	at := runBroker(t)
	cmd := exec.Command(interpreter, "testdata/tsp_server.py", at[0]) // it ends when its input does
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(in.Close(), cmd.Wait()); err != nil {
			t.Error(err)
		}
	})
	runWorker(t, at, "echo", 1, upper)
	c := newClient(t, at)
	for n := range 30 {
		body := fmt.Sprint("job ", n)
		id, err := c.Request(t.Context(), "echo", []byte(body), []byte("more"))
		if err != nil {
			t.Fatal(err)
		}
		reply, err := c.Wait(t.Context(), id)
		if err != nil || fmt.Sprintf("%s", reply) != "[did "+body+" did more]" {
			t.Fatalf("%q, %v", reply, err)
		}
		if err := c.Close(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Wait(t.Context(), id); !errors.Is(err, ErrUnknown) {
			t.Errorf("%v", err)
		}
	}
}
