package bench

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// ControlConfig says what Control measures. The zero value of a field means its
// default.
type ControlConfig struct {
	Cases []string // of "requests", "restart", "deck", "data". Default: all
	// Serve is the program, with its first arguments, that begins tapedeck serve. The
	// cases deck and data need it.
	Serve []string

	Seconds     float64 // for which requests are made; default 2
	Outstanding int     // requests at once; default 1000
	Size        int     // of a request's body, bytes; default 32
	Prefetch    int     // requests that a broker gives a worker beforehand; default 256

	Requests int           // of a restart; default 5 times Outstanding
	Work     time.Duration // that each of those takes a worker; default 1 ms
	AtOnce   int           // that workers have at once; default 16

	Readers  int           // of the deck; default 50
	Commands int           // that the deck is given; default 1000
	DeckRate float64       // records a second of the deck; default 10,000
	Pause    time.Duration // between two commands, at most; default 10 ms

	Rate        float64 // records a second while control is hammered; default 100,000
	HammerRate  float64 // requests a second; default 1000
	HammerAt    int     // requests at once at full rate; default 64
	Slot        float64 // seconds with and without, by turns; default 0.5
	Rounds      int     // of these; default 10
	Topics      int     // of the tapes; default 1000
	RecordBytes int     // of a record's body; default 100
}

func (cfg *ControlConfig) fill() error {
	all := []string{caseRequests, caseRestart, caseDeck, caseData}
	if cfg.Cases == nil {
		cfg.Cases = all
	}
	for _, c := range cfg.Cases {
		if !slices.Contains(all, c) {
			return fmt.Errorf("bench: unknown case %q: want one of %v", c, all)
		}
	}
	def(&cfg.Seconds, 2)
	def(&cfg.Outstanding, 1000)
	def(&cfg.Size, 32)
	def(&cfg.Prefetch, 256)
	def(&cfg.Requests, 5*cfg.Outstanding)
	def(&cfg.Work, time.Millisecond)
	def(&cfg.AtOnce, 16)
	def(&cfg.Readers, 50)
	def(&cfg.Commands, 1000)
	def(&cfg.DeckRate, 10_000)
	def(&cfg.Pause, 10*time.Millisecond)
	def(&cfg.Rate, 100_000)
	def(&cfg.HammerRate, 1000)
	def(&cfg.HammerAt, 64)
	def(&cfg.Slot, 0.5)
	def(&cfg.Rounds, 10)
	def(&cfg.Topics, 1000)
	def(&cfg.RecordBytes, 100)
	if cfg.Seconds < 0 || cfg.Outstanding < 1 || cfg.Size < 8 || cfg.Prefetch < 1 || cfg.Requests < 3*cfg.Outstanding || cfg.Work < 0 || cfg.AtOnce < 1 {
		return fmt.Errorf("bench: %d requests, %d at once, bodies of %d bytes, %d beforehand, %d at once at the workers: "+
			"want three times as many as there are at once, 8 bytes, and 1 of all else, or more", cfg.Requests, cfg.Outstanding, cfg.Size, cfg.Prefetch, cfg.AtOnce)
	}
	if cfg.Readers < 1 || cfg.Commands < len(deckCommands) || cfg.DeckRate < 1 || cfg.Pause < 0 || cfg.Rate < 1 || cfg.HammerRate < 1 || cfg.HammerAt < 1 ||
		cfg.Slot <= 0 || cfg.Rounds < 1 || cfg.Topics < 1 || cfg.Topics > 100_000 || cfg.RecordBytes < 32 {
		return fmt.Errorf("bench: %d readers, %d commands, %v and %v records a second, %v requests a second, %d at once, %d rounds of %v s, %d topics, "+
			"bodies of %d bytes: want %d commands, up to 100,000 topics, 32 bytes, and 1 of all else, or more", cfg.Readers, cfg.Commands, cfg.DeckRate, cfg.Rate,
			cfg.HammerRate, cfg.HammerAt, cfg.Rounds, cfg.Slot, cfg.Topics, cfg.RecordBytes, len(deckCommands))
	}
	if len(cfg.Serve) == 0 && (slices.Contains(cfg.Cases, caseDeck) || slices.Contains(cfg.Cases, caseData)) {
		return fmt.Errorf("bench: the cases %s and %s need a program that serves", caseDeck, caseData)
	}
	return nil
}

// The cases of Control.
const (
	caseRequests = "requests"
	caseRestart  = "restart"
	caseDeck     = "deck"
	caseData     = "data"
)

// controlCase is one setting. A run of it may fill several tallies.
type controlCase struct {
	name    string // for people
	tallies []*tally
	run     func(ctx context.Context, env *Env) error
}

// Control measures the control bus: requests a second through the broker beside
// those of a bare ROUTER that sends back what it gets; a restart of the broker while
// requests are outstanding; how soon commands take effect on a deck that many
// readers are attached to; and what control does to the latency of the records.
// Broker, workers, serve, readers and whoever hammers are processes of their own.
func Control(ctx context.Context, env Env, cfg ControlConfig) (*Report, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	def(&env.Runs, 3)
	rep := &Report{Mode: "control", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"seconds": cfg.Seconds, "outstanding": cfg.Outstanding, "request_bytes": cfg.Size, "prefetch": cfg.Prefetch,
		"restart_requests": cfg.Requests, "restart_work_ns": cfg.Work.Nanoseconds(), "restart_at_once": cfg.AtOnce,
		"readers": cfg.Readers, "commands": cfg.Commands, "deck_rate": cfg.DeckRate,
		"data_rate": cfg.Rate, "hammer_rate": cfg.HammerRate, "hammer_at_once": cfg.HammerAt, "slot_seconds": cfg.Slot, "rounds": cfg.Rounds,
		"topics": cfg.Topics, "body_bytes": cfg.RecordBytes, "runs": env.Runs,
	}}
	var cases []controlCase
	for _, name := range cfg.Cases {
		cases = append(cases, map[string]func() []controlCase{
			caseRequests: cfg.requestCases, caseRestart: cfg.restartCases, caseDeck: cfg.deckCases, caseData: cfg.dataCases,
		}[name]()...)
	}
	for run := range env.Runs {
		for _, c := range cases {
			env.say("%s, run %d of %d", c.name, run+1, env.Runs)
			if err := c.run(ctx, &env); err != nil {
				return rep, fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	for _, c := range cases {
		for _, tl := range c.tallies {
			rep.Cases = append(rep.Cases, tl.done())
		}
	}
	return rep, nil
}
