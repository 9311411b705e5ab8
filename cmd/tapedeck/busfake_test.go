package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/resync/chp"
)

// fakeServe has the services of tapedeck serve, without tapes: what the commands of
// the command line say and print is tested against it, over a broker.
type fakeServe struct {
	t     testing.TB
	bus   string
	clone *chp.Server

	mu     sync.Mutex
	decks  map[string]*control.DeckState
	jobs   []control.JobState
	record []control.RecorderState
	said   []string // commands with their arguments

	hold    atomic.Bool   // commands wait
	held    chan struct{} // one has come
	release chan struct{} // closed: they go on
}

// newFakeServe runs the services until the test ends.
func newFakeServe(t testing.TB) *fakeServe {
	t.Helper()
	f := &fakeServe{t: t, decks: map[string]*control.DeckState{}, held: make(chan struct{}, 100), release: make(chan struct{})}
	broker, err := majordomo.NewBroker(majordomo.BrokerConfig{Endpoints: []string{"tcp://127.0.0.1:*"}})
	if err != nil {
		t.Fatal(err)
	}
	f.bus = broker.Endpoints()[0]
	f.clone, err = chp.NewServer(chp.Config{Snapshot: "tcp://127.0.0.1:*", Updates: "tcp://127.0.0.1:*", ReadOnly: true, Hugz: 50 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	run := func(what string, run func(context.Context) error) {
		running.Go(func() {
			if err := run(ctx); err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
	run("broker", broker.Run)
	run("clone", f.clone.Run)
	var services []*control.Service
	for name, commands := range f.commands() {
		s, err := control.NewService(name, control.ServiceConfig{Patience: 100 * time.Millisecond}, commands...)
		if err != nil {
			t.Fatal(err)
		}
		services = append(services, s)
		w, err := majordomo.NewWorker(majordomo.WorkerConfig{Endpoints: []string{f.bus}, Service: name, Handler: s.Handle, Concurrency: 2})
		if err != nil {
			t.Fatal(err)
		}
		run(name, w.Run)
	}
	t.Cleanup(func() {
		for _, s := range services {
			_ = s.Close()
		}
		cancel()
		running.Wait()
		if err := errors.Join(broker.Close(), f.clone.Close()); err != nil {
			t.Error(err)
		}
	})
	return f
}

// share shares a value as a Clone, or deletes it where it is nil.
func (f *fakeServe) share(key string, properties chp.Properties, v any) {
	var value []byte
	if v != nil {
		value, _ = json.Marshal(v)
	}
	if _, err := f.clone.Set([]byte(key), properties, value); err != nil {
		f.t.Errorf("clone: %v", err)
	}
}

func (f *fakeServe) place() control.ClonePlace {
	at := f.clone.Endpoints()
	return control.ClonePlace{Snapshot: at.Snapshot, Updates: at.Updates}
}

// do is a command: it notes what was said, under the lock.
func do[A any](f *fakeServe, name string, do func(args *A) (any, error)) control.Command {
	return control.Command{Name: name, Summary: name, Do: control.With(func(_ context.Context, r *control.Request, args *A) (any, error) {
		if f.hold.Load() {
			f.held <- struct{}{}
			<-f.release
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		var said bytes.Buffer
		if r.Args != nil {
			_ = json.Compact(&said, r.Args)
		}
		f.said = append(f.said, name+" "+said.String())
		return do(args)
	})}
}

// deck finds a deck as a service must.
func (f *fakeServe) deck(name string) (*control.DeckState, error) {
	if name == "" && len(f.decks) == 1 {
		for _, d := range f.decks {
			return d, nil
		}
	}
	if d := f.decks[name]; d != nil {
		return d, nil
	}
	if name == "" {
		return nil, &control.Error{Code: control.Refused, Reason: fmt.Sprintf("%d decks are open", len(f.decks)), Try: "name one"}
	}
	return nil, &control.Error{Code: control.NotFound, Reason: "there is no deck " + name, Try: "deck list says which are open"}
}

// changed counts a change of a deck, shares it, and answers with it.
func (f *fakeServe) changed(d *control.DeckState) (any, error) {
	d.Version++
	f.share(control.DeckKey(d.Deck, control.KeyState), nil, d)
	return control.DeckResult{DeckState: *d, TookUs: 1234}, nil
}

// onDeck is a command of a deck.
func onDeck[A any](f *fakeServe, name string, of func(*A) string, act func(*A, *control.DeckState) error) control.Command {
	return do(f, name, func(args *A) (any, error) {
		d, err := f.deck(of(args))
		if err == nil {
			err = act(args, d)
		}
		if err != nil {
			return nil, err
		}
		return f.changed(d)
	})
}

func phase(f *fakeServe, name, phase string) control.Command {
	return onDeck(f, name, func(a *control.DeckPlay) string { return a.Deck }, func(a *control.DeckPlay, d *control.DeckState) error {
		d.Phase = phase
		if a.Speed != "" {
			d.Speed = a.Speed
		}
		return nil
	})
}

const fakeStart = 1703514600_000000000 // 2023-12-25T14:30:00Z

func (f *fakeServe) commands() map[string][]control.Command {
	return map[string][]control.Command{
		control.ServiceDeck: f.deckCommands(),
		control.ServiceTapes: {
			do(f, "list", func(*control.TapesList) (any, error) {
				return control.TapesListed{Dir: "/tapes", Tapes: []control.TapeEntry{
					{Tape: "es.tape", Records: 68790, Topics: 12, StoredBytes: 1 << 20, Closed: true, FirstTime: fakeStart, LastTime: fakeStart + 1e9},
					{Tape: "odd.tape", Error: "tape: not a tape"},
				}}, nil
			}),
			do(f, "info", func(a *control.TapeOf) (any, error) {
				return control.TapeInfo{Tape: a.Tape, Records: 5, Topics: 1, FirstReceive: fakeStart, LastReceive: fakeStart, Digest: "abc", Closed: true}, nil
			}),
			do(f, "verify", func(a *control.TapeOf) (any, error) {
				return control.TapeVerified{Tape: a.Tape, OK: a.Tape == "es.tape", Closed: true, Records: 5, Problems: 1, Found: []string{"damage: 1.seg: checksum"}}, nil
			}),
			do(f, "last", func(a *control.TapesLast) (any, error) {
				return control.TapeLast{Tape: a.Tape, Topics: 2, Records: []json.RawMessage{
					json.RawMessage(`{"message_type":"record","topic":"ES","topic_seq":18446744073709551615,"kind":"trade","event_time":1703514600000000001,"receive_time":1703514600000000002,"flags":[],"body":{"price":1.5}}`)}}, nil
			}),
		},
		control.ServiceReaders: {do(f, "list", func(a *control.DeckOf) (any, error) {
			return control.ReadersList{Readers: []control.ReaderState{{Deck: a.Deck, ID: "ab", Name: "desk", Verdict: "snail", Lag: 1500000, Lost: 3, QueuedBytes: 2048}}}, nil
		})},
		control.ServiceRecorder: f.recorderCommands(),
		control.ServiceJob:      f.jobCommands(),
		control.ServiceStatus:   {do(f, "status", func(*struct{}) (any, error) { return f.status(true), nil })},
	}
}

func (f *fakeServe) deckCommands() []control.Command {
	plain := func(a *control.DeckOf) string { return a.Deck }
	return []control.Command{
		do(f, "open", func(a *control.DeckOpen) (any, error) {
			if strings.Contains(a.Tapes[0], "nothing") {
				return nil, &control.Error{Code: control.NotFound, Reason: "there is no tape " + a.Tapes[0], Try: "tapedeck tapes list shows them"}
			}
			d := &control.DeckState{Deck: a.Deck, Phase: "playing", Speed: a.Speed, Tapes: a.Tapes, Clock: "receive", Lossless: !a.Live, TotalRecords: 68790,
				FirstTime: fakeStart, LastTime: fakeStart + 3600e9, Shards: []string{"tcp://127.0.0.1:7100"}, Resync: "tcp://127.0.0.1:7300"}
			if d.Deck == "" {
				d.Deck = strings.TrimSuffix(a.Tapes[0], ".tape")
			}
			if d.Speed == "" {
				d.Speed = "1x"
			}
			if a.Paused {
				d.Phase = "paused"
			}
			f.decks[d.Deck] = d
			return f.changed(d)
		}),
		do(f, "list", func(*struct{}) (any, error) { return control.DeckList{Decks: f.list()}, nil }),
		onDeck(f, "state", plain, func(*control.DeckOf, *control.DeckState) error { return nil }),
		do(f, "watch", func(a *control.DeckOf) (any, error) {
			d, err := f.deck(a.Deck)
			if err != nil {
				return nil, err
			}
			return control.DeckWatch{ClonePlace: f.place(), Prefix: control.DeckKey(d.Deck, ""), State: *d}, nil
		}),
		phase(f, "play", "playing"), phase(f, "pause", "paused"), phase(f, "resume", "playing"), phase(f, "stop", "finished"),
		onDeck(f, "step", func(a *control.DeckStep) string { return a.Deck }, func(a *control.DeckStep, d *control.DeckState) error {
			d.Phase = "paused"
			d.Records += uint64(max(a.N, 1))
			return nil
		}),
		onDeck(f, "seek", func(a *control.DeckSeek) string { return a.Deck }, func(a *control.DeckSeek, d *control.DeckState) error {
			p, err := control.ParsePlace(a.To)
			if err != nil {
				return err
			}
			if d.PositionTime == 0 {
				d.PositionTime = fakeStart
			}
			if p.Kind == control.ByDistance {
				p.Time = d.PositionTime + int64(p.Offset)
			}
			if p.Time > d.LastTime {
				return &control.Error{Code: control.BeyondTape, Reason: "there is nothing to play there", Try: "the tape ends at " + tapeTime(d.LastTime)}
			}
			d.PositionTime = p.Time
			d.Epoch++
			return nil
		}),
		onDeck(f, "speed", func(a *control.DeckSpeed) string { return a.Deck }, func(a *control.DeckSpeed, d *control.DeckState) error {
			d.Speed = a.Speed
			return nil
		}),
		onDeck(f, "squeeze", func(a *control.DeckSqueeze) string { return a.Deck }, func(a *control.DeckSqueeze, d *control.DeckState) error {
			squeeze, err := parseSqueeze(a.Squeeze)
			d.Squeeze = int64(squeeze)
			return err
		}),
		onDeck(f, "loop", func(a *control.DeckLoop) string { return a.Deck }, func(a *control.DeckLoop, d *control.DeckState) error {
			d.Loop = &control.DeckInterval{From: fakeStart, To: fakeStart + 1e9}
			if a.Off {
				d.Loop = nil
			}
			return nil
		}),
		onDeck(f, "filter", func(a *control.DeckFilter) string { return a.Deck }, func(a *control.DeckFilter, d *control.DeckState) error {
			d.Topics = a.Topics
			return nil
		}),
		do(f, "mark", func(a *control.DeckMark) (any, error) {
			d, err := f.deck(a.Deck)
			if err != nil {
				return nil, err
			}
			return control.DeckMarked{DeckResult: control.DeckResult{DeckState: *d}, Tape: d.Tapes[0], Mark: control.TapeMark{Name: a.Name, Note: a.Note, Clock: "receive", Time: d.PositionTime}}, nil
		}),
		do(f, "close", func(a *control.DeckOf) (any, error) {
			d, err := f.deck(a.Deck)
			if err != nil {
				return nil, err
			}
			delete(f.decks, d.Deck)
			f.share(control.DeckKey(d.Deck, control.KeyState), nil, nil)
			return control.DeckResult{DeckState: *d}, nil
		}),
	}
}

// open is how many decks are open.
func (f *fakeServe) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.decks)
}

func (f *fakeServe) list() []control.DeckState {
	var list []control.DeckState
	for _, d := range f.decks {
		list = append(list, *d)
	}
	slices.SortFunc(list, func(a, b control.DeckState) int { return strings.Compare(a.Deck, b.Deck) })
	return list
}

func (f *fakeServe) recorderCommands() []control.Command {
	return []control.Command{
		do(f, "start", func(a *control.RecorderStart) (any, error) {
			f.record = append(f.record, control.RecorderState{Recorder: strings.TrimSuffix(a.Tape, ".tape"), Phase: "recording", Tape: a.Tape, Records: 7})
			return f.record[len(f.record)-1], nil
		}),
		do(f, "stop", func(*control.RecorderOf) (any, error) {
			r := f.record[0]
			r.Phase, r.Lost, r.Gaps = "finished", 2, 1
			f.record = f.record[1:]
			return r, nil
		}),
		do(f, "status", func(*control.RecorderOf) (any, error) { return control.RecorderList{Recorders: f.record}, nil }),
		do(f, "dump", func(*control.RecorderOf) (any, error) {
			return control.RecordDump{Tape: "flight/dump-1.tape", Records: 10, MinReceive: fakeStart, MaxReceive: fakeStart + 1e9}, nil
		}),
	}
}

func (f *fakeServe) jobCommands() []control.Command {
	find := func(id string) (*control.JobState, error) {
		for i := range f.jobs {
			if f.jobs[i].ID == id {
				return &f.jobs[i], nil
			}
		}
		return nil, &control.Error{Code: control.NotFound, Reason: "there is no job " + id, Try: "job list shows them"}
	}
	of := func(name string, act func(*control.JobState)) control.Command {
		return do(f, name, func(a *control.JobOf) (any, error) {
			j, err := find(a.ID)
			if err != nil {
				return nil, err
			}
			act(j)
			return j, nil
		})
	}
	return []control.Command{
		do(f, "add", func(a *control.JobAdd) (any, error) {
			for _, j := range f.jobs {
				if a.Key != "" && j.Key == a.Key {
					return control.JobAdded{JobState: j}, nil
				}
			}
			f.jobs = append(f.jobs, control.JobState{ID: fmt.Sprintf("J%d", len(f.jobs)+1), Kind: a.Kind, Key: a.Key, Note: a.Note, Args: a.Args, State: "stored", AddedTime: fakeStart})
			return control.JobAdded{JobState: f.jobs[len(f.jobs)-1], Created: true}, nil
		}),
		do(f, "list", func(*struct{}) (any, error) { return control.JobList{Jobs: f.jobs}, nil }),
		of("show", func(*control.JobState) {}),
		of("cancel", func(j *control.JobState) { j.State = "cancelled" }),
		of("wait", func(j *control.JobState) {
			j.State, j.Result = "done", json.RawMessage(`{"records": 5}`)
			if strings.Contains(string(j.Args), "bad") {
				j.State, j.Result, j.Reason, j.Try = "failed", nil, "the file is no CSV", "--format says what it is"
			}
		}),
	}
}

func (f *fakeServe) status(all bool) control.Status {
	s := control.Status{Version: "1.0", Host: "deckhost", Uptime: 61e9, Tapes: "/tapes", Bus: control.BusState{Endpoints: []string{f.bus}}, Clone: f.place(),
		Jobs: control.JobCounts{Stored: len(f.jobs)}, Limits: control.Limits{Decks: 16}}
	if all {
		s.Decks, s.Recorders = f.list(), f.record
	}
	return s
}
