package main

import (
	"bufio"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
	"github.com/tapedeck/tapedeck/resync/chp"
)

// TestBusScripts runs testdata/bus against the services of a fakeServe, over a
// broker of the test's own. Beside the commands of testscript there are
//
//	code N cmd args...   run a command that must exit with code N
//	said text            the last command that came began with text
func TestBusScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/bus", RequireExplicitExec: true, RequireUniqueNames: true,
		Setup: func(env *testscript.Env) error {
			f := newFakeServe(env.T().(testing.TB))
			env.Values["serve"] = f
			env.Setenv(busVariable, f.bus)
			env.Setenv("SERVE", f.bus)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"code": scriptCode, "said": scriptSaid},
	})
}

func scriptSaid(ts *testscript.TestScript, neg bool, args []string) {
	f := ts.Value("serve").(*fakeServe)
	f.mu.Lock()
	defer f.mu.Unlock()
	want := strings.Join(args, " ")
	if neg || len(f.said) == 0 || !strings.HasPrefix(f.said[len(f.said)-1], want) {
		ts.Fatalf("the last command was not %s: %q", want, f.said)
	}
}

// followBus starts a command that prints JSON lines, and reads them one by one.
type following struct {
	*process
	lines *bufio.Scanner
}

func followBus(t *testing.T, f *fakeServe, args ...string) *following {
	t.Helper()
	p := start(t, append(args, "--bus", f.bus, "--json")...)
	return &following{p, bufio.NewScanner(p.stdout)}
}

// next returns the next line.
func (f *following) next() (line string, m map[string]any) {
	f.t.Helper()
	if !f.lines.Scan() {
		f.t.Fatalf("there is no further line: %s", f.stderr)
	}
	if err := json.Unmarshal(f.lines.Bytes(), &m); err != nil {
		f.t.Fatal(err)
	}
	return f.lines.Text(), m
}

// until reads on to a line that has all of the texts.
func (f *following) until(texts ...string) map[string]any {
	f.t.Helper()
	for {
		line, m := f.next()
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			return m
		}
	}
}

// TestDeckWatch: a deck is followed through the Clone, in its states and positions,
// until it is closed.
func TestDeckWatch(t *testing.T) {
	f := newFakeServe(t)
	tapedeck(t, "deck", "open", "es.tape", "--paused", "--bus", f.bus)
	w := followBus(t, f, "deck", "watch")
	if m := w.until(`"message_type":"deck"`); m["phase"] != "paused" || m["version"] != 1.0 {
		t.Errorf("first %v", m)
	}
	tapedeck(t, "deck", "resume", "--bus", f.bus)
	w.until(`"message_type":"deck"`, `"phase":"playing"`)
	f.share(control.DeckKey("es", control.KeyPosition), nil, control.DeckPosition{PositionTime: fakeStart, Records: 17, Epoch: 3})
	if m := w.until(`"message_type":"deck.position"`); m["deck"] != "es" || m["records"] != 17.0 || m["position_time"] != float64(fakeStart) {
		t.Errorf("position %v", m)
	}
	tapedeck(t, "deck", "close", "--bus", f.bus)
	if m := w.until(`"message_type":"deck.closed"`); m["deck"] != "es" {
		t.Errorf("closed %v", m)
	}
	if w.lines.Scan() {
		t.Errorf("after the end: %s", w.lines.Text())
	}
	if code := w.code(); code != 0 {
		t.Errorf("exit code %d: %s", code, w.stderr)
	}
}

// TestStatusWatch: the status is put together from the keys of the Clone.
func TestStatusWatch(t *testing.T) {
	f := newFakeServe(t)
	f.share(control.KeyStatus, nil, f.status(false))
	w := followBus(t, f, "status", "--watch")
	w.until(`"message_type":"status"`, `"host":"deckhost"`)
	tapedeck(t, "deck", "open", "es.tape", "--bus", f.bus)
	w.until(`"deck":"es"`, `"phase":"playing"`)
	f.share(control.DeckKey("es", control.KeyPosition), nil, control.DeckPosition{Records: 4711})
	w.until(`"records":4711`)
	f.share(control.ReaderKey("es", "ab", ""), chp.Properties("ttl=1\n"), control.ReaderState{Deck: "es", ID: "ab", Name: "desk"})
	w.until(`"readers":[{"deck":"es","id":"ab","name":"desk"`)
	w.until(`"readers":[]`) // its time to live is over
	f.share(control.RecorderKey("day"), nil, control.RecorderState{Recorder: "day", Phase: "recording"})
	w.until(`"recorder":"day"`)
	w.signal(os.Interrupt)
	for w.lines.Scan() {
	}
	if code := w.code(); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, w.stderr)
	}
}

