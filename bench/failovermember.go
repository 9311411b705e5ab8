package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// memberSaid is what one of a pair says about itself, of any part.
type memberSaid struct {
	State   string `json:"state"`
	Epoch   uint64 `json:"epoch"`
	Ready   bool   `json:"ready"` // it could take over
	Readers int    `json:"readers"`
	Workers int    `json:"workers"`
	Kept    struct {
		Reach    int64 `json:"reach_ns"`
		Messages int   `json:"messages"`
		Bytes    int64 `json:"bytes"`
	} `json:"kept"` // by a passive one; of what began its turn: what it sent again
}

// member is one of a pair, in a process of its own.
type member struct {
	name string
	cmd  *exec.Cmd

	mu     sync.Mutex
	shown  string        // where its metrics are, a URL
	said   memberSaid    // how it fares
	turn   memberSaid    // when it became active
	active int64         // and when that was heard; monotonic, ns; 0: it is not
	more   chan struct{} // closed when it says something
	ended  bool
	stderr bytes.Buffer
}

// startMember starts a program as one of a pair. What it says is of message types that
// begin with says.
func startMember(ctx context.Context, name, says string, program []string) (*member, error) {
	m := &member{name: name, cmd: exec.CommandContext(ctx, program[0], program[1:]...), more: make(chan struct{})}
	m.cmd.Stderr = (*memberStderr)(m)
	out, err := m.cmd.StdoutPipe()
	if err == nil {
		err = m.cmd.Start()
	}
	if err != nil {
		return nil, fmt.Errorf("bench: start %v: %w", program, err)
	}
	go func() {
		lines := bufio.NewScanner(out)
		lines.Buffer(nil, 16<<20)
		for lines.Scan() {
			m.line(says, lines.Bytes())
		}
		m.change(func() { m.ended = true })
	}()
	return m, nil
}

func (m *member) line(kind string, line []byte) {
	now := monotonic()
	var says struct {
		Type    string `json:"message_type"`
		Address string `json:"address"` // of metrics, host and port
		Metrics string `json:"metrics"` // of serve, a URL
		memberSaid
	}
	if json.Unmarshal(line, &says) != nil {
		return
	}
	switch says.Type {
	case "metrics.serving":
		m.change(func() { m.shown = "http://" + says.Address + "/metrics" })
	case "serve.serving":
		m.change(func() { m.shown = says.Metrics })
	case kind + ".pair":
		m.change(func() {
			m.said = says.memberSaid
			switch {
			case m.said.State != stateActive:
				m.active = 0
			case m.active == 0: // what said so was left out
				m.active = now
			}
		})
	case kind + ".active":
		m.change(func() { m.said.State, m.turn, m.active = stateActive, says.memberSaid, now })
	case kind + ".passive":
		m.change(func() { m.said.State, m.active = statePassive, 0 })
	}
}

// The states of one of a pair, as it says them.
const (
	stateActive  = "active"
	statePassive = "passive"
)

// change changes what is known, and tells who waits.
func (m *member) change(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
	close(m.more)
	m.more = make(chan struct{})
}

// look returns what it has said, or how it has ended.
func (m *member) look() (memberSaid, error) {
	m.mu.Lock()
	said, ended := m.said, m.ended
	m.mu.Unlock()
	if ended {
		return said, fmt.Errorf("bench: the %s ended: %s", m.name, m.remarks())
	}
	return said, nil
}

// awaitTurn waits until it is active, and returns since when, and how.
func (m *member) awaitTurn(ctx context.Context) (at int64, turn memberSaid, err error) {
	for {
		m.mu.Lock()
		at, turn, more := m.active, m.turn, m.more
		m.mu.Unlock()
		if at != 0 {
			return at, turn, nil
		}
		if _, err := m.look(); err != nil {
			return 0, turn, err
		}
		select {
		case <-more:
		case <-ctx.Done():
			return 0, turn, fmt.Errorf("bench: the %s is not active: %w: %s", m.name, context.Cause(ctx), m.remarks())
		}
	}
}

// memberStderr is where its remarks go.
type memberStderr member

// Write implements io.Writer.
func (m *memberStderr) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stderr.Len() < 1<<20 {
		m.stderr.Write(b)
	}
	return len(b), nil
}

// remarks are the last of what it has said to people.
func (m *member) remarks() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(m.stderr.String()), "\n")
	return strings.Join(lines[max(len(lines)-5, 0):], "; ")
}

// kill kills it, as kill -9 does, and returns when that was, and when it was gone.
func (m *member) kill() (killed, dead int64) {
	killed = monotonic()
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
	return killed, monotonic()
}

// close ends it, in order.
func (m *member) close() error {
	const interrupted = 130
	err := m.cmd.Process.Signal(unix.SIGTERM)
	ended := m.cmd.Wait()
	var exit *exec.ExitError
	if ended != nil && !(errors.As(ended, &exit) && exit.ExitCode() == interrupted) {
		err = errors.Join(err, fmt.Errorf("bench: the %s: %w: %s", m.name, ended, m.remarks()))
	}
	return err
}
