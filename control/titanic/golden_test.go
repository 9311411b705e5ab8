package titanic

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

var update = flag.Bool("update", false, "write the golden logs in testkit/jobs anew")

const golden = "../../testkit/jobs"

// The logs that are written now, and those of versions before.
var goldenLogs = []string{"golden-v2.log", "golden-v2-compacted.log", "golden-v2-torn.log", "golden-v1.log", "golden-v1-compacted.log", "golden-v1-torn.log"}

// goldenJob is a line of jobs.jsonl.
type goldenJob struct {
	Number    uint64   `json:"number"`
	ID        string   `json:"id"`
	Service   string   `json:"service"`
	Key       string   `json:"key"`
	Note      string   `json:"note"`
	State     State    `json:"state"`
	Attempt   int      `json:"attempt"`
	Added     int64    `json:"added"`
	NotBefore int64    `json:"not_before"`
	Expires   int64    `json:"expires"`
	Ended     int64    `json:"ended"`
	Reason    string   `json:"reason"`
	Body      []string `json:"body"`
	Reply     []string `json:"reply"`
}

// latin is bytes as text of which each character is a byte.
func latin(frames [][]byte) []string {
	var out []string
	for _, f := range frames {
		r := make([]rune, len(f))
		for i, b := range f {
			r[i] = rune(b)
		}
		out = append(out, string(r))
	}
	return out
}

// goldenOf reads all jobs of a store.
func goldenOf(t *testing.T, s *store) (jobs []goldenJob) {
	t.Helper()
	for _, e := range s.byNumber() {
		j := goldenJob{Number: e.number, ID: e.id.String(), Service: e.service, Key: e.key, Note: e.note, State: e.state, Attempt: e.attempt,
			Added: e.added, NotBefore: e.notBefore, Expires: e.expires, Ended: e.ended, Reason: e.reason}
		if e.body.size > 0 {
			b, err := s.body(e.id, kindAdded)
			if err != nil {
				t.Fatal(err)
			}
			a, err := parseAdded(b)
			if err != nil {
				t.Fatal(err)
			}
			j.Body = latin(a.Frames)
		}
		if e.reply.size > 0 {
			reply, err := s.reply(e.id)
			if err != nil {
				t.Fatal(err)
			}
			j.Reply = latin(reply)
		}
		jobs = append(jobs, j)
	}
	return jobs
}

// goldenConfig gives the same log in every run.
func goldenConfig(fsx fsys.FS) storeConfig {
	cfg := crashConfig(fsx)
	n := uint64(0x0123456789abcdef)
	cfg.identity = func() uint64 { n++; return n }
	return cfg
}

// goldenStore makes one job in each state, and some that leave no trace but in the
// log. It returns where the last record begins.
func goldenStore(t *testing.T, fsx fsys.FS) (s *store, last int64) {
	t.Helper()
	s = openTest(t, goldenConfig(fsx))
	now := int64(1_700_000_000_000_000_000)
	add := func(a added) ID {
		now += 1_000_000_000
		a.Number, a.Digest = s.m.next, digestOf(a.Service, a.Frames)
		id := s.cfg.newID()
		s.mu.Lock()
		defer s.mu.Unlock()
		last = s.log.end
		if err := s.append(kindAdded, id, now, appendAdded(nil, &a), 0); err != nil {
			t.Fatal(err)
		}
		return id
	}
	then := func(id ID, k kind, body []byte) {
		now += 1_000_000_000
		if _, err := s.change(k, id, now, body, nil); err != nil {
			t.Fatal(err)
		}
	}
	body := func(text ...string) (frames [][]byte) {
		for _, f := range text {
			frames = append(frames, []byte(f))
		}
		return frames
	}
	reply := appendFrames(nil, body("200", "", "\x00\xff"))
	add(added{Service: "echo", Frames: body("stored")})
	then(add(added{Service: "echo", Key: "k2", Note: "a note, ä", NotBefore: now + 5, Expires: now + 9, Frames: body("one", "", "\xfe")}), kindDispatched, attemptBody(1))
	answered := add(added{Service: "job.import", Key: "control:0123456789abcdef0123456789abcdef:1", Frames: body("TPDC01", "{}")})
	then(answered, kindDispatched, attemptBody(1))
	then(answered, kindDispatched, attemptBody(2))
	then(answered, kindAnswered, reply)
	for _, how := range []State{Cancelled, Expired, Failed} {
		then(add(added{Service: "echo", Frames: body("x")}), kindEnded, appendEnded(nil, how, "because"))
	}
	then(add(added{Service: "echo", Key: "k7", Frames: body("closed")}), kindClosed, nil)
	then(add(added{Service: "echo", Frames: body("gone")}), kindClosed, nil)
	then(add(added{Service: "echo", Key: "taken", Frames: body("before")}), kindEnded, appendEnded(nil, Cancelled, ""))
	add(added{Service: "echo", Key: "taken", Frames: body("after")})
	if err := s.commit(s.appended, true); err != nil {
		t.Fatal(err)
	}
	return s, last
}

