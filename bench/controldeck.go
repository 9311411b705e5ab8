package bench

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/subscriber"
)

// deckCommands are what the deck is told, over and over.
var deckCommands = []string{"pause", "resume", "seek", "speed"}

// allCommands is the label of all of them together.
const allCommands = "all"

// deckCases give commands to a deck of serve that readers are attached to.
func (cfg *ControlConfig) deckCases() []controlCase {
	byCommand, tallies := map[string]*tally{}, []*tally(nil)
	for _, name := range append([]string{allCommands}, deckCommands...) {
		tl := newTally(Label{"case", caseDeck}, Label{"command", name}, Label{"readers", cfg.Readers})
		byCommand[name], tallies = tl, append(tallies, tl)
	}
	return []controlCase{{"commands to a deck", tallies, func(ctx context.Context, env *Env) error {
		return env.withDir(func(dir string) error { return cfg.command(ctx, dir, byCommand) })
	}}}
}

// commandTimes are those of commands, ns.
type commandTimes struct {
	effect *hdrhistogram.Histogram // from the request to when the deck says it was so
	reply  *hdrhistogram.Histogram // from the request to its reply
	deck   *hdrhistogram.Histogram // from when the deck's process began with it to its effect
}

func newCommandTimes() *commandTimes {
	return &commandTimes{newHistogram(), newHistogram(), newHistogram()}
}

// add adds a command. The deck's clock is this machine's.
func (t *commandTimes) add(asked, answered time.Time, d *control.DeckResult) {
	for _, x := range []struct {
		h  *hdrhistogram.Histogram
		ns int64
	}{{t.effect, d.UpdatedTime - asked.UnixNano()}, {t.reply, int64(answered.Sub(asked))}, {t.deck, d.TookUs * 1000}} {
		_ = x.h.RecordValue(min(max(x.ns, 1), latencyMax))
	}
}

// deckSeconds is how much tape time the tape of a deck has.
const deckSeconds = 30

// command attaches readers to a deck that plays, and gives it commands, one after the
// other.
func (cfg *ControlConfig) command(ctx context.Context, dir string, tallies map[string]*tally) (err error) {
	tape, err := cfg.servedTape(ctx, dir, cfg.DeckRate, deckSeconds)
	if err != nil {
		return err
	}
	s, err := cfg.serve(ctx, dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	if err := s.open(ctx, tape); err != nil {
		return err
	}
	readers, err := startWorker(ctx, Job{Role: "deck-readers", Endpoints: s.deck.Shards, Count: uint64(cfg.Readers)})
	if err != nil {
		return err
	}
	defer func() {
		if readers != nil {
			readers.kill()
		}
	}()
	if err := s.awaitReaders(ctx, cfg.Readers); err != nil {
		return err
	}
	if _, err := s.tell(ctx, "play", nil); err != nil {
		return err
	}
	seeks, err := cfg.commands(ctx, s, tallies)
	if err != nil {
		return err
	}
	if _, err := s.tell(ctx, "stop", nil); err != nil {
		return err
	}
	r, err := readers.result()
	readers = nil
	if err != nil {
		return err
	}
	if !r.Complete || r.Epochs < 2 {
		return fmt.Errorf("bench: after %d seeks the %d readers were in %d epochs and lost %d records in %d gaps, or have not what was sent",
			seeks, cfg.Readers, r.Epochs, r.Lost, r.Gaps)
	}
	tallies[allCommands].add("records_per_reader", float64(r.Records)/float64(cfg.Readers))
	tallies[allCommands].add("epochs", float64(r.Epochs))
	return nil
}

// commands gives the deck its commands and returns how many of them were seeks.
func (cfg *ControlConfig) commands(ctx context.Context, s *serving, tallies map[string]*tally) (seeks int, err error) {
	times := map[string]*commandTimes{}
	for name := range tallies {
		times[name] = newCommandTimes()
	}
	rng := rand.New(rand.NewPCG(1, 1))
	for n := range cfg.Commands {
		name := deckCommands[n%len(deckCommands)]
		var args any
		switch name {
		case "seek":
			at := s.deck.FirstTime + rng.Int64N(max(s.deck.LastTime-s.deck.FirstTime, 1))
			args, seeks = control.DeckSeek{To: strconv.FormatInt(at, 10)}, seeks+1
		case "speed":
			args = control.DeckSpeed{Speed: []string{"1x", "2x"}[n/len(deckCommands)%2]}
		}
		asked := time.Now()
		d, err := s.tell(ctx, name, args)
		answered := time.Now()
		if err != nil {
			return seeks, fmt.Errorf("command %d, %s: %w", n+1, name, err)
		}
		if want := map[string]string{"pause": "paused"}[name]; want != "" && d.Phase != want {
			return seeks, fmt.Errorf("command %d, %s: the deck is %s", n+1, name, d.Phase)
		}
		times[name].add(asked, answered, &d)
		times[allCommands].add(asked, answered, &d)
		time.Sleep(time.Duration(rng.Int64N(int64(cfg.Pause) + 1)))
	}
	for name, tl := range tallies {
		tl.addHist("effect", times[name].effect)
		tl.addHist("reply", times[name].reply)
		tl.addHist("deck", times[name].deck)
	}
	return seeks, nil
}

// deckReaders are many subscribers in one process, each with a connection of its own,
// that visit every record until the stream ends.
func deckReaders(ctx context.Context, job *Job, say func(ready) error) (res Result, err error) {
	// Each would have as many places to run in a process of its own. Go's own number is for
	// a few loops: a thread in C keeps its place until Go's monitor looks.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), int(job.Count)))
	subs := make([]*subscriber.Subscriber, job.Count)
	for i := range subs {
		if subs[i], err = subscriber.New(subscriber.Config{Endpoints: job.Endpoints, Name: fmt.Sprint("reader ", i)}, newVisitor(len(job.Endpoints), false)); err != nil {
			return res, err
		}
	}
	if err := say(ready{}); err != nil {
		return res, err
	}
	var all sync.WaitGroup
	errs := make([]error, len(subs))
	for i, s := range subs {
		all.Go(func() { errs[i] = s.Run(ctx) })
	}
	all.Wait()
	res.Complete = true
	for i, s := range subs {
		sum := s.Summary()
		res.Records += sum.Records
		res.Bytes += sum.Bytes
		res.Gaps += sum.Gaps
		res.Lost += sum.Lost
		res.Complete = res.Complete && whole(&sum)
		if i == 0 || sum.Epochs < res.Epochs {
			res.Epochs = sum.Epochs
		}
	}
	return res, errors.Join(errs...)
}

// whole reports whether a reader of a deck that was stopped has all that was sent.
func whole(s *subscriber.Summary) bool {
	return s.Ended && s.Gaps == 0 && s.Lost == 0 && s.Corrupt == 0 && s.Broken == 0 && s.Diverged == 0
}
