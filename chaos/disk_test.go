package chaos

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/chaos/rig"
)

// smallDisk mounts a disk of so many bytes, or skips the test.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tapedeck-chaos", dir).CombinedOutput(); err != nil {
		t.Skipf("no rights to mount a disk here: %v: %s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", "-l", dir).CombinedOutput(); err != nil {
			t.Errorf("umount: %v: %s", err, out)
		}
	})
	return dir
}

// A segment is a quarter of what is retained, and is there in full before records are:
// with these one has room, and the next one has not. All records take 2.5 MB.
const (
	diskRetain = "6MB"
	diskRoom   = 2 << 20
)

// TestChaosFullDisk: the disk is full under a recorder. It ends and says why; what it
// has on the disk is a tape; nobody else is disturbed; and where
// there is room again a recorder goes on with the tape, which is whole in the end.
func TestChaosFullDisk(t *testing.T) {
	for _, mode := range []string{"lossless", "live"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := &streamed{stage: newStage(t)}
			disk := smallDisk(t, "16m")
			ballast := filepath.Join(disk, "ballast")
			if err := os.WriteFile(ballast, make([]byte, 16<<20-diskRoom), 0o600); err != nil {
				t.Fatal(err)
			}
			tape := s.tape(streamRecords, streamRate, streamShards)
			shards, refill := s.at(frontNet, deckHost, 7100)+"+", s.at(frontNet, deckHost, 7300)
			args := []string{"play", tape, "--shards", "2", "--wait", "2", "--bind", shards, "--resync-bind", refill, "--resync-linger", "3s"}
			if mode == "live" {
				args = append(args, "--live")
			}
			s.play = s.start(deckHost, args...)
			s.sub = s.start(deskHost, "sub", "--shards", "2", "--connect", shards, "--resync", refill)
			copied := filepath.Join(disk, "copy.tape")
			s.recordArgs = []string{"record", "--shards", "2", "--connect", shards, "--resync", refill, "-o", copied, "--append", "--codec", "plain", "--retain-size", diskRetain}
			s.record = s.start(archiveHost, s.recordArgs...)
			if code := s.record.End(); code != 1 || !strings.Contains(s.record.Stderr(), "no space left") {
				t.Errorf("record on a full disk: exit code %d\n%s", code, s.record.Stderr())
			}
			if v := rig.Run(t, "verify", copied); v["ok"] != true || v.Number("records") == 0 {
				t.Errorf("what is on the disk when it is full: %v", v)
			}
			if !s.play.Running() || !s.sub.Running() {
				t.Errorf("others ended:\n%s%s", s.play.Stderr(), s.sub.Stderr())
			}
			if err := os.Remove(ballast); err != nil {
				t.Fatal(err)
			}
			s.record = s.start(archiveHost, s.recordArgs...)
			for _, p := range []*rig.Process{s.sub, s.record, s.play} {
				if code := p.End(); code != 0 {
					t.Errorf("%s: exit code %d\n%s", p.Name(), code, p.Stderr())
				}
			}
			if m := s.sub.Last("sub.summary"); m["complete"] != true || m.Number("records") != streamRecords {
				t.Errorf("sub: %v", m)
			}
			s.checkTape(copied, streamRecords)
		})
	}
}
