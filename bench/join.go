package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// JoinConfig says what Join measures. The zero value of a field means its default.
type JoinConfig struct {
	Servers  []string // of "lvc", "xpub-cache", "xpub-manual". Default: all
	Topics   []int    // of the idle cases; the others take the first. Default 1,000 and 100,000
	Joins    int      // one after the other, of an idle case; a tenth of them above 10,000 topics. Default 300
	Joiners  int      // while records flow; default 200
	Stay     uint64   // new records that each of those takes before it leaves; default 2,000
	Standing int      // readers that are there all the time; default 3
	Rate     float64  // records a second; default 100,000
	Tick     float64  // bursts a second that the rate is sent in; default 1000
	Size     int      // of a body, bytes; default 100
	Seconds  float64  // that each half of a case takes in which records flow; default 5
	Records  uint64   // as fast as one reader takes them; default 3,000,000
}

func (cfg *JoinConfig) fill() error {
	servers := []string{"lvc", "xpub-cache", "xpub-manual"}
	if cfg.Servers == nil {
		cfg.Servers = servers
	}
	for _, s := range cfg.Servers {
		if !slices.Contains(servers, s) {
			return fmt.Errorf("bench: unknown server %q: want lvc, xpub-cache or xpub-manual", s)
		}
	}
	if cfg.Topics == nil {
		cfg.Topics = []int{1000, 100_000}
	}
	def(&cfg.Joins, 300)
	def(&cfg.Joiners, 200)
	def(&cfg.Stay, 2000)
	def(&cfg.Standing, 3)
	def(&cfg.Rate, 100_000)
	def(&cfg.Tick, 1000)
	def(&cfg.Size, 100)
	def(&cfg.Seconds, 5)
	def(&cfg.Records, 3_000_000)
	if len(cfg.Topics) == 0 || slices.Min(cfg.Topics) < 1 || slices.Max(cfg.Topics) > 100_000 ||
		cfg.Joins < 1 || cfg.Joiners < 1 || cfg.Standing < 1 || cfg.Size < 8 || cfg.Tick > cfg.Rate {
		return fmt.Errorf("bench: %d joins of %v topics, %d joiners, %d readers, bodies of %d bytes, %v bursts of %v records a second: "+
			"want 1 to 100,000 topics, 8 bytes, a record a burst, and 1 of all else, or more",
			cfg.Joins, cfg.Topics, cfg.Joiners, cfg.Standing, cfg.Size, cfg.Tick, cfg.Rate)
	}
	return nil
}

// joinCase is one case of Join: what happens before a server.
type joinCase struct {
	name    string
	server  string
	topics  int
	joiners int
	run     func(*joinCase, context.Context, *JoinConfig, *tally) error
	tally   *tally
}

// Join measures joining late: how long a plain ZeroMQ subscriber takes from its
// subscription to the last value of every topic, what joining does to those who
// are there, and what the proxy moves and takes. The same of last-value caches made
// of libzmq alone stands beside it. Every reader checks every topic's sequence.
func Join(ctx context.Context, env Env, cfg JoinConfig) (*Report, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	def(&env.Runs, 3)
	rep := &Report{Mode: "join", Created: time.Now().UTC(), Machine: thisMachine(env.Version), Config: map[string]any{
		"joins": cfg.Joins, "joiners": cfg.Joiners, "stay_records": cfg.Stay, "standing_readers": cfg.Standing, "rate": cfg.Rate,
		"bursts_per_second": cfg.Tick, "body_bytes": cfg.Size, "seconds": cfg.Seconds, "records": cfg.Records, "runs": env.Runs,
	}}
	cases := cfg.cases()
	for run := range env.Runs {
		for i := range cases {
			c := &cases[i]
			env.say("%s, %s, %d topics, run %d of %d", c.name, c.server, c.topics, run+1, env.Runs)
			if err := c.run(c, ctx, &cfg, c.tally); err != nil {
				return rep, fmt.Errorf("%s, %s, %d topics: %w", c.name, c.server, c.topics, err)
			}
		}
	}
	for i := range cases {
		rep.Cases = append(rep.Cases, cases[i].tally.done())
	}
	return rep, nil
}

