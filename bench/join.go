package bench

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tapedeck/tapedeck/wire"
)

// JoinConfig says what Join measures. The zero value of a field means its default.
type JoinConfig struct {
	Servers  []string // of "lvc", "xpub-cache", "xpub-manual". Default: all
	Topics   []int    // of a case each; how fast records go is measured with the first. Default 1,000 and 100,000
	Joins    int      // one after the other while nothing flows; a tenth of them above 10,000 topics. Default 300
	Joiners  int      // while records flow; a tenth of them above 10,000 topics. Default 200
	Stay     uint64   // new records that each of those takes before it leaves; default 2,000
	Standing int      // readers that are there all the time; default 3
	Rate     float64  // records a second; default 100,000
	Tick     float64  // bursts a second that the rate is sent in; default 1000
	Size     int      // of a body, bytes; default 100
	Seconds  float64  // that records flow with joiners, and as long without; default 5
	Rounds   int      // that this is divided into, by turns; default 10
	Records  uint64   // as fast as one reader takes them; default 3,000,000
}

func (cfg *JoinConfig) fill() error {
	servers := []string{ours, guides, manuals}
	if cfg.Servers == nil {
		cfg.Servers = servers
	}
	for _, s := range cfg.Servers {
		if !slices.Contains(servers, s) {
			return fmt.Errorf("bench: unknown server %q: want one of %v", s, servers)
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
	def(&cfg.Rounds, 10)
	def(&cfg.Records, 3_000_000)
	if len(cfg.Topics) == 0 || slices.Min(cfg.Topics) < 1 || slices.Max(cfg.Topics) > 100_000 ||
		cfg.Joins < 1 || cfg.Joiners < 1 || cfg.Standing < 1 || cfg.Size < 8 || cfg.Tick > cfg.Rate || cfg.Rounds < 1 {
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
		"bursts_per_second": cfg.Tick, "body_bytes": cfg.Size, "seconds": cfg.Seconds, "rounds": cfg.Rounds, "records": cfg.Records, "runs": env.Runs,
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
	fewer := func(n, topics int) int {
		if topics > manyTopics {
			return max(n/10, 1)
		}
		return n
	}
	for _, topics := range cfg.Topics {
		for _, s := range cfg.Servers {
			add("idle", s, topics, fewer(cfg.Joins, topics), (*joinCase).idle)
		}
	}
	for i, topics := range cfg.Topics {
		for _, s := range cfg.Servers {
			if i == 0 && s == ours {
				add("flow", s, topics, 0, (*joinCase).flow) // how figures move by themselves
			}
			add("flow", s, topics, fewer(cfg.Joiners, topics), (*joinCase).flow)
		}
	}
	for _, s := range cfg.Servers {
		add("throughput", s, cfg.Topics[0], 0, (*joinCase).throughput)
	}
	return cases
}

// The servers, which are the roles of their workers.
const (
	ours    = "lvc"
	guides  = "xpub-cache"  // of the ZeroMQ guide
	manuals = "xpub-manual" // of libzmq's last-value option
)

// manyTopics is what takes so long to join that a tenth of the joiners will do.
const manyTopics = 10_000

// byName reports whether a server answers nothing but topics by their names.
func (c *joinCase) byName() bool { return c.server == guides }

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
	if c.server == ours {
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
	tl.joined(c, &j)
	tl.stood(&f)
	return nil
}

// flow lets joiners come while records flow: by turns none and some, so that other
// work of the machine falls on both.
func (c *joinCase) flow(ctx context.Context, cfg *JoinConfig, tl *tally) error {
	s, err := newStage(ctx, c.server, c.topics, cfg.Size, cfg.Standing, Job{Latency: true})
	if err != nil {
		return err
	}
	defer s.close()
	if c.joiners > 0 {
		err := s.join(joinWorkers, "busy-joins", joinOrders{
			Count: c.joiners, ByName: c.byName(), Stay: cfg.Stay,
			Rounds: cfg.Rounds, Seconds: comingShare * cfg.Seconds / float64(cfg.Rounds),
		}, c.topics)
		if err != nil {
			return err
		}
	}
	lag, err := s.byTurns(cfg)
	if err != nil {
		return err
	}
	j, err := s.awaitJoiners(cfg)
	if err != nil {
		return err
	}
	f, err := s.end()
	if err != nil {
		return err
	}
	tl.addHist("generator_lag", lag)
	tl.joined(c, &j)
	tl.stood(&f)
	tl.addHist("before", f.hists[0])
	tl.addHist("during", f.hists[1])
	for _, p := range percentiles[:4] {
		tl.add("during_to_before_"+p.name, float64(f.hists[1].ValueAtQuantile(p.q))/float64(max(f.hists[0].ValueAtQuantile(p.q), 1)))
	}
	return nil
}

const (
	// joinWorkers is how many processes the joiners are spread over.
	joinWorkers = 2
	// comingShare is the part of a turn in which joiners come; in the rest the last
	// ones leave.
	comingShare = 0.9
)

// byTurns sends the records of a run, and returns how late they left.
func (s *stage) byTurns(cfg *JoinConfig) (*hdrhistogram.Histogram, error) {
	lag := newHistogram()
	if _, err := s.send(kindWarm, cfg.Rate, cfg.Tick, warmSeconds); err != nil {
		return lag, err
	}
	for range cfg.Rounds {
		for _, kind := range []wire.Kind{kindBefore, kindAfter} {
			if kind == kindAfter {
				for _, w := range s.others {
					if err := w.cue(); err != nil {
						return lag, err
					}
				}
			}
			late, err := s.send(kind, cfg.Rate, cfg.Tick, cfg.Seconds/float64(cfg.Rounds))
			if err != nil {
				return lag, err
			}
			lag.Merge(late)
		}
	}
	return lag, nil
}

// awaitJoiners sends, unmeasured, until all joiners are through.
func (s *stage) awaitJoiners(cfg *JoinConfig) (j joined, err error) {
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
