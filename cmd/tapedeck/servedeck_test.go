package main

import (
	"bufio"
	"cmp"
	"context"
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

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/resync/chp"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// direct is a bus without a broker: requests go straight to services.
type direct map[string]*control.Service

func (d direct) Request(ctx context.Context, service string, frames ...[]byte) ([][]byte, error) {
	s := d[service]
	if s == nil {
		return nil, fmt.Errorf("no service %s", service)
	}
	return s.Handle(ctx, frames).Frames, nil
}

func (d direct) add(t *testing.T, name string, commands []control.Command) {
	t.Helper()
	s, err := control.NewService(name, control.ServiceConfig{}, commands...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	d[name] = s
}

// silent is an output that nobody reads.
func silent() *output {
	return &output{w: bufio.NewWriter(io.Discard), err: io.Discard}
}

// synthTape makes a tape of records at one per millisecond of tape time, from
// 2024-01-02 on.
func synthTape(t *testing.T, dir, name string, records, shards int) string {
	t.Helper()
	f := importFlags{output: filepath.Join(dir, name), shards: shards, block: tape.BlockSizeDefault}
	if _, err := f.importFile(t.Context(), silent(), fmt.Sprintf("synth:topics=20,records=%d,rate=1000,size=64,seed=5", records)); err != nil {
		t.Fatal(err)
	}
	return f.output
}

// noLeaks fails a test that leaves goroutines behind. It comes first: what is cleaned
// up is cleaned up by then.
func noLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() { goleak.VerifyNone(t, before) })
}

// deckTest is decks of a directory with tapes, and a client of theirs.
type deckTest struct {
	*testing.T
	house  *deckHouse
	board  *cloneBoard
	dir    string
	client *control.Client
}

func newDeckTest(t *testing.T, records, shards int) *deckTest {
	t.Helper()
	noLeaks(t)
	d := &deckTest{T: t, dir: t.TempDir()}
	synthTape(t, d.dir, "day.tape", records, shards)
	cfg := newServeConfig()
	cfg.tapes, cfg.state.position, cfg.state.readers = d.dir, 5*time.Millisecond, 5*time.Millisecond
	tapes, err := openTapesDir(d.dir)
	if err != nil {
		t.Fatal(err)
	}
	if d.board, err = openBoard("tcp://127.0.0.1:*"); err != nil {
		t.Fatal(err)
	}
	life, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.board.run(life) }()
	if d.house, err = newDeckHouse(life, cfg, tapes, d.board, nil, silent()); err != nil {
		t.Fatal(err)
	}
	bus := direct{}
	bus.add(t, control.ServiceDeck, d.house.commands())
	bus.add(t, control.ServiceReaders, d.house.readersCommands())
	service := &tapesService{cfg, tapes}
	bus.add(t, control.ServiceTapes, service.commands())
	d.client = control.NewClient(bus)
	t.Cleanup(func() {
		d.house.closeAll()
		end()
		if err := errors.Join(<-done, d.board.close()); err != nil {
			t.Error(err)
		}
	})
	return d
}

// do gives a command to the service deck, which must be done.
func (d *deckTest) do(command string, args any) control.DeckResult {
	d.Helper()
	var r control.DeckResult
	if err := d.client.Do(d.Context(), control.ServiceDeck, command, args, &r); err != nil {
		d.Fatalf("%s %+v: %v", command, args, err)
	}
	return r
}

// fails gives a command that must fail with a code, a reason and advice.
func (d *deckTest) fails(service, command string, args any, code control.Code, reason string) {
	d.Helper()
	err := d.client.Do(d.Context(), service, command, args, nil)
	var told *control.Error
	if !errors.As(err, &told) || told.Code != code || !strings.Contains(told.Reason, reason) {
		d.Errorf("%s %s %+v: %v (%#v), want %d and %q", service, command, args, err, err, code, reason)
	} else if told.Try == "" {
		d.Errorf("%s %s %+v: %v says nothing of what to try", service, command, args, err)
	}
}