// goldenBytes is the log of a store, and 64 bytes of what it reserves.
func goldenBytes(t *testing.T, s *store) []byte {
	t.Helper()
	b := make([]byte, s.log.end+64)
	if _, err := s.log.f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestGoldenWriting: the same jobs give the same logs, byte by byte; -update writes
// them.
func TestGoldenWriting(t *testing.T) {
	s, _ := goldenStore(t, fsys.NewMem())
	logs := map[string][]byte{"golden-v2.log": goldenBytes(t, s)}
	var lines bytes.Buffer
	for _, j := range goldenOf(t, s) {
		if err := json.NewEncoder(&lines).Encode(j); err != nil {
			t.Fatal(err)
		}
	}
	logs["jobs.jsonl"] = lines.Bytes()
	from := s.log.end
	if _, _, _, err := s.add(&Job{Service: "echo", Body: [][]byte{[]byte("torn")}}, 1_700_000_100_000_000_000); err != nil {
		t.Fatal(err)
	}
	if err := s.commit(s.appended, false); err != nil {
		t.Fatal(err)
	}
	torn := goldenBytes(t, s)
	clear(torn[from+40 : from+72])
	logs["golden-v2-torn.log"] = torn
	s, _ = goldenStore(t, fsys.NewMem())
	if err := s.compact(1_700_000_200_000_000_000); err != nil {
		t.Fatal(err)
	}
	logs["golden-v2-compacted.log"] = goldenBytes(t, s)
	for name, want := range logs {
		name = filepath.Join(golden, name)
		if *update {
			if err := os.WriteFile(name, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is not what is written (%v); if the format was meant to change, run with -update", name, err)
		}
	}
}

// TestGoldenReading: what is in the golden logs is what jobs.jsonl says.
func TestGoldenReading(t *testing.T) {
	want := goldenLines(t)
	for _, name := range goldenLogs {
		cfg := goldenConfig(fsys.NewMem())
		if err := cfg.fs.Mkdir(cfg.dir); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(golden, name))
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range goldenFiles(strings.Contains(name, "v2"), b) {
			if err := fsys.WriteFile(cfg.fs, cfg.dir, name, content); err != nil {
				t.Fatal(err)
			}
		}
		s := openTest(t, cfg)
		if d := cmp.Diff(want, goldenOf(t, s)); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
		if s.m.odd+uint64(s.found.odd) > 0 || (s.found.torn > 0) != strings.Contains(name, "torn") {
			t.Errorf("%s: %+v, %d odd", name, s.found, s.m.odd)
		}
	}
}

// goldenFiles are the files that a log lies in.
func goldenFiles(epochs bool, log []byte) map[string][]byte {
	if !epochs {
		return map[string][]byte{markName: log}
	}
	return map[string][]byte{markName: (&logFile{}).header(0), logName(1): log}
}

func goldenLines(t *testing.T) (jobs []goldenJob) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(golden, "jobs.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range bytes.Lines(b) {
		var j goldenJob
		if err := json.Unmarshal(line, &j); err != nil {
			t.Fatal(err)
		}
		jobs = append(jobs, j)
	}
	if len(jobs) != 8 {
		t.Fatalf("%d jobs", len(jobs))
	}
	return jobs
}

