package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/tape"
)

// TestManifest imports every file of the market data and holds what info says of
// the tape against the facts that the manifest has of the file, which independent
// readers found.
func TestManifest(t *testing.T) {
	dir := testdata.Dir(t)
	used, ran := map[exceptionKey]bool{}, map[string]bool{}
	for _, e := range readManifest(t, dir) {
		ran[e.File] = false
		t.Run(e.File, func(t *testing.T) {
			ran[e.File] = true
			want := e.expect(t)
			got := importAndInfo(t, filepath.Join(dir, filepath.FromSlash(e.File)), e.cutOff())
			for key, fact := range want {
				at, from := exceptionKey{e.File, key}, "as the manifest has it"
				if x, ok := exceptions[at]; ok {
					used[at] = true
					if x.want == fact {
						t.Errorf("%s: the exception is not needed: the manifest says %d, too", key, fact)
					}
					fact, from = x.want, x.why
				}
				if v, ok := got[key]; !ok || v != fact {
					t.Errorf("%s = %d, want %d: %s", key, v, fact, from)
				}
			}
		})
	}
	for at := range exceptions {
		// With -run some files are left out.
		if didRun, listed := ran[at.file]; !used[at] && (didRun || !listed) {
			t.Errorf("the exception for %s of %s is of no use", at.key, at.file)
		}
	}
}

// TestManifestShards: the tape's form, one shard or four, plain or compressed, is
// nothing to the records and their order.
func TestManifestShards(t *testing.T) {
	for _, file := range []string{
		"csv/questdb-nasdaq_trades.csv",
		"cme-mdp3-pcap/Cme.Mdp3.Sbe.v6.1.pcap",
		"dbn/futures_ohlcv-1m_2024-07-01T23-40_2024-07-02T00-10.dbn.zst",
		"ice-impact-pcap/Ice.Mdf.iMpact.v1.1.33.Example.pcap",
		"iex-pcap/DEEP10.pcap.gz",
		"nyse-xdp-pcap/Nyse.ImbalancesFeed.v2.1.f.Example.pcap",
	} {
		t.Run(file, func(t *testing.T) {
			path := testdata.Path(t, file)
			one, four := filepath.Join(t.TempDir(), "one.tape"), filepath.Join(t.TempDir(), "four.tape")
			mustRun(t, "import", path, "-o", one, "--skip-bad", "--codec", "plain")
			mustRun(t, "import", path, "-o", four, "--skip-bad", "--codec", "zstd", "--shards", "4")
			n, digest := digestRecords(t, one, 1)
			if m, other := digestRecords(t, four, 4); m != n || other != digest {
				t.Errorf("%d records in four shards are not the %d in one", m, n)
			}
			verifyTape(t, four, n)
		})
	}
}

// importAndInfo imports a file, checks the tape and returns the numbers that info
// gives. A file that is cut off must be refused first.
func importAndInfo(t *testing.T, path string, cutOff bool) map[string]int64 {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "x.tape")
	args := []string{"import", path, "-o", dir}
	if cutOff {
		if _, stderr, code := runCommand(t, args...); code != exitFailed || !strings.Contains(stderr, "breaks off") || !strings.Contains(stderr, "--skip-bad") {
			t.Errorf("import of a file that is cut off: exit code %d, %s", code, stderr)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("a refused import leaves a tape behind: %v", err)
		}
		args = append(args, "--skip-bad")
	}
	mustRun(t, args...)
	got := numbers(t, mustRun(t, "info", "--json", dir))
	n, _ := digestRecords(t, dir, 1)
	if int64(n) != got["records"] {
		t.Errorf("the tape has %d records, info says %d", n, got["records"])
	}
	verifyTape(t, dir, n)
	return got
}

// verifyTape checks that verify finds a sound tape with n records.
func verifyTape(t *testing.T, dir string, n uint64) {
	t.Helper()
	got := numbers(t, mustRun(t, "verify", "--json", dir))
	for key, want := range map[string]int64{"records": int64(n), "problems": 0, "warnings": 0, "gaps": 0} {
		if v, ok := got[key]; !ok || v != want {
			t.Errorf("verify: %s = %d, want %d", key, v, want)
		}
	}
}

// digestRecords returns the number of a tape's records and a digest of them all
// with their ordinals, in the order over all shards, and checks that the ordinals
// count up from the first to the last.
func digestRecords(t *testing.T, dir string, shards int) (n uint64, digest [sha256.Size]byte) {
	t.Helper()
	tp, err := tape.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	if tp.Shards() != shards {
		t.Errorf("%d shards, want %d", tp.Shards(), shards)
	}
	recs := tp.Records(tape.ReadConfig{})
	defer recs.Close()
	sum := sha256.New()
	var ordinal [8]byte
	for last := uint64(0); recs.Next(); n++ {
		at := uint64(recs.At().Ordinal)
		if n > 0 && at <= last {
			t.Fatalf("record %d: ordinal %d behind %d", n, at, last)
		}
		last = at
		binary.LittleEndian.PutUint64(ordinal[:], at)
		sum.Write(ordinal[:])
		sum.Write(recs.Record())
	}
	if err := recs.Err(); err != nil {
		t.Fatal(err)
	}
	return n, [sha256.Size]byte(sum.Sum(nil))
}

// runCommand runs a command line of tapedeck in this process.
func runCommand(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := newRoot()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	cmd.SetErr(&errs)
	code = exitCode(cmd.ExecuteContext(t.Context()), &errs)
	return out.String(), errs.String(), code
}

// mustRun is runCommand for a command that must succeed.
func mustRun(t *testing.T, args ...string) string {
	t.Helper()
	out, stderr, code := runCommand(t, args...)
	if code != exitDone {
		t.Fatalf("%v: exit code %d: %s", args, code, stderr)
	}
	return out
}

// numbers returns the integers of the last line of a command's output.
func numbers(t *testing.T, out string) map[string]int64 {
	t.Helper()
	rows := strings.Split(strings.TrimSpace(out), "\n")
	dec := json.NewDecoder(strings.NewReader(rows[len(rows)-1]))
	dec.UseNumber()
	var all map[string]any
	if err := dec.Decode(&all); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ints := map[string]int64{}
	for key, v := range all {
		if n, ok := v.(json.Number); ok {
			var err error
			if ints[key], err = n.Int64(); err != nil {
				t.Fatalf("%s: %v", key, err)
			}
		}
	}
	return ints
}
