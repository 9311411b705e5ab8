package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
)

// pairPlace is where the two of a pair are, the primary first.
type pairPlace struct {
	dir   string
	links [2]string
	board *pairBoard
}

func newPairPlace(t *testing.T) *pairPlace {
	t.Helper()
	p := &pairPlace{dir: t.TempDir(), board: &pairBoard{}}
	p.board.more = sync.NewCond(&p.board.mu)
	p.links = p.endpoints("link")
	return p
}

// endpoints are one for each of the two.
func (p *pairPlace) endpoints(name string) (two [2]string) {
	for i := range two {
		two[i] = "ipc://" + filepath.Join(p.dir, fmt.Sprint(name, i))
	}
	return two
}

var pairRoles = [2]string{"primary", "backup"}

// flags are those that make a process one of the pair; what it keeps outlives it.
func (p *pairPlace) flags(t *testing.T, i int) []string {
	t.Helper()
	state := filepath.Join(p.dir, fmt.Sprint("state", i))
	if err := os.MkdirAll(state, 0o700); err != nil {
		t.Fatal(err)
	}
	return []string{"--pair", pairRoles[i], "--pair-bind", p.links[i], "--pair-peer", p.links[1-i], "--pair-dir", state}
}

// pairBoard is what the members of a pair say, as it comes.
type pairBoard struct {
	mu   sync.Mutex
	more *sync.Cond
}

// pairMember is one of a pair in a process of its own, with the status that it said last.
type pairMember[S any] struct {
	*process
	board *pairBoard // over what follows
	first string     // the type of the first message
	said  S
	ended bool
}

// startMember starts one of a pair, which says its status in messages of a type.
func startMember[S any](t *testing.T, place *pairPlace, messages string, args ...string) *pairMember[S] {
	t.Helper()
	m := &pairMember[S]{process: start(t, args...), board: place.board}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("%q, process %d:\n%s", args, m.cmd.Process.Pid, m.stderr)
		}
	})
	go func() {
		for lines := bufio.NewScanner(m.stdout); lines.Scan(); {
			var head struct {
				Type string `json:"message_type"`
			}
			var said S
			if json.Unmarshal(lines.Bytes(), &head) != nil {
				continue
			}
			ours := head.Type == messages && json.Unmarshal(lines.Bytes(), &said) == nil
			m.board.change(func() {
				if m.first == "" {
					m.first = head.Type
				}
				if ours {
					m.said = said
				}
			})
		}
		m.board.change(func() { m.ended = true })
	}()
	return m
}

// change changes what the board guards, and tells who waits.
func (b *pairBoard) change(f func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f()
	b.more.Broadcast()
}

// state is what it said last.
func (m *pairMember[S]) state() S {
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	return m.said
}

// await waits until its status is as wanted.
func (m *pairMember[S]) await(what string, wanted func(S) bool) {
	m.t.Helper()
	m.board.mu.Lock()
	defer m.board.mu.Unlock()
	for !wanted(m.said) {
		m.mustRun("it was " + what)
		m.board.more.Wait()
	}
}

// mustRun fails the test where the process has ended.
func (m *pairMember[S]) mustRun(what string) {
	m.t.Helper()
	if m.ended {
		m.t.Fatalf("%q ended before %s, with %+v: %s", m.cmd.Args[:2], what, m.said, m.stderr)
	}
}

// awaitTurn waits until one of two serves and the other one can take over, and returns
// which one serves. On a busy machine that may be another than it was.
func awaitTurn[S any](two [2]*pairMember[S], ready func(active, passive S) bool) (active int) {
	two[0].t.Helper()
	board := two[0].board
	board.mu.Lock()
	defer board.mu.Unlock()
	for {
		for i, m := range two {
			m.mustRun("one of the pair could take over")
			if ready(m.said, two[1-i].said) {
				return i
			}
		}
		board.more.Wait()
	}
}