// TestPythonReadsTheLog: a reader in another language, written from the page alone.
func TestPythonReadsTheLog(t *testing.T) {
	if exec.Command("python3", "--version").Run() != nil {
		t.Skip("no python3: install it to read the golden logs with another reader")
	}
	want := goldenLines(t)
	for _, name := range goldenLogs {
		var stderr bytes.Buffer
		cmd := exec.Command("python3", "testdata/read_log.py", filepath.Join(golden, name))
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v: %s", name, err, stderr.Bytes())
		}
		var got []goldenJob
		for line := range bytes.Lines(out) {
			var j goldenJob
			if err := json.Unmarshal(line, &j); err != nil {
				t.Fatal(err)
			}
			got = append(got, j)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s:\n%s", name, d)
		}
		if torn := strings.HasPrefix(fmt.Sprint(&stderr), "torn"); torn != strings.Contains(name, "torn") {
			t.Errorf("%s: %s", name, stderr.Bytes())
		}
	}
}

// FuzzOpen: whatever records a log has, whole and in order, and whatever lies behind
// them: nothing panics, all that was taken in can be read, and is the same in the log
// that a compaction makes of it.
func FuzzOpen(f *testing.F) {
	one := func(k kind, id byte, body []byte) []byte {
		return append([]byte{byte(k), id, byte(len(body)), byte(len(body) >> 8)}, body...)
	}
	add := one(kindAdded, 1, appendAdded(nil, &added{Number: 1, Service: "s", Key: "k", Frames: [][]byte{{1}}}))
	for _, then := range [][]byte{nil, one(kindDispatched, 1, attemptBody(1)), one(kindAnswered, 1, appendFrames(nil, [][]byte{{2}})),
		one(kindEnded, 1, appendEnded(nil, Failed, "why")), one(kindClosed, 1, nil),
		one(kindAdded, 2, appendAdded(nil, &added{Number: 2, Service: "s", Key: "k", Bare: true}))} {
		f.Add(append(bytes.Clone(add), then...), []byte("behind"))
	}
	f.Fuzz(func(t *testing.T, records, behind []byte) {
		cfg := goldenConfig(fsys.NewMem())
		cfg.salvage = true
		s := openTest(t, cfg)
		l := s.log
		var b []byte
		for n := uint64(0); len(records) >= 4; n++ {
			size := min(int(records[2])|int(records[3])<<8, len(records)-4)
			b = appendRecord(b, &record{Kind: kind(records[0]), Log: l.identity, Sequence: n, Time: int64(n), ID: ID{records[1]}, Body: records[4 : 4+size]})
			records = records[4+size:]
		}
		if _, err := l.f.WriteAt(append(b, behind...), logHeader); err != nil {
			t.Fatal(err)
		}
		s = openTest(t, cfg)
		want := goldenOf(t, s)
		if err := s.compact(2); err != nil {
			t.Fatal(err)
		}
		if live := s.m.live; s.log.end != logHeader+live {
			t.Errorf("a compacted log has %d bytes, %d are live", s.log.end, live)
		}
		s = openTest(t, cfg)
		if d := cmp.Diff(want, goldenOf(t, s)); d != "" {
			t.Error(d)
		}
		if s.m.odd > 0 || s.found.odd > 0 {
			t.Errorf("a compacted log has %d and %d odd records", s.m.odd, s.found.odd)
		}
	})
}