// open opens day.tape, paused, at free endpoints.
func (d *deckTest) open(args control.DeckOpen) control.DeckResult {
	d.Helper()
	if args.Tapes == nil {
		args.Tapes = []string{"day.tape"}
	}
	if args.Bind == "" {
		args.Bind = "tcp://127.0.0.1:*"
	}
	return d.do("open", args)
}

// listener is a reader that keeps what came.
type listener struct {
	mu      sync.Mutex
	more    *sync.Cond
	epochs  []wire.Epoch
	records map[wire.Epoch]int
	ends    int
}

func (l *listener) HandleBatch(b *wire.Batch, skip uint32) error {
	if b.Flags&wire.FlagSnapshotBatch != 0 {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records[b.Epoch] += int(b.Count - skip)
	l.more.Broadcast()
	return nil
}
func (l *listener) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) {}
func (l *listener) HandleSession(_ int, epoch wire.Epoch, _ *wire.Session) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !slices.Contains(l.epochs, epoch) {
		l.epochs = append(l.epochs, epoch)
	}
	l.more.Broadcast()
}
func (l *listener) HandleEnd(int, wire.Epoch, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ends++
	l.more.Broadcast()
}

// await waits until what has come is as it should be.
func (l *listener) await(enough func(*listener) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !enough(l) {
		l.more.Wait()
	}
}

// listen reads a deck until the test ends.
func (d *deckTest) listen(s control.DeckState) *listener {
	d.Helper()
	l := &listener{records: map[wire.Epoch]int{}}
	l.more = sync.NewCond(&l.mu)
	sub, err := subscriber.New(subscriber.Config{Endpoints: s.Shards, Name: "listener", Follow: true}, l)
	if err != nil {
		d.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sub.Run(ctx) }()
	d.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			d.Error(err)
		}
	})
	return l
}

