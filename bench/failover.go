package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"time"
)

// FailoverConfig says what Failover measures. The zero value of a field means its
// default.
type FailoverConfig struct {
	Parts       []string        // of "lvc", "broker", "deck". Default: all
	Program     []string        // tapedeck, with arguments that go before a command
	Kills       int             // of each case; default 50
	Heartbeats  []time.Duration // of a case each; 0 is the default of the command. Default: 0, 100 ms
	Readers     int             // or clients; default 20
	Libzmq      int             // of the readers of a proxy are SUB sockets of libzmq; the others speak ZMTP themselves. Default 2
	Rate        float64         // records a second; default 100,000
	Tick        float64         // bursts a second that the rate is sent in; default 500
	Size        int             // of a body, bytes; default 100
	Topics      int             // default 1000
	Outstanding int             // commands of all clients that are on their way at once; default 1000
	AtOnce      int             // of those that workers have in hand at once; default 16
	Pause       time.Duration   // between everything being ready and a kill, at most; default 1 s
	Seed        uint64          // of these pauses; default: of the clock
}

func (cfg *FailoverConfig) fill() error {
	parts := []string{partLVC, partBroker, partDeck}
	if cfg.Parts == nil {
		cfg.Parts = parts
	}
	for _, p := range cfg.Parts {
		if !slices.Contains(parts, p) {
			return fmt.Errorf("bench: unknown part %q: want one of %v", p, parts)
		}
	}
	if cfg.Heartbeats == nil {
		cfg.Heartbeats = []time.Duration{0, 100 * time.Millisecond}
	}
	def(&cfg.Kills, 50)
	def(&cfg.Readers, 20)
	def(&cfg.Libzmq, min(2, cfg.Readers))
	def(&cfg.Rate, 100_000)
	def(&cfg.Tick, min(500, cfg.Rate))
	def(&cfg.Size, 100)
	def(&cfg.Topics, 1000)
	def(&cfg.Outstanding, 1000)
	def(&cfg.AtOnce, 16)
	def(&cfg.Pause, time.Second)
	def(&cfg.Seed, uint64(time.Now().UnixNano()))
	if len(cfg.Program) == 0 {
		return fmt.Errorf("bench: whose pairs: there is no program")
	}
	if len(cfg.Heartbeats) == 0 || slices.Min(cfg.Heartbeats) < 0 || cfg.Kills < 1 || cfg.Readers < 1 || cfg.Libzmq < 0 || cfg.Libzmq > cfg.Readers ||
		cfg.Tick <= 0 || cfg.Tick > cfg.Rate || cfg.Size < 8 || cfg.Topics < 1 || cfg.Topics > 100_000 || cfg.Outstanding < 1 || cfg.AtOnce < 1 || cfg.Pause < 0 {
		return fmt.Errorf("bench: heartbeats %v, %d kills, %d readers, %d of them of libzmq, %v bursts of %v records a second, bodies of %d bytes, %d topics, %d commands, %d in hand, pauses of %v: "+
			"want a heartbeat, a kill, a reader, a record a burst, 8 bytes, a topic, a command, or more",
			cfg.Heartbeats, cfg.Kills, cfg.Readers, cfg.Libzmq, cfg.Tick, cfg.Rate, cfg.Size, cfg.Topics, cfg.Outstanding, cfg.AtOnce, cfg.Pause)
	}
	return nil
}

// The parts that can be a pair.
const (
	partLVC    = "lvc"
	partBroker = "broker"
	partDeck   = "deck"
)

// Failover kills the active one of a pair, again and again, at random moments while
// records or requests flow, and measures from each kill until each reader or client has
// what only the other one can have sent. The killed one is started again as the
// passive one. Both are processes of their own, as their clients are. Every record is
// checked: that none is missing, and that none was handed on twice by a client that
// drops what comes twice as docs/WIRE.md says.
func Failover(ctx context.Context, env Env, cfg FailoverConfig) (*Report, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	def(&env.Runs, 1)
	rep := &Report{Mode: "failover", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"kills": cfg.Kills, "readers": cfg.Readers, "libzmq_readers": cfg.Libzmq, "rate": cfg.Rate, "bursts_per_second": cfg.Tick,
		"body_bytes": cfg.Size, "topics": cfg.Topics, "outstanding": cfg.Outstanding, "at_once": cfg.AtOnce, "pause_ns": cfg.Pause, "seed": cfg.Seed, "runs": env.Runs,
	}}
	cases := cfg.cases()
	for run := range env.Runs {
		for i := range cases {
			c := &cases[i]
			env.say("%s, heartbeat %s, run %d of %d", c.part, c.heartbeatText(), run+1, env.Runs)
			err := env.withDir(func(dir string) error {
				p := &failoverPair{
					cfg: &cfg, part: c.part, heartbeat: c.heartbeat, dir: dir, say: env.say,
					moments: rand.New(rand.NewPCG(cfg.Seed, uint64(run))),
				}
				return c.run(p, ctx, c.tally)
			})
			if err != nil {
				return rep, fmt.Errorf("%s, heartbeat %s: %w", c.part, c.heartbeatText(), err)
			}
			c.tally.add("load_1m", loadAverage())
		}
	}
	for i := range cases {
		rep.Cases = append(rep.Cases, cases[i].tally.done())
		rep.Notes = append(rep.Notes, cases[i].tally.notes...)
		rep.Faults = append(rep.Faults, cases[i].tally.faults...)
	}
	return rep, nil
}

// failoverCase is a part with a heartbeat.
type failoverCase struct {
	part      string
	heartbeat time.Duration // 0: the default of the command
	run       func(*failoverPair, context.Context, *tally) error
	tally     *tally
}

func (c *failoverCase) heartbeatText() string {
	if c.heartbeat == 0 {
		return "default"
	}
	return c.heartbeat.String()
}

func (cfg *FailoverConfig) cases() []failoverCase {
	var cases []failoverCase
	run := map[string]func(*failoverPair, context.Context, *tally) error{
		partLVC: (*failoverPair).lvc, partBroker: (*failoverPair).broker, partDeck: (*failoverPair).deck,
	}
	for _, part := range cfg.Parts {
		for _, h := range cfg.Heartbeats {
			c := failoverCase{part: part, heartbeat: h, run: run[part]}
			c.tally = newTally(Label{"part", part}, Label{"heartbeat", c.heartbeatText()})
			cases = append(cases, c)
		}
	}
	return cases
}

// loadAverage is the machine's load over the last minute.
func loadAverage() (load float64) {
	text, _ := os.ReadFile("/proc/loadavg")
	_, _ = fmt.Fscan(strings.NewReader(string(text)), &load)
	return load
}
