package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// reader is a process whose standard output is read as it comes.
type reader struct {
	*process
	out *lines
}

func startReader(t *testing.T, args ...string) *reader {
	t.Helper()
	r := &reader{start(t, args...), newLines()}
	go r.out.read(r.stdout)
	return r
}

// awaitLines waits until n lines have been written; false where the writer has ended.
func (l *lines) awaitLines(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for bytes.Count(l.buf.Bytes(), []byte("\n")) < n {
		if l.eof {
			return false
		}
		l.more.Wait()
	}
	return true
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Count(l.buf.Bytes(), []byte("\n"))
}

// finish waits for the process and returns its standard output and exit code.
func (r *reader) finish() (string, int) {
	r.t.Helper()
	r.out.mu.Lock()
	for !r.out.eof {
		r.out.more.Wait()
	}
	r.out.mu.Unlock()
	return r.out.String(), r.code()
}

// further waits until n more lines have come.
func (r *reader) further(n int) {
	r.t.Helper()
	if !r.out.awaitLines(r.out.count() + n) {
		r.t.Fatalf("the reader has ended\n%s", r.stderr)
	}
}

// served is where a process says that it serves.
func (p *process) served(what string) string {
	p.t.Helper()
	if !p.stderr.await(what) || !p.stderr.await("]\n") {
		p.t.Fatalf("it does not say where: %s", p.stderr)
	}
	_, at, _ := strings.Cut(p.stderr.String(), what)
	at, _, _ = strings.Cut(at, "]")
	return at
}

// servingAt is what commands say before the endpoints of their refills.
const servingAt = "serving refills on ["

// cable is a connection that can be cut: a proxy before a TCP endpoint.
type cable struct {
	t      *testing.T
	listen net.Listener
	target string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
}

func newCable(t *testing.T, target string) *cable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cable{t: t, listen: l, target: strings.TrimPrefix(target, "tcp://"), conns: map[net.Conn]bool{}}
	t.Cleanup(func() { l.Close(); c.set(true) })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go c.carry(conn)
		}
	}()
	return c
}

func (c *cable) endpoint() string { return "tcp://" + c.listen.Addr().String() }

// set cuts the cable, or mends it.
func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for conn := range c.conns {
			conn.Close()
		}
		clear(c.conns)
	}
}

func (c *cable) carry(in net.Conn) {
	defer in.Close()
	c.mu.Lock()
	if c.cut {
		c.mu.Unlock()
		return
	}
	out, err := net.Dial("tcp", c.target)
	if err != nil {
		c.mu.Unlock()
		return
	}
	c.conns[in], c.conns[out] = true, true
	c.mu.Unlock()
	defer out.Close()
	go func() {
		_, _ = io.Copy(out, in)
		out.Close()
	}()
	_, _ = io.Copy(in, out)
}

// paced generates a tape of so many records, at a rate per second of tape time.
func paced(t *testing.T, dir string, records, rate int) string {
	t.Helper()
	path := filepath.Join(dir, "paced.tape")
	tapedeck(t, "import", fmt.Sprintf("synth:topics=20,records=%d,rate=%d,size=64,seed=7", records, rate), "-o", path)
	return path
}

// printed is one record as sub --print --json writes it.
type printed struct {
	Message string `json:"message_type"`
	Topic   string `json:"topic"`
	Seq     uint32 `json:"topic_seq"`
	Receive int64  `json:"receive_time"`
}

// recordsIn are the records in a command's output. The last line may be cut off
// where the command was killed.
func recordsIn(t *testing.T, out string) []printed {
	t.Helper()
	var list []printed
	lines := bufio.NewScanner(strings.NewReader(out))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var p printed
		if err := json.Unmarshal(lines.Bytes(), &p); err != nil {
			if strings.HasSuffix(out, lines.Text()) {
				break
			}
			t.Fatalf("%v in %q", err, lines.Text())
		}
		if p.Message == "record" {
			list = append(list, p)
		}
	}
	return list
}

// spanOf checks that the records of each topic follow one another, and returns the
// first and the next of each.
func spanOf(t *testing.T, list []printed) (first, next map[string]uint32) {
	t.Helper()
	first, next = map[string]uint32{}, map[string]uint32{}
	for _, p := range list {
		n, known := next[p.Topic]
		if !known {
			first[p.Topic] = p.Seq
		} else if p.Seq != n {
			t.Fatalf("%s: #%d, want #%d", p.Topic, p.Seq, n)
		}
		next[p.Topic] = p.Seq + 1
	}
	return first, next
}

// part is the part of a summary that tells what healing did.
func part(t *testing.T, m map[string]any, name string) map[string]any {
	t.Helper()
	p, ok := m[name].(map[string]any)
	if !ok {
		t.Fatalf("no %s in %v", name, m)
	}
	return p
}

