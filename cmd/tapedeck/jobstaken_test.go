package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// jobsHolder reads who has the jobs from the claims beside their log: docs/CONTROL.md.
func jobsHolder(t *testing.T, dir string) (epoch uint64, pid int) {
	t.Helper()
	for pid == 0 {
		epoch = 0
		found, err := filepath.Glob(filepath.Join(dir, "epoch-*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range found {
			var n uint64
			if _, err := fmt.Sscanf(filepath.Base(name), "epoch-%d", &n); err == nil {
				epoch = max(epoch, n)
			}
		}
		b, err := os.ReadFile(filepath.Join(dir, fmt.Sprint("epoch-", epoch)))
		if err != nil {
			continue // there is none yet, or another one meanwhile
		}
		owner := b[26:][:binary.LittleEndian.Uint16(b[24:])]
		if _, err := fmt.Sscanf(string(owner), "process %d of", &pid); err != nil {
			t.Fatalf("the claim of epoch %d says %q", epoch, owner)
		}
	}
	return epoch, pid
}

// TestJobsAreTaken stops the process that has the jobs, under load, until the other one
// has taken them and has had many done; then it goes on. It says that it has lost them,
// and stands by for the next time. No job that was accepted is lost, and none is done
// twice, whatever the one that stood still was about to do.
func TestJobsAreTaken(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 2
	}
	dir := t.TempDir()
	k := newBusKill(t, dir, "ipc://"+filepath.Join(dir, "bus"))
	k.add("broker", 1, func(int) *exec.Cmd { return k.serve("broker") })
	k.add("jobs", 2, func(int) *exec.Cmd {
		return k.serveJobs("--set", "jobs.locked=take", "--set", "jobs.take_after=2s")
	})
	k.addUsers()
	log := filepath.Join(dir, "tapes", ".tapedeck", "jobs")
	stop := func() (epoch uint64, old, other *busPart) {
		for {
			epoch, pid := jobsHolder(t, log)
			old, other := k.parts["jobs"][0], k.parts["jobs"][1]
			if other.cmd.Process.Pid == pid {
				old, other = other, old
			}
			old.signal(syscall.SIGSTOP)
			if now, _ := jobsHolder(t, log); now == epoch {
				return epoch, old, other
			}
			old.signal(syscall.SIGCONT) // it had just lost them: this machine is slow
		}
	}
	for range rounds {
		k.await(60)
		epoch, old, other := stop()
		for now := epoch; now == epoch; { // the clients come to a stop, or not
			now, _ = jobsHolder(t, log)
		}
		if !other.stderr.await(fmt.Sprintf("in epoch %d", epoch+1)) {
			t.Fatalf("%s: %s", other.name, other.stderr)
		}
		k.await(100)
		k.check()
		old.signal(syscall.SIGCONT)
		if !old.stderr.await(fmt.Sprintf("epoch %d is over", epoch)) {
			t.Fatalf("%s: %s", old.name, old.stderr)
		}
		k.await(30)
		k.check()
	}
	k.end()
	if left, err := filepath.Glob(filepath.Join(dir, "tapes", ".job-*")); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	t.Logf("%d rounds; %v", rounds, k.counts)
}