// TestInfoIsTheSame holds that what the service tapes answers is the message info.
func TestInfoIsTheSame(t *testing.T) {
	keys := func(v any) (keys []string) {
		typ := reflect.TypeOf(v)
		for i := range typ.NumField() {
			key, _, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
			keys = append(keys, key)
		}
		return keys
	}
	if ours, theirs := keys(tapeInfo{}), keys(control.TapeInfo{}); !slices.Equal(ours, theirs) {
		t.Errorf("info has %v\nthe service tapes %v", ours, theirs)
	}
}

// TestStatusFits: a status is cut to its terminal.
func TestStatusFits(t *testing.T) {
	s := control.Status{Version: "1.0", Host: "deckhost", Tapes: "/tapes", Uptime: 3e9, Bus: control.BusState{Endpoints: []string{"tcp://127.0.0.1:7400"}, Services: []control.ServiceState{
		{Service: "deck", Workers: 2, Waiting: 5}, {Service: "job"}, {Service: "tapes", Workers: 1}}}, Jobs: control.JobCounts{Running: 1, Done: 2}}
	for range 30 {
		s.Decks = append(s.Decks, control.DeckState{Deck: "a-deck-with-a-very-long-name-indeed-öö", Phase: "playing", Speed: "1x", TotalRecords: 5e9})
	}
	text := statusText(&s, []control.ReaderState{{Name: "desk", Deck: "es", Verdict: "ok"}}, 0, 0)
	for _, want := range []string{"jobs: 1 running, 2 done", "services: deck has 5 waiting, job has no worker", "desk    es    ok", "up 3s"} {
		if !strings.Contains(text, want) {
			t.Errorf("%s\nhas no %s", text, want)
		}
	}
	for _, size := range [][2]int{{80, 24}, {40, 10}, {80, 0}, {10, 3}} {
		lines := strings.Split(statusText(&s, nil, size[0], size[1]), "\n")
		if size[1] > 0 && len(lines) != size[1] {
			t.Errorf("%d lines in %d", len(lines), size[1])
		}
		for _, line := range lines[:len(lines)-1] {
			if n := len([]rune(line)); n > size[0] {
				t.Errorf("%d columns in %d: %s", n, size[0], line)
			}
		}
	}
}

// TestPythonDeck runs examples/python/deck.py against the services: a client in
// another language, written from the page.
func TestPythonDeck(t *testing.T) {
	interpreter := zsocktest.Python(t)
	f := newFakeServe(t)
	run := func(args ...string) (states []control.DeckResult, code int, stderr string) {
		p := startProgram(t, interpreter, append([]string{"../../examples/python/deck.py", "--bus", f.bus, "--play", "0"}, args...)...)
		out, code := p.end()
		for line := range strings.Lines(out) {
			var s control.DeckResult
			if err := json.Unmarshal([]byte(line), &s); err != nil {
				t.Fatalf("%s: %v", line, err)
			}
			states = append(states, s)
		}
		return states, code, p.stderr.String()
	}
	states, code, stderr := run("es.tape", "--speed", "10x", "--seek", "+10m")
	phases := []string{}
	for _, s := range states {
		phases = append(phases, s.Phase)
	}
	if want := []string{"paused", "playing", "paused", "paused", "paused", "playing", "playing", "playing"}; code != 0 || !slices.Equal(phases, want) {
		t.Fatalf("exit code %d, phases %v, want %v; %s", code, phases, want, stderr)
	}
	if s := states[4]; s.PositionTime != fakeStart+600e9 || s.Records != 5 || s.Speed != "10x" {
		t.Errorf("%+v", s)
	}
	if f.open() != 0 {
		t.Error("it has not closed the deck")
	}
	if _, code, stderr := run("nothing.tape"); code != 1 || !strings.Contains(stderr, "deck.py: there is no tape nothing.tape (tapedeck tapes list shows them)") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	if _, code, stderr := run("es.tape", "--seek", "+10h"); code != 1 || !strings.Contains(stderr, "nothing to play there") || f.open() != 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// TestInterruptedCommand: Ctrl-C ends a command that waits.
func TestInterruptedCommand(t *testing.T) {
	f := newFakeServe(t)
	defer close(f.release)
	f.hold.Store(true)
	p := start(t, "deck", "list", "--bus", f.bus)
	<-f.held
	p.signal(syscall.SIGINT)
	if _, code := p.end(); code != exitInterrupted {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}

// TestCommandNotInTime: a command that takes longer than --timeout says so.
func TestCommandNotInTime(t *testing.T) {
	f := newFakeServe(t)
	defer close(f.release)
	f.hold.Store(true)
	p := start(t, "deck", "list", "--bus", f.bus, "--timeout", "300ms")
	if _, code := p.end(); code != 1 || !strings.Contains(p.stderr.String(), "was not done within 300ms") {
		t.Errorf("exit code %d: %s", code, p.stderr)
	}
}