func (cfg *JoinConfig) cases() []joinCase {
	var cases []joinCase
	add := func(name, server string, topics, joiners int, run func(*joinCase, context.Context, *JoinConfig, *tally) error) {
		cases = append(cases, joinCase{name, server, topics, joiners, run, newTally(
			Label{"case", name}, Label{"server", server}, Label{"topics", topics}, Label{"joiners", joiners})})
	}
	for _, topics := range cfg.Topics {
		for _, s := range cfg.Servers {
			joins := cfg.Joins
			if topics > 10_000 {
				joins = max(joins/10, 1)
			}
			add("idle", s, topics, joins, (*joinCase).idle)
		}
	}
	for _, s := range cfg.Servers {
		// With nobody the figures move, too.
		add("flow", s, cfg.Topics[0], 0, (*joinCase).flow)
		add("flow", s, cfg.Topics[0], cfg.Joiners, (*joinCase).flow)
	}
	for _, s := range cfg.Servers {
		add("throughput", s, cfg.Topics[0], 0, (*joinCase).throughput)
	}
	return cases
}

// byName reports whether a server answers nothing but topics by their names.
func (c *joinCase) byName() bool { return c.server == "xpub-cache" }

// idle joins one after the other while no record flows.
func (c *joinCase) idle(ctx context.Context, cfg *JoinConfig, tl *tally) error {
	s, err := newStage(ctx, c.server, c.topics, cfg.Size, 1, Job{})
	if err != nil {
		return err
	}
	defer s.close()
	rss, err := residentBytes(s.server.cmd.Process.Pid)
	if err != nil {
		return err
	}
	if err := s.join(1, "idle-joins", joinOrders{Count: c.joiners, ByName: c.byName()}, c.topics); err != nil {
		return err
	}
	if err := s.others[0].cue(); err != nil {
		return err
	}
	j, err := s.joiners()
	if err != nil {
		return err
	}
	if c.server == "lvc" {
		held, err := heldBytes(s.server.ready.Endpoints[0])
		if err != nil {
			return err
		}
		tl.add("table_bytes_per_topic", float64(held)/float64(c.topics))
	}
	f, err := s.end()
	if err != nil {
		return err
	}
	tl.add("server_bytes_per_topic", max(float64(rss)-float64(s.emptyRSS), 0)/float64(c.topics))
	tl.add("server_peak_rss_bytes", float64(f.server.RSSBytes))
	tl.joined(&j, c.joiners)
	tl.stood(&f)
	return nil
}

// flow lets joiners come in the second half of a run in which records flow.
func (c *joinCase) flow(ctx context.Context, cfg *JoinConfig, tl *tally) error {
	s, err := newStage(ctx, c.server, c.topics, cfg.Size, cfg.Standing, Job{Latency: true})
	if err != nil {
		return err
	}
	defer s.close()
	orders := joinOrders{Count: c.joiners, ByName: c.byName(), Seconds: cfg.Seconds, Stay: cfg.Stay}
	if c.joiners > 0 {
		if err := s.join(joinWorkers, "busy-joins", orders, c.topics); err != nil {
			return err
		}
	}
	j, err := c.flowing(s, cfg, tl)
	if err != nil {
		return err
	}
	f, err := s.end()
	if err != nil {
		return err
	}
	tl.joined(&j, c.joiners)
	tl.stood(&f)
	tl.addHist("before", f.hists[0])
	tl.addHist("during", f.hists[1])
	for _, p := range percentiles[:4] {
		tl.add("during_to_before_"+p.name, float64(f.hists[1].ValueAtQuantile(p.q))/float64(max(f.hists[0].ValueAtQuantile(p.q), 1)))
	}
	return nil
}

// joinWorkers is how many processes the joiners are spread over.
const joinWorkers = 2

// flowing sends the records of a run, and goes on, unmeasured, until all joiners
// are through.
func (c *joinCase) flowing(s *stage, cfg *JoinConfig, tl *tally) (j joined, err error) {
	lag := newHistogram()
	for _, part := range []struct {
		kind    wire.Kind
		seconds float64
	}{{kindWarm, warmSeconds}, {kindBefore, cfg.Seconds}, {kindAfter, cfg.Seconds}} {
		if part.kind == kindAfter {
			for _, w := range s.others {
				if err := w.cue(); err != nil {
					return j, err
				}
			}
		}
		late, err := s.send(part.kind, cfg.Rate, cfg.Tick, part.seconds)
		if err != nil {
			return j, err
		}
		if part.kind != kindWarm {
			lag.Merge(late)
		}
	}
	tl.addHist("generator_lag", lag)
	through := make(chan struct{})
	go func() {
		defer close(through)
		j, err = s.joiners()
	}()
	for {
		select {
		case <-through:
			return j, err
		default:
		}
		if _, sendErr := s.send(kindWarm, cfg.Rate, cfg.Tick, 0.1); sendErr != nil {
			<-through
			return j, sendErr
		}
	}
}
