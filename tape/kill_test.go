package tape

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// killDir is the environment variable that makes the test binary a writer.
const killDir = "TAPEDECK_TEST_KILL_DIR"

// writeUntilKilled appends to a tape for ever and says on stdout how many
// records it has synced.
func writeUntilKilled(dir string) {
	check := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	w, err := Create(dir, Config{Shards: 2, Codec: CodecS2, BlockSize: 4 << 10, SegmentSize: 256 << 10, SyncInterval: time.Millisecond})
	check(err)
	g := newGenerated(2, 5)
	for n := 1; ; n++ {
		at, rec := g.record()
		check(w.Append(at, rec))
		if n%500 == 0 {
			check(w.Sync(context.Background()))
			fmt.Println(n)
		}
	}
}

// Kill a writing process at random moments: the tape opens, verifies, has
// everything that was synced, in order, and recovers.
func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	rng := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 0))
	for round := range rounds {
		dir := filepath.Join(t.TempDir(), "killed.tape")
		synced := killAfter(t, dir, rng.IntN(60))
		tp := open(t, dir)
		if d := tp.Recovered().Damage; d != nil {
			t.Fatalf("round %d: taken for damage: %+v", round, d)
		}
		got := matches(t, tp)
		if got[0]+got[1] < synced {
			t.Fatalf("round %d: %v records; %d were synced", round, got, synced)
		}
		if r := verify(t, dir); !r.OK() || int(r.Records) != got[0]+got[1] {
			t.Fatalf("round %d: %+v", round, r)
		}
		report, err := Recover(dir)
		if err != nil || int(report.Records) != got[0]+got[1] {
			t.Fatalf("round %d: recovered %+v, error %v", round, report, err)
		}
		if r := verify(t, dir); !r.OK() || !r.Closed {
			t.Fatalf("round %d: after recovery: %+v", round, r)
		}
	}
}

// killAfter runs a writer, kills it after it has said so many lines and perhaps
// some bytes more, and returns how many records it said to have synced.
func killAfter(t *testing.T, dir string, lines int) int {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), killDir+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	synced := 0
	in := bufio.NewReader(out)
	for range lines + 1 {
		line, err := in.ReadString('\n')
		if err != nil {
			t.Fatalf("writer ended by itself: %v", err)
		}
		if synced, err = strconv.Atoi(line[:len(line)-1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	rest, _ := io.ReadAll(in)
	_ = cmd.Wait() // killed, as wanted
	for _, line := range splitLines(rest) {
		if n, err := strconv.Atoi(line); err == nil {
			synced = n
		}
	}
	return synced
}

// splitLines returns the whole lines.
func splitLines(b []byte) []string {
	var lines []string
	for {
		line, rest, found := cutLine(b)
		if !found {
			return lines
		}
		lines, b = append(lines, line), rest
	}
}

func cutLine(b []byte) (line string, rest []byte, found bool) {
	for i, c := range b {
		if c == '\n' {
			return string(b[:i]), b[i+1:], true
		}
	}
	return "", nil, false
}

// matches fails unless each shard of the tape has a prefix of what
// writeUntilKilled writes to it, and returns how long the prefixes are.
func matches(t *testing.T, tp *Tape) [2]int {
	t.Helper()
	have := [2]map[uint64]string{{}, {}}
	r := tp.Records(ReadConfig{})
	defer r.Close()
	for r.Next() {
		have[r.At().Shard][uint64(r.At().Seq)] = string(r.Record())
	}
	if r.Err() != nil {
		t.Fatal(r.Err())
	}
	var got [2]int
	g := newGenerated(2, 5)
	for got[0] < len(have[0]) || got[1] < len(have[1]) {
		at, rec := g.record()
		s, ok := have[at.Shard][uint64(at.Seq)]
		if !ok {
			if got[at.Shard] < len(have[at.Shard]) {
				t.Fatalf("shard %d has a hole at %d", at.Shard, at.Seq)
			}
			continue
		}
		if s != string(rec) {
			t.Fatalf("shard %d, sequence %d differs", at.Shard, at.Seq)
		}
		got[at.Shard]++
	}
	return got
}
