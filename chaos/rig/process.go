package rig

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Message is one JSON line of a process.
type Message map[string]any

// Type is its message_type.
func (m Message) Type() string { s, _ := m["message_type"].(string); return s }

// Text is a field of text; "" without it.
func (m Message) Text(field string) string { s, _ := m[field].(string); return s }

// Texts is a field that is a list of texts.
func (m Message) Texts(field string) []string {
	var texts []string
	list, _ := m[field].([]any)
	for _, x := range list {
		if s, ok := x.(string); ok {
			texts = append(texts, s)
		}
	}
	return texts
}

// Number is a field that is a number; 0 without it. Numbers above 2^53 lose digits.
func (m Message) Number(field string) float64 {
	n, ok := m[field].(json.Number)
	if !ok {
		return 0
	}
	f, _ := n.Float64()
	return f
}

// Process is tapedeck in a process of its own. Its methods may be called from any
// goroutine.
type Process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd

	mu     sync.Mutex // over what follows
	more   *sync.Cond
	said   []Message // what it said that is kept: see Keep
	last   map[string]Message
	stderr bytes.Buffer
	open   int // of its two outputs

	waited sync.Once
	ended  chan struct{}
}

// Start starts tapedeck with --json. It is killed at the end of the test.
func Start(t testing.TB, args ...string) *Process {
	t.Helper()
	return StartCommand(t, args[0], exec.Command(Binary(t), append(args, "--json")...))
}

// StartCommand is Start for a command that runs tapedeck, such as in a namespace. name
// is for reports.
func StartCommand(t testing.TB, name string, cmd *exec.Cmd) *Process {
	t.Helper()
	p := &Process{t: t, name: name, cmd: cmd, last: map[string]Message{}, open: 2, ended: make(chan struct{})}
	p.more = sync.NewCond(&p.mu)
	if p.cmd.SysProcAttr == nil {
		p.cmd.SysProcAttr = mortal()
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		p.wait()
	})
	go p.hear(stdout, p.take)
	go p.hear(stderr, func(line []byte) { p.stderr.Write(line); p.stderr.WriteByte('\n') })
	return p
}

// hear hands the lines of r to take, under the lock.
func (p *Process) hear(r io.Reader, take func([]byte)) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		p.mu.Lock()
		take(lines.Bytes())
		p.more.Broadcast()
		p.mu.Unlock()
	}
	p.mu.Lock()
	p.open--
	p.more.Broadcast()
	p.mu.Unlock()
}

// saidMax bounds the messages that are kept: of what is said every second the latest
// is all that matters.
const saidMax = 100_000

func (p *Process) take(line []byte) {
	var m Message
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if d.Decode(&m) != nil || m.Type() == "" {
		return
	}
	p.last[m.Type()] = m
	if len(p.said) < saidMax {
		p.said = append(p.said, m)
	}
}

// Name is what the process is called in reports.
func (p *Process) Name() string { return p.name }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Await waits for a message of a type of which wanted, unless it is nil, is true, and
// returns it. The test fails where the process ends before.
func (p *Process) Await(messageType string, wanted func(Message) bool) Message {
	p.t.Helper()
	m, ok := p.await(messageType, wanted)
	if !ok {
		p.t.Fatalf("%s ended before it said %s:\n%s", p.name, messageType, p.Stderr())
	}
	return m
}

// await looks at what has been said of a type last, and at what comes.
func (p *Process) await(messageType string, wanted func(Message) bool) (Message, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if m, ok := p.last[messageType]; ok && (wanted == nil || wanted(m)) {
			return m, true
		}
		if p.open == 0 {
			return nil, false
		}
		p.more.Wait()
	}
}

// Last is what was said last of a type; nil where nothing was.
func (p *Process) Last(messageType string) Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.last[messageType]
}

// AwaitText waits until a text is on standard error.
func (p *Process) AwaitText(text string) {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !strings.Contains(p.stderr.String(), text) {
		if p.open == 0 {
			p.t.Fatalf("%s ended before it said %q:\n%s", p.name, text, p.stderr.String())
		}
		p.more.Wait()
	}
}

// Said is every message of a type, in order.
func (p *Process) Said(messageType string) []Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []Message
	for _, m := range p.said {
		if m.Type() == messageType {
			all = append(all, m)
		}
	}
	return all
}

// Stderr is what it wrote to standard error.
func (p *Process) Stderr() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.String()
}

// Running reports whether it has not ended.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open > 0
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// wait reaps the process after both outputs have ended.
func (p *Process) wait() {
	p.waited.Do(func() {
		p.mu.Lock()
		for p.open > 0 {
			p.more.Wait()
		}
		p.mu.Unlock()
		var exit *exec.ExitError
		if err := p.cmd.Wait(); err != nil && !errors.As(err, &exit) {
			p.t.Errorf("%s: %v", p.name, err)
		}
		close(p.ended)
	})
	<-p.ended
}

// endMax is how long a process may take to end once it was told to. Beyond it what it
// does is wrong, and its goroutines say what that is.
const endMax = time.Minute

// End waits for the process to end and returns its exit code; -1 where a signal ended it.
func (p *Process) End() int {
	hung := time.AfterFunc(endMax, func() { _ = p.cmd.Process.Signal(syscall.SIGQUIT) })
	p.wait()
	hung.Stop()
	return p.cmd.ProcessState.ExitCode()
}

// Run runs tapedeck to its end, which must be good, and returns its last message.
func Run(t testing.TB, args ...string) Message {
	t.Helper()
	p := Start(t, args...)
	if code := p.End(); code != 0 {
		t.Fatalf("tapedeck %s: exit code %d\n%s", strings.Join(args, " "), code, p.Stderr())
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.said) == 0 {
		return nil
	}
	return p.said[len(p.said)-1]
}
