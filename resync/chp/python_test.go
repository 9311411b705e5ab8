package chp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestPythonClient runs examples/python/clone_client.py against a server, in both
// forms.
func TestPythonClient(t *testing.T) {
	interpreter := zsocktest.Python(t)
	for _, tc := range []struct {
		model   string
		form    Form
		subtree string
		keys    int
	}{{"6", KVMsg, "/a/", 1000}, {"6", KVMsg, "", 2000}, {"3", KVSimple, "", 2000}, {"4", KVSimple, "/a/", 1000}} {
		t.Run(fmt.Sprintf("model=%s,subtree=%s", tc.model, tc.subtree), func(t *testing.T) {
			waiting := open(t, Config{Form: tc.form, Hugz: 20 * time.Millisecond})
			s := &running{Server: waiting}
			s.fill(t, "/a/", 1000)
			s.fill(t, "/b/", 1000)
			at := s.Endpoints()
			cmd := exec.CommandContext(t.Context(), interpreter, "../../examples/python/clone_client.py", at.Snapshot,
				"--updates", at.Updates, "--model", tc.model, "--subtree", tc.subtree, "--count", "20", "--timeout", "60")
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var line struct {
				Snapshot, Keys, Updates, Missing int
				Sequence                         uint64
				Key                              string
				Deleted                          bool
			}
			// It subscribes over another connection than it asks over, and cannot tell
			// when the subscription is in force.
			until(t, "it has subscribed and asked", func() bool { return s.publisher.Readable() && s.router.Readable() })
			run(t, waiting)
			lines := bufio.NewScanner(out)
			next := func() {
				t.Helper()
				if !lines.Scan() {
					t.Fatalf("ended early: %s", stderr.Bytes())
				}
				if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
					t.Fatalf("%s: %v", lines.Bytes(), err)
				}
			}
			next()
			if line.Snapshot != tc.keys || line.Sequence != s.Stats().Sequence {
				t.Fatalf("%s, want %d keys", lines.Bytes(), tc.keys)
			}
			for i := range 20 {
				s.set(t, "/elsewhere", "v")
				if i == 19 {
					s.set(t, "/a/000001", "")
				} else {
					s.set(t, numbered("/a/new", i), "v")
				}
			}
			seen := 0
			for line.Keys == 0 {
				if next(); line.Key != "" && line.Keys == 0 {
					seen++
				}
			}
			// Without a subtree it sees every other update, ten keys of ours among 20.
			want := tc.keys + 18
			if tc.subtree == "" {
				want = tc.keys + 11
			}
			if seen != 20 || line.Updates != 20 || line.Missing != 0 || line.Keys != want {
				t.Errorf("%d updates, then %s, want %d keys", seen, lines.Bytes(), want)
			}
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %s", err, stderr.Bytes())
			}
		})
	}
}
