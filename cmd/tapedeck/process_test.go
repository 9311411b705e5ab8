package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/internal/testdata"
)

// process is tapedeck in a process of its own.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout io.Reader
	stderr *lines
}

// lines keeps what was written and lets a test wait for a line.
type lines struct {
	mu   sync.Mutex
	more *sync.Cond
	buf  bytes.Buffer
	eof  bool
}

func newLines() *lines {
	l := &lines{}
	l.more = sync.NewCond(&l.mu)
	return l
}

func (l *lines) read(r io.Reader) {
	b := make([]byte, 4096)
	for {
		n, err := r.Read(b)
		l.mu.Lock()
		l.buf.Write(b[:n])
		l.eof = err != nil
		l.more.Broadcast()
		l.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// await waits until text has been written; false where the writer has ended.
func (l *lines) await(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !strings.Contains(l.buf.String(), text) {
		if l.eof {
			return false
		}
		l.more.Wait()
	}
	return true
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// start starts tapedeck with its standard output unread; it is killed when the
// test ends, should it still run.
func start(t *testing.T, args ...string) *process {
	t.Helper()
	return startProgram(t, "tapedeck", args...)
}

// startProgram is start for any program.
func startProgram(t *testing.T, name string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(name, args...), stderr: newLines()}
	var err error
	if p.stdout, err = p.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	go p.stderr.read(stderr)
	return p
}

// end waits for the process and returns its standard output and exit code.
func (p *process) end() (string, int) {
	p.t.Helper()
	out, err := io.ReadAll(p.stdout)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(out), p.code()
}

func (p *process) code() int {
	p.t.Helper()
	p.stderr.mu.Lock()
	for !p.stderr.eof {
		p.stderr.more.Wait()
	}
	p.stderr.mu.Unlock()
	err := p.cmd.Wait()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// tapedeck runs it to its end, which must be good.
func tapedeck(t *testing.T, args ...string) string {
	t.Helper()
	p := start(t, args...)
	out, code := p.end()
	if code != 0 {
		t.Fatalf("tapedeck %s: exit code %d\n%s", strings.Join(args, " "), code, p.stderr)
	}
	return out
}

// summary is the last line of a command's JSON output.
func summary(t *testing.T, out, messageType string) map[string]any {
	t.Helper()
	all := strings.Split(strings.TrimSpace(out), "\n")
	var m map[string]any
	if err := json.Unmarshal([]byte(all[len(all)-1]), &m); err != nil {
		t.Fatalf("%v in %q", err, all[len(all)-1])
	}
	if m["message_type"] != messageType {
		t.Fatalf("last line is a %v, want %s", m["message_type"], messageType)
	}
	return m
}

// day generates a tape of records at one per millisecond of tape time.
func day(t *testing.T, dir string, records int) string {
	t.Helper()
	path := filepath.Join(dir, "day.tape")
	tapedeck(t, "import", fmt.Sprintf("synth:topics=20,records=%d,rate=1000,size=64,seed=5", records), "-o", path)
	return path
}

// TestRealFile is the product's main way, on a real day: vendor file, tape, two
// shards over ZeroMQ, a subscriber that proves it has all, and a recording that
// is the same.
func TestRealFile(t *testing.T) {
	file := testdata.Path(t, "dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst")
	dir := t.TempDir()
	src, copied := filepath.Join(dir, "es.tape"), filepath.Join(dir, "copy.tape")
	const records = 68_792
	if m := summary(t, tapedeck(t, "import", file, "-o", src, "--json"), "import.summary"); m["records"] != float64(records) {
		t.Fatalf("import: %v", m)
	}
	if m := summary(t, tapedeck(t, "info", src, "--json"), "info"); m["records"] != float64(records) {
		t.Fatalf("info: %v", m)
	}
	bind := "ipc://" + filepath.Join(dir, "s-{shard}")
	play := start(t, "play", src, "--shards", "2", "--speed", "max", "--wait", "2", "--bind", bind, "--json")
	record := start(t, "record", "--shards", "2", "--connect", bind, "-o", copied, "--json")
	sub := start(t, "sub", "--shards", "2", "--connect", bind, "--json")
	out, code := sub.end()
	m := summary(t, out, "sub.summary")
	if code != 0 || m["records"] != float64(records) || m["gaps"] != 0.0 || m["complete"] != true {
		t.Errorf("sub exits with %d: %v\n%s", code, m, sub.stderr)
	}
	for _, p := range []*process{play, record} {
		if out, code := p.end(); code != 0 {
			t.Errorf("exit code %d: %s%s", code, out, p.stderr)
		}
	}
	tapedeck(t, "verify", copied)
	if tapedeck(t, "cat", src) != tapedeck(t, "cat", copied) {
		t.Error("the recording is not the same as the tape")
	}
}

// TestOverTCP: play says where it is bound, so that a free port can be asked for.
func TestOverTCP(t *testing.T) {
	src := day(t, t.TempDir(), 1000)
	play := start(t, "play", src, "--speed", "max", "--wait", "1", "--bind", "tcp://127.0.0.1:*")
	if !play.stderr.await("]\n") {
		t.Fatal(play.stderr)
	}
	_, at, _ := strings.Cut(play.stderr.String(), "on [")
	at, _, _ = strings.Cut(at, "]")
	taken := start(t, "play", src, "--bind", at)
	if _, code := taken.end(); code != 1 || !strings.Contains(taken.stderr.String(), at) || !strings.Contains(taken.stderr.String(), "hint: ") {
		t.Errorf("an endpoint in use: exit code %d\n%s", code, taken.stderr)
	}
	tapedeck(t, "sub", "--connect", at)
	if _, code := play.end(); code != 0 {
		t.Errorf("exit code %d: %s", code, play.stderr)
	}
}

// TestInterrupt: Ctrl-C ends each command with 130 and leaves what it made in
// order.
func TestInterrupt(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 100_000) // 100 s at 1x
	bind := "ipc://" + filepath.Join(dir, "s")
	copied := filepath.Join(dir, "copy.tape")
	play := start(t, "play", src, "--wait", "2", "--bind", bind, "--json")
	record := start(t, "record", "--connect", bind, "-o", copied, "--json")
	sub := start(t, "sub", "--connect", bind, "--print")
	// Records flow: now each is stopped in turn.
	if _, err := bufio.NewReader(sub.stdout).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		*process
		message string
	}{{sub, ""}, {record, "record.summary"}, {play, "play.summary"}} {
		x.signal(os.Interrupt)
		out, code := x.end()
		if code != 130 || !strings.Contains(x.stderr.String(), "interrupted") {
			t.Errorf("%v: exit code %d\n%s", x.cmd.Args[1], code, x.stderr)
		}
		if x.message != "" {
			summary(t, out, x.message)
		}
	}
	m := summary(t, tapedeck(t, "verify", copied, "--json"), "verify.summary")
	if m["ok"] != true || m["closed"] != true {
		t.Errorf("verify: %v", m)
	}

	// An import that waits for its input leaves nothing behind.
	imp := filepath.Join(dir, "stdin.tape")
	p := &process{t: t, cmd: exec.Command("tapedeck", "import", "-", "--columns", "time=time,topic=symbol", "-o", imp), stderr: newLines()}
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.stdout = strings.NewReader("")
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go p.stderr.read(stderr)
	fmt.Fprint(stdin, "time,symbol\n", strings.Repeat("2024-01-02T09:30:00Z,A\n", 100_000))
	p.signal(os.Interrupt)
	if code := p.code(); code != 130 {
		t.Errorf("import: exit code %d\n%s", code, p.stderr)
	}
	if left, _ := filepath.Glob(imp + "*"); len(left) != 0 {
		t.Errorf("import left %v", left)
	}

	// Nobody is there to play.
	lonely := start(t, "sub", "--connect", "ipc://"+filepath.Join(dir, "nobody"), "--shards", "1", "--json")
	waiting := start(t, "play", src, "--wait", "1", "--bind", "ipc://"+filepath.Join(dir, "lonely"))
	if !waiting.stderr.await("playing") {
		t.Fatal(waiting.stderr)
	}
	waiting.signal(os.Interrupt)
	if _, code := waiting.end(); code != 130 {
		t.Errorf("play that waits: exit code %d\n%s", code, waiting.stderr)
	}
	lonely.signal(syscall.SIGTERM)
	// The signal may come before the program listens for it.
	if _, code := lonely.end(); code != 130 && code != -1 {
		t.Errorf("sub that waits: exit code %d\n%s", code, lonely.stderr)
	}
}

// TestClosedPipe: whoever reads our output may stop reading; that is no error.
func TestClosedPipe(t *testing.T) {
	src := day(t, t.TempDir(), 50_000)
	for _, args := range [][]string{{"cat", src}, {"cat", "--json", src}} {
		p := start(t, args...)
		if _, err := bufio.NewReaderSize(p.stdout, 16).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := p.stdout.(io.Closer).Close(); err != nil {
			t.Fatal(err)
		}
		if code := p.code(); code != 0 || p.stderr.String() != "" {
			t.Errorf("%v: exit code %d, %q", args, code, p.stderr)
		}
	}
}

// TestLateSubscriber: who comes after the first record is told so, with exit code
// 3.
func TestLateSubscriber(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 2000) // 2 s at 1x
	for joined, round := false, 0; !joined; round++ {
		bind := fmt.Sprintf("ipc://%s/%d", dir, round)
		play := start(t, "play", src, "--wait", "1", "--bind", bind)
		first := start(t, "sub", "--connect", bind, "--print")
		r := bufio.NewReader(first.stdout)
		if _, err := r.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		// A machine that lets this process come after the end gets another
		// round: then there was silence, and nothing was printed.
		late := start(t, "sub", "--connect", bind, "--json", "--silence", "3s")
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Fatal(err)
		}
		if code := first.code(); code != 0 {
			t.Errorf("first: exit code %d\n%s", code, first.stderr)
		}
		if _, code := play.end(); code != 0 {
			t.Errorf("play: exit code %d\n%s", code, play.stderr)
		}
		out, code := late.end()
		m := summary(t, out, "sub.summary")
		if joined = m["records"] != 0.0; !joined {
			continue
		}
		if code != 3 || m["complete"] != false || m["gaps"] != 0.0 || !strings.Contains(late.stderr.String(), "joined after the first record") {
			t.Errorf("late: exit code %d, %v\n%s", code, m, late.stderr)
		}
	}
}