// figure is a number in a summary.
func figure(t *testing.T, m map[string]any, key string) int {
	t.Helper()
	n, ok := m[key].(float64)
	if !ok {
		t.Fatalf("no %s in %v", key, m)
	}
	return int(n)
}

// workersOf are the ways in which a subscriber works: in its loops, and behind them.
var workersOf = map[string][]string{"loops": nil, "workers": {"--workers", "2"}}

// TestCutOff: a subscriber whose connection is cut for a while has every record in
// the end, each once and in order.
func TestCutOff(t *testing.T) {
	t.Parallel()
	for name, extra := range workersOf {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			const records = 6000
			src := paced(t, dir, records, 1500)
			play := startReader(t, "play", src, "--wait", "3", "--bind", "tcp://127.0.0.1:*", "--json")
			at := play.served("on [")
			record := startReader(t, "record", "--connect", at, "-o", filepath.Join(dir, "rec.tape"), "--resync-bind", "tcp://127.0.0.1:*", "--json")
			line := newCable(t, at)
			witness := startReader(t, "sub", "--connect", at, "--print", "--json")
			sub := startReader(t, append([]string{"sub", "--connect", line.endpoint(), "--resync", record.served(servingAt), "--print", "--json"}, extra...)...)
			sub.further(500)
			line.set(true)
			witness.further(1500)
			line.set(false)
			out, code := sub.finish()
			m := summary(t, out, "sub.summary")
			healed := part(t, m, "resync")
			if code != 0 || m["complete"] != true || figure(t, m, "records") != records || figure(t, m, "visited") != records ||
				figure(t, m, "gaps") != 0 || figure(t, m, "lost") != 0 {
				t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
			}
			if figure(t, healed, "refilled") < 1000 || figure(t, healed, "refilled")+figure(t, healed, "live") != records ||
				figure(t, healed, "healed") < 1 || figure(t, healed, "gave_up")+figure(t, healed, "twice")+figure(t, healed, "unsaid") != 0 {
				t.Errorf("%v", healed)
			}
			list := recordsIn(t, out)
			if first, _ := spanOf(t, list); len(list) != records || len(first) != 20 {
				t.Errorf("%d records printed, of %d topics", len(list), len(first))
			}
			for _, p := range []*reader{play, witness, record} {
				if out, code := p.finish(); code != 0 {
					t.Errorf("%v: exit code %d\n%s\n%s", p.cmd.Args[1], code, out[strings.LastIndex(out[:max(len(out)-1, 0)], "\n")+1:], p.stderr)
				}
			}
			served := part(t, summary(t, record.out.String(), "record.summary"), "served")
			if figure(t, served, "records") < 1000 || figure(t, served, "refills") == 0 {
				t.Errorf("%v", served)
			}
		})
	}
}

// TestStopped: a subscriber that stands still for so long that it loses records has
// every record in the end.
func TestStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records = 30_000
	src := paced(t, dir, records, 6000)
	bind := "ipc://" + filepath.Join(dir, "s")
	play := startReader(t, "play", src, "--wait", "2", "--live", "--bind", bind, "--resync-bind", "ipc://"+filepath.Join(dir, "r"), "--json")
	witness := startReader(t, "sub", "--connect", bind, "--print", "--json")
	sub := startReader(t, "sub", "--connect", bind, "--resync", play.served(servingAt), "--json", "--expect-rate", "1", "--expect-size", "64")
	witness.further(2000)
	sub.signal(stopSignal)
	witness.further(15_000)
	sub.signal(continueSignal)
	out, code := sub.finish()
	m := summary(t, out, "sub.summary")
	healed := part(t, m, "resync")
	if code != 0 || m["complete"] != true || figure(t, m, "records") != records || figure(t, healed, "refilled") == 0 ||
		figure(t, healed, "gaps") == 0 || figure(t, healed, "gaps") != figure(t, healed, "healed") {
		t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
	}
	witness.finish()
	if out, code := play.finish(); code != 0 || figure(t, part(t, summary(t, out, "play.summary"), "served"), "refills") == 0 {
		t.Errorf("play: exit code %d\n%s", code, play.stderr)
	}
}