// TestDeckCommands goes through every command with a reader that stays.
func TestDeckCommands(t *testing.T) {
	d := newDeckTest(t, 10_000, 2)
	s := d.open(control.DeckOpen{Paused: true, Wait: 1, Speed: "max"})
	if s.Deck != "day" || len(s.Shards) != 2 || s.TotalRecords != 10_000 || s.Version == 0 || !s.Lossless || s.Resync == "" ||
		s.Clock != "receive" || s.FirstTime == 0 || s.LastTime-s.FirstTime < int64(9*time.Second) {
		t.Fatalf("open: %+v", s)
	}
	l := d.listen(s.DeckState)
	d.awaitPhase("", "paused")
	first := s.FirstTime
	check := func(what string, r control.DeckResult, phase string, ordinal uint64) {
		t.Helper()
		if r.Phase != phase || r.Ordinal != ordinal {
			t.Errorf("after %s: %s at %d, want %s at %d", what, r.Phase, r.Ordinal, phase, ordinal)
		}
	}
	of := control.DeckOf{Deck: "day"}
	r := d.do("step", control.DeckStep{N: 5})
	check("step", r, "paused", 5)
	l.await(func(l *listener) bool { return l.records[wire.Epoch(r.Epoch)] == 5 })
	r = d.do("seek", control.DeckSeek{DeckOf: of, To: "+1s"})
	if r.Epoch == s.Epoch || r.PositionTime < first+int64(time.Second) {
		t.Errorf("after a seek: %+v", r.DeckPosition)
	}
	r = d.do("seek", control.DeckSeek{To: "start"})
	check("seek start", r, "paused", 0)
	r = d.do("seek", control.DeckSeek{To: fmt.Sprint(first + int64(3*time.Second))})
	middle := r.Ordinal
	d.do("step", control.DeckStep{})
	var m control.DeckMarked
	if err := d.client.Do(t.Context(), control.ServiceDeck, "mark", control.DeckMark{Name: "here", Note: "odd"}, &m); err != nil ||
		m.Mark.Name != "here" || m.Mark.Time != m.PositionTime || m.Tape != "day.tape" {
		t.Errorf("mark: %+v, %v", m, err)
	}
	d.do("seek", control.DeckSeek{To: "start"})
	check("seek @here", d.do("seek", control.DeckSeek{To: "@here"}), "paused", middle)
	r = d.do("seek", control.DeckSeek{To: "-1s"})
	if back := m.Mark.Time - r.PositionTime; back > int64(time.Second) || back < int64(900*time.Millisecond) {
		t.Errorf("seek -1s went back by %v", time.Duration(back))
	}
	if r = d.do("speed", control.DeckSpeed{Speed: "2x"}); r.Speed != "2x" {
		t.Errorf("speed: %s", r.Speed)
	}
	if r = d.do("squeeze", control.DeckSqueeze{Squeeze: "1s"}); r.Squeeze != int64(time.Second) {
		t.Errorf("squeeze: %d", r.Squeeze)
	}
	if r = d.do("squeeze", control.DeckSqueeze{Squeeze: "off"}); r.Squeeze != 0 {
		t.Errorf("squeeze off: %d", r.Squeeze)
	}
	if r = d.do("filter", control.DeckFilter{Topics: []string{"SYN"}}); !slices.Equal(r.Topics, []string{"SYN"}) {
		t.Errorf("filter: %v", r.Topics)
	}
	if r = d.do("filter", control.DeckFilter{}); r.Topics != nil {
		t.Errorf("no filter: %v", r.Topics)
	}
	r = d.do("loop", control.DeckLoop{From: "start", To: "@here"})
	if r.Loop == nil || r.Loop.From != first || r.Loop.To < first+int64(2*time.Second) {
		t.Errorf("loop: %+v", r.Loop)
	}
	if r = d.do("loop", control.DeckLoop{Off: true}); r.Loop != nil {
		t.Errorf("loop off: %+v", r.Loop)
	}
	if r = d.do("resume", of); r.Phase != "playing" {
		t.Errorf("resume: %s", r.Phase)
	}
	for r.Pacing == nil { // a second of the tape takes half of one
		r = d.do("state", of)
	}
	if r.Pacing.P50 < 0 || r.Pacing.Max < r.Pacing.P50 {
		t.Errorf("pacing: %+v", r.Pacing)
	}
	if r = d.do("pause", of); r.Phase != "paused" {
		t.Errorf("pause: %s", r.Phase)
	}
	r = d.do("play", control.DeckPlay{Speed: "max"})
	if r.Speed != "max" {
		t.Errorf("play: %s", r.Speed)
	}
	r = d.awaitPhase("day", "held")
	check("the end", r, "held", 10_000)
	r = d.do("play", control.DeckPlay{Speed: "1x"})
	if r.Phase != "playing" || r.Ordinal > 5000 {
		t.Errorf("play at the end: %s at %d, want the start", r.Phase, r.Ordinal)
	}
	r = d.do("stop", of)
	if r.Phase != "finished" || r.Error != "" {
		t.Errorf("stop: %s, %s", r.Phase, r.Error)
	}
	l.await(func(l *listener) bool { return l.ends == 2 })
	before := r
	r = d.do("play", control.DeckPlay{Speed: "max"})
	if !slices.Equal(r.Shards, before.Shards) || r.Resync != before.Resync || r.Version <= before.Version {
		t.Errorf("played again: %v and %s, before %v and %s; version %d after %d", r.Shards, r.Resync, before.Shards, before.Resync, r.Version, before.Version)
	}
	d.awaitPhase("day", "held")
	l.await(func(l *listener) bool { return l.records[l.epochs[len(l.epochs)-1]] == 10_000 })
	d.do("close", of)
	d.fails(control.ServiceDeck, "state", of, control.NotFound, "there is no deck day")
}

// awaitPhase asks for a deck's state until it is in a phase.
func (d *deckTest) awaitPhase(name, phase string) control.DeckResult {
	d.Helper()
	for {
		r := d.do("state", control.DeckOf{Deck: name})
		if r.Phase == phase {
			return r
		}
		if r.Phase == "failed" {
			d.Fatal(r.Error)
		}
	}
}