// TestFromTime: a subscriber that comes late and wants the past has exactly the tape
// from that time on, then the live stream.
func TestFromTime(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records, rate, passes = 3000, 1500, 2
	src := paced(t, dir, records, rate)
	all := recordsIn(t, tapedeck(t, "cat", "--json", src))
	bind := "ipc://" + filepath.Join(dir, "s-{shard}")
	play := startReader(t, "play", src, "--shards", "2", "--wait", "1", "--loop", fmt.Sprint(passes), "--bind", bind,
		"--resync-bind", "ipc://"+filepath.Join(dir, "r"), "--json")
	witness := startReader(t, "sub", "--shards", "2", "--connect", bind, "--print", "--json")
	witness.further(2000)
	const from = 700
	subs := map[string]*reader{}
	for name, extra := range workersOf {
		subs[name] = startReader(t, append([]string{"sub", "--shards", "2", "--connect", bind, "--resync", play.served(servingAt), "--from", fmt.Sprint(all[from].Receive),
			"--print", "--json"}, extra...)...)
	}
	for name, sub := range subs {
		out, code := sub.finish()
		m := summary(t, out, "sub.summary")
		healed := part(t, m, "resync")
		if code != 0 || m["complete"] != true || figure(t, m, "records") != passes*records-from || figure(t, healed, "refilled") < 2000-from ||
			figure(t, healed, "live") == 0 || len(healed["spliced"].([]any)) != 2 {
			t.Errorf("%s: exit code %d, %v\n%s", name, code, m, sub.stderr)
		}
		missing := map[string]int{}
		for _, p := range slices.Concat(all[from:], all) {
			missing[fmt.Sprint(p.Topic, "#", p.Seq)]++
		}
		for _, p := range recordsIn(t, out) {
			missing[fmt.Sprint(p.Topic, "#", p.Seq)]--
		}
		for what, n := range missing {
			if n != 0 {
				t.Errorf("%s: %s is missing %d times", name, what, n)
			}
		}
	}
	out, code := witness.finish()
	if m := summary(t, out, "sub.summary"); code != 0 || figure(t, m, "records") != passes*records {
		t.Errorf("witness: exit code %d, %v", code, m)
	}
	if _, code := play.finish(); code != 0 {
		t.Errorf("play: exit code %d\n%s", code, play.stderr)
	}
}

// TestFromStart: a subscriber that comes late and wants the epoch's beginning has all
// of it, from a tape that another process serves while it is recorded.
func TestFromStart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records = 5000
	src, rec := paced(t, dir, records, 1500), filepath.Join(dir, "rec.tape")
	bind := "ipc://" + filepath.Join(dir, "s")
	play := startReader(t, "play", src, "--wait", "2", "--bind", bind)
	record := startReader(t, "record", "--connect", bind, "-o", rec, "--sync", "20ms")
	witness := startReader(t, "sub", "--connect", bind, "--print")
	witness.further(1000)
	server := startReader(t, "resync", rec, "--bind", "tcp://127.0.0.1:*", "--backend", "ipc://"+filepath.Join(dir, "b"), "--json")
	at := server.served(servingAt)
	worker := startReader(t, "resync-worker", rec, "--connect", "ipc://"+filepath.Join(dir, "b"))
	sub := startReader(t, "sub", "--connect", bind, "--resync", at, "--from", "start", "--json")
	if !worker.stderr.await("reading") {
		t.Fatal(worker.stderr)
	}
	worker.signal(os.Kill)
	out, code := sub.finish()
	m := summary(t, out, "sub.summary")
	healed := part(t, m, "resync")
	if code != 0 || m["complete"] != true || figure(t, m, "records") != records || figure(t, healed, "refilled") < 1000 {
		t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
	}
	server.signal(os.Interrupt)
	out, code = server.finish()
	if m := summary(t, out, "resync.summary"); code != 130 || figure(t, m, "records") != figure(t, healed, "refilled") {
		t.Errorf("resync: exit code %d, %v\n%s", code, m, server.stderr)
	}
	for _, p := range []*reader{play, witness, record} {
		if _, code := p.finish(); code != 0 {
			t.Errorf("%v: exit code %d\n%s", p.cmd.Args[1], code, p.stderr)
		}
	}
}

// TestRecorderHeals: a recorder whose connection is cut gets what it missed from the
// player, and has the whole tape.
func TestRecorderHeals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records = 5000
	src, rec := paced(t, dir, records, 1500), filepath.Join(dir, "rec.tape")
	play := startReader(t, "play", src, "--wait", "2", "--bind", "tcp://127.0.0.1:*", "--resync-bind", "ipc://"+filepath.Join(dir, "r"))
	at := play.served("playing " + src + " at 1x on [")
	line := newCable(t, at)
	witness := startReader(t, "sub", "--connect", at, "--print")
	record := startReader(t, "record", "--connect", line.endpoint(), "-o", rec, "--resync", play.served(servingAt), "--json")
	witness.further(1000)
	line.set(true)
	witness.further(1000)
	line.set(false)
	out, code := record.finish()
	m := summary(t, out, "record.summary")
	if code != 0 || m["complete"] != true || figure(t, m, "records") != records || figure(t, part(t, m, "resync"), "refilled") == 0 {
		t.Errorf("exit code %d, %v\n%s", code, m, record.stderr)
	}
	witness.finish()
	play.finish()
	tapedeck(t, "verify", rec)
	if tapedeck(t, "cat", src) != tapedeck(t, "cat", rec) {
		t.Error("the recording is not the same as the tape")
	}
}

// eventually waits for a condition that other processes bring about.
func eventually(cond func() bool) {
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !cond() {
		<-again.C
	}
}

// there reports whether a file is there.
func there(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}