// TestDeckErrors: what cannot be done says so, with a code and what to try.
func TestDeckErrors(t *testing.T) {
	d := newDeckTest(t, 100, 1)
	outside := t.TempDir()
	synthTape(t, outside, "secret.tape", 10, 1)
	if err := os.Symlink(outside, filepath.Join(d.dir, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(d.dir, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	deck := control.ServiceDeck
	d.fails(deck, "pause", nil, control.NotFound, "no deck is open")
	d.fails(deck, "rewind", nil, control.NoCommand, "rewind")
	d.fails(deck, "open", control.DeckOpen{}, control.BadRequest, "no tape")
	open := func(args control.DeckOpen, code control.Code, reason string) {
		t.Helper()
		if args.Tapes == nil {
			args.Tapes = []string{"day.tape"}
		}
		d.fails(deck, "open", args, code, reason)
	}
	for tape, code := range map[string]control.Code{
		"no.tape": control.NotFound, "../" + filepath.Base(outside) + "/secret.tape": control.BadRequest, "link/secret.tape": control.BadRequest,
		outside + "/secret.tape": control.BadRequest, "a/../../x": control.BadRequest, ".hidden": control.BadRequest, "a\x00b": control.BadRequest, "": control.BadRequest,
		"file": control.NotFound,
	} {
		open(control.DeckOpen{Deck: "x", Tapes: []string{tape}}, code, "")
	}
	open(control.DeckOpen{Deck: "a/b"}, control.BadRequest, "is no name")
	open(control.DeckOpen{Speed: "fast"}, control.BadRequest, "speed")
	open(control.DeckOpen{Clock: "sun"}, control.BadRequest, "clock")
	open(control.DeckOpen{From: "noon"}, control.BadRequest, "place")
	open(control.DeckOpen{From: "+1s"}, control.BadRequest, "from")
	open(control.DeckOpen{From: "@nowhere"}, control.NotFound, "no mark nowhere")
	open(control.DeckOpen{Squeeze: "much"}, control.BadRequest, "squeeze")
	open(control.DeckOpen{LoopFrom: "start"}, control.BadRequest, "no end")
	open(control.DeckOpen{Bind: "tcp://*:*"}, control.Refused, "from beyond this machine")
	open(control.DeckOpen{Bind: "tcp://127.0.0.1:*", ResyncBind: "tcp://0.0.0.0:*"}, control.Refused, "from beyond this machine")
	open(control.DeckOpen{Bind: "ipc://" + filepath.Join(d.dir, "file")}, control.Refused, "no socket")
	open(control.DeckOpen{Shards: 2, Bind: "tcp://127.0.0.1:1"}, control.BadRequest, "")
	open(control.DeckOpen{Tapes: []string{"day.tape", "./day.tape"}}, control.BadRequest, "same tape")
	open(control.DeckOpen{Wait: -1}, control.BadRequest, "wait")
	open(control.DeckOpen{Passes: -2}, control.BadRequest, "passes")
	// A topic is no file, whatever it begins with.
	if r := d.open(control.DeckOpen{Deck: "topics", Topics: []string{"@" + filepath.Join(d.dir, "file")}, Paused: true}); len(r.Topics) != 1 || r.Topics[0][0] != '@' {
		t.Errorf("topics: %v", r.Topics)
	}
	d.do("close", control.DeckOf{Deck: "topics"})
	if _, err := os.Lstat(filepath.Join(d.dir, "file")); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
	s := d.open(control.DeckOpen{Paused: true})
	open(control.DeckOpen{}, control.Refused, "deck day is open")
	open(control.DeckOpen{Deck: "other", Bind: s.Shards[0]}, control.Refused, "address already in use")
	d.fails(deck, "seek", control.DeckSeek{To: "yesterday"}, control.BadRequest, "place")
	d.fails(deck, "seek", control.DeckSeek{To: "2099-01-01T00:00:00Z"}, control.BeyondTape, "nothing at or after")
	d.fails(deck, "seek", control.DeckSeek{To: "@no"}, control.NotFound, "no mark no")
	d.fails(deck, "step", control.DeckStep{N: -1}, control.BadRequest, "want 1 or more")
	d.fails(deck, "speed", control.DeckSpeed{}, control.BadRequest, "no speed")
	d.fails(deck, "speed", control.DeckSpeed{Speed: "-1x"}, control.BadRequest, "speed")
	d.fails(deck, "squeeze", control.DeckSqueeze{}, control.BadRequest, "no duration")
	d.fails(deck, "squeeze", control.DeckSqueeze{Squeeze: "-1s"}, control.BadRequest, "squeeze")
	d.fails(deck, "loop", control.DeckLoop{From: "start"}, control.BadRequest, "no end")
	d.fails(deck, "loop", control.DeckLoop{Off: true, To: "start"}, control.BadRequest, "without")
	d.fails(deck, "mark", control.DeckMark{Name: "m"}, control.Refused, "not sent a record")
	d.do("step", control.DeckStep{})
	d.fails(deck, "mark", control.DeckMark{Name: "a b"}, control.BadRequest, "name")
	d.do("mark", control.DeckMark{Name: "m"})
	d.fails(deck, "mark", control.DeckMark{Name: "m"}, control.Refused, "exists")
	d.fails(deck, "state", control.DeckOf{Deck: "dya"}, control.NotFound, "no deck dya")
	d.open(control.DeckOpen{Deck: "two", Paused: true})
	d.fails(deck, "pause", nil, control.Refused, "2 decks are open")
	d.do("stop", control.DeckOf{Deck: "two"})
	d.fails(deck, "pause", control.DeckOf{Deck: "two"}, control.Refused, "finished")
	d.do("close", control.DeckOf{Deck: "two"})
	d.do("play", control.DeckPlay{Speed: "max"})
	d.awaitPhase("day", "held")
	d.fails(control.ServiceReaders, "list", control.DeckOf{Deck: "dya"}, control.NotFound, "no deck dya")
}

// TestDeckLimits: so many decks and ports, and then no more; what is closed makes
// room.
func TestDeckLimits(t *testing.T) {
	d := newDeckTest(t, 10, 1)
	d.house.cfg.decks.max = 3
	for i := range 3 {
		d.open(control.DeckOpen{Deck: fmt.Sprint("d", i), Paused: true})
	}
	d.fails(control.ServiceDeck, "open", control.DeckOpen{Deck: "more", Tapes: []string{"day.tape"}}, control.Busy, "3 decks are open")
	var list control.DeckList
	if err := d.client.Do(t.Context(), control.ServiceDeck, "list", nil, &list); err != nil || len(list.Decks) != 3 || list.Decks[1].Deck != "d1" {
		t.Errorf("%+v, %v", list, err)
	}
	d.do("close", control.DeckOf{Deck: "d1"})
	d.open(control.DeckOpen{Deck: "d3", Paused: true})
}

// TestDeckPorts: decks that say nothing get ports in a row of their own, past those
// that somebody else has, and give them back.
func TestDeckPorts(t *testing.T) {
	d := newDeckTest(t, 10, 2)
	// Ports that are free now and, but for bad luck, when the decks are opened.
	first := freePorts(t, 6)
	d.house.ports = portPool{first: first, last: first + 4, taken: map[int]bool{}}
	open := func(deck string) control.DeckResult {
		t.Helper()
		return d.do("open", control.DeckOpen{Deck: deck, Tapes: []string{"day.tape"}, Paused: true})
	}
	a, b := open("a"), open("b")
	if want := fmt.Sprintf("tcp://127.0.0.1:%d", first); a.Shards[0] != want || b.Shards[0] == a.Shards[0] || b.Shards[0] == a.Shards[1] {
		t.Errorf("%v and %v, want the first at %s", a.Shards, b.Shards, want)
	}
	d.fails(control.ServiceDeck, "open", control.DeckOpen{Deck: "c", Tapes: []string{"day.tape"}}, control.Busy, "ports in a row")
	d.do("close", control.DeckOf{Deck: "a"})
	if c := open("c"); !slices.Equal(c.Shards, a.Shards) {
		t.Errorf("%v, want %v again", c.Shards, a.Shards)
	}
}

// TestDeckBoard: decks, positions and readers are keys that a Clone client follows;
// what is closed goes.
func TestDeckBoard(t *testing.T) {
	d := newDeckTest(t, 2000, 1)
	client, err := chp.NewClient(chp.ClientConfig{})
	if err != nil {
		t.Fatal(err)
	}
	at := d.board.place()
	if err := client.Connect(chp.Endpoints{Snapshot: at.Snapshot, Updates: at.Updates}); err != nil {
		t.Fatal(err)
	}
	board := newBoardFollower()
	client.Watch("/", board.take)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- client.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	s := d.open(control.DeckOpen{Paused: true, Wait: 1})
	board.await(func(keys map[string]string) bool {
		return strings.Contains(keys["/deck/day/state"], `"phase":"waiting"`)
	})
	l := d.listen(s.DeckState)
	board.await(func(keys map[string]string) bool {
		return strings.Contains(keys["/deck/day/state"], `"phase":"paused"`) && strings.Contains(keys["/deck/day/state"], `"readers":1`)
	})
	r := d.do("step", control.DeckStep{N: 7})
	board.await(func(keys map[string]string) bool { return strings.Contains(keys["/deck/day/position"], `"ordinal":7`) })
	l.await(func(l *listener) bool { return l.records[wire.Epoch(r.Epoch)] == 7 })
	board.await(func(keys map[string]string) bool {
		for key, v := range keys {
			if strings.HasPrefix(key, "/reader/day/") && strings.Contains(v, `"name":"listener"`) {
				return true
			}
		}
		return false
	})
	var readers control.ReadersList
	if err := d.client.Do(t.Context(), control.ServiceReaders, "list", nil, &readers); err != nil || len(readers.Readers) != 1 || readers.Readers[0].Name != "listener" {
		t.Errorf("readers: %+v, %v", readers, err)
	}
	var w control.DeckWatch
	if err := d.client.Do(t.Context(), control.ServiceDeck, "watch", nil, &w); err != nil || w.Snapshot != at.Snapshot || w.Prefix != "/deck/day/" || w.State.Ordinal != 7 {
		t.Errorf("watch: %+v, %v", w, err)
	}
	d.do("close", control.DeckOf{})
	board.await(func(keys map[string]string) bool {
		return keys["/deck/day/state"] == "" && keys["/deck/day/position"] == ""
	})
	// Nobody shows the reader any more: its time to live ends.
	board.await(func(keys map[string]string) bool {
		for key := range keys {
			if strings.HasPrefix(key, "/reader/") {
				return false
			}
		}
		return true
	})
}

// boardFollower keeps what a Clone client sees.
type boardFollower struct {
	mu   sync.Mutex
	more *sync.Cond
	keys map[string]string
}

func newBoardFollower() *boardFollower {
	f := &boardFollower{keys: map[string]string{}}
	f.more = sync.NewCond(&f.mu)
	return f
}

func (f *boardFollower) take(c chp.Change) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(c.Value) == 0 {
		delete(f.keys, string(c.Key))
	} else {
		f.keys[string(c.Key)] = string(c.Value)
	}
	f.more.Broadcast()
}

func (f *boardFollower) await(enough func(map[string]string) bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !enough(f.keys) {
		f.more.Wait()
	}
}

// freePorts finds ports in a row that are free now.
func freePorts(t *testing.T, n int) int {
	t.Helper()
	for {
		var held []net.Listener
		first := 0
		for i := range n {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", cmp.Or(first+i, 0)))
			if err != nil {
				break
			}
			if held = append(held, l); i == 0 {
				first = l.Addr().(*net.TCPAddr).Port
			}
		}
		for _, l := range held {
			_ = l.Close()
		}
		if len(held) == n {
			return first
		}
	}
}
