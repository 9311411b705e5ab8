package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/resync"
)

// serveFlags are the flags of a command that serves refills and last values.
type serveFlags struct {
	prefix  string // of the flags' names
	bind    string
	backend string
	rate    string
	workers int
	perAddr int
	linger  time.Duration
}

const (
	serveRateDefault   = "512MB"
	serveLingerDefault = 2 * time.Second
)

// add adds the flags of a command that does so beside its work.
func (f *serveFlags) add(cmd *cobra.Command, what string) {
	f.prefix = "resync-"
	fl := cmd.Flags()
	fl.StringVar(&f.bind, "resync-bind", "", "endpoints, separated by commas, at which readers get what they missed "+what+", and last values")
	f.addLimits(cmd)
	fl.DurationVar(&f.linger, "resync-linger", serveLingerDefault, "how long to go on serving after the end, from the last request on")
}

// addLimits adds the flags that every server has.
func (f *serveFlags) addLimits(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.rate, f.prefix+"rate", serveRateDefault, "bytes a second that are read and sent to all readers together, such as 100MB (0: no bound)")
	fl.IntVar(&f.workers, f.prefix+"workers", 2, "tape readers in this process")
	fl.IntVar(&f.perAddr, f.prefix+"per-address", 0, "clients from one address that are served at once (0: as many as there can be at all)")
	fl.StringVar(&f.backend, f.prefix+"backend", "", "endpoints, separated by commas, at which tape readers of other processes register: see tapedeck resync-worker")
}

// config checks the flags. Without an endpoint they must not say anything.
func (f *serveFlags) config(fl *pflag.FlagSet) (resync.ServerConfig, error) {
	var cfg resync.ServerConfig
	if f.bind == "" {
		for _, name := range []string{"rate", "workers", "per-address", "backend", "linger"} {
			if flag := fl.Lookup(f.prefix + name); flag != nil && flag.Changed {
				return cfg, usagef("--%s%s says nothing without --%sbind", f.prefix, name, f.prefix)
			}
		}
		return cfg, nil
	}
	var err error
	if cfg.Endpoints, err = endpointList("--"+f.prefix+"bind", f.bind); err != nil {
		return cfg, err
	}
	if f.backend != "" {
		if cfg.Backends, err = endpointList("--"+f.prefix+"backend", f.backend); err != nil {
			return cfg, err
		}
	}
	if f.rate != "0" {
		if cfg.Rate, err = parseBytes(f.rate); err != nil {
			return cfg, usagef("--%srate: %v", f.prefix, err)
		}
	}
	if f.workers < 1 {
		return cfg, usagef("--%sworkers %d: want 1 or more", f.prefix, f.workers)
	}
	if f.linger < 0 {
		return cfg, usagef("--%slinger %v: want 0 or more", f.prefix, f.linger)
	}
	if f.perAddr < 0 {
		return cfg, usagef("--%sper-address %d: want 0 or more", f.prefix, f.perAddr)
	}
	cfg.Workers, cfg.AddressClients = f.workers, f.perAddr
	return cfg, nil
}

// endpointList splits a list of endpoints.
func endpointList(flag, list string) ([]string, error) {
	endpoints := strings.Split(list, ",")
	for i, e := range endpoints {
		if endpoints[i] = strings.TrimSpace(e); endpoints[i] == "" {
			return nil, usagef("%s %q: an endpoint is empty", flag, list)
		}
	}
	return endpoints, nil
}

// refillServer is a resync server. A nil one does nothing.
type refillServer struct {
	server *resync.Server
	cancel context.CancelFunc // nil while it does not run
	ended  chan error
	linger time.Duration
	out    *output
	sum    *serveSummary // once it has stopped
}

// listen binds the endpoints; nil where the flags name none.
func (f *serveFlags) listen(cfg resync.ServerConfig, out *output) (*refillServer, error) {
	if len(cfg.Endpoints) == 0 {
		return nil, nil
	}
	warnOpen(out, slices.Concat(cfg.Endpoints, cfg.Backends)...)
	server, err := resync.NewServer(cfg)
	if err != nil {
		return nil, withHint(err, "--"+f.prefix+"bind chooses other endpoints, and tcp://127.0.0.1:* a free port")
	}
	return &refillServer{server: server, ended: make(chan error, 1), linger: f.linger, out: out}, nil
}

// serve binds the endpoints and starts to serve; nil where the flags name none.
func (f *serveFlags) serve(cfg resync.ServerConfig, out *output) (*refillServer, error) {
	s, err := f.listen(cfg, out)
	s.start()
	return s, err
}

// start starts to serve, and says where.
func (s *refillServer) start() {
	if s == nil {
		return
	}
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(context.Background())
	go func() { s.ended <- s.server.Run(ctx) }()
	_ = s.out.message("resync.serving", struct {
		Endpoints []string `json:"endpoints"`
		Backends  []string `json:"backends,omitempty"`
	}{s.server.Endpoints(), s.server.Backends()}, "")
	s.out.remark("serving refills on %v", s.server.Endpoints())
	if at := s.server.Backends(); len(at) > 0 {
		s.out.remark("tape readers register on %v", at)
	}
}

// stay goes on serving after the end of the stream: readers find out what they
// lack when it has ended. It returns when nobody has asked for a while, or when the
// context ends.
func (s *refillServer) stay(ctx context.Context) {
	if s == nil || s.linger <= 0 || ctx.Err() != nil {
		return
	}
	s.out.remark("the stream has ended; serving refills until nobody has asked for %v", s.linger)
	tick := time.NewTicker(min(s.linger, 50*time.Millisecond))
	defer tick.Stop()
	seen, since := s.asked(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case err := <-s.ended:
			s.ended <- err
			return
		case <-tick.C:
		}
		if n := s.asked(); n != seen || s.server.State().Requests > 0 {
			seen, since = n, time.Now()
		} else if time.Since(since) >= s.linger {
			return
		}
	}
}

// asked changes whenever a reader has asked for something.
func (s *refillServer) asked() uint64 {
	c := s.server.Counters()
	return c.Refills + c.Finds + c.Snapshots + c.Pongs
}

// stop stops serving and returns what was done; nil where nothing was served. It
// may be called again, and then only returns that.
func (s *refillServer) stop() (*serveSummary, error) {
	if s == nil || s.sum != nil {
		return s.summary(), nil
	}
	var err error
	if s.cancel != nil {
		s.cancel()
		err = <-s.ended
	}
	s.sum = newServeSummary(s.server.Counters())
	return s.sum, errors.Join(err, s.server.Close())
}

func (s *refillServer) summary() *serveSummary {
	if s == nil {
		return nil
	}
	return s.sum
}

// serveSummary says what a resync server has done.
type serveSummary struct {
	Refills     uint64 `json:"refills"`
	Finds       uint64 `json:"finds"`
	Snapshots   uint64 `json:"snapshots"`
	Records     uint64 `json:"records"`
	Bytes       uint64 `json:"bytes"`
	Ended       uint64 `json:"ended"`
	Cancelled   uint64 `json:"cancelled"`
	Unreachable uint64 `json:"unreachable"`
	Errors      uint64 `json:"errors"`
	Gone        uint64 `json:"gone"`
	NotYet      uint64 `json:"not_yet"`
	Busy        uint64 `json:"busy"`
	Throttled   uint64 `json:"throttled"`
	Reads       uint64 `json:"reads"`
	Redone      uint64 `json:"reads_redone"`
	Foreign     uint64 `json:"foreign"`
	Malformed   uint64 `json:"malformed"`
}

func newServeSummary(c resync.ServerCounters) *serveSummary {
	return &serveSummary{
		Refills: c.Refills, Finds: c.Finds, Snapshots: c.Snapshots, Records: c.Records, Bytes: c.Bytes,
		Ended: c.Ended, Cancelled: c.Cancelled, Unreachable: c.Unreachable,
		Errors: c.Errors.Total(), Gone: c.Errors.Gone, NotYet: c.Errors.NotYet, Busy: c.Errors.Busy,
		Throttled: c.Throttled, Reads: c.Reads, Redone: c.Redone, Foreign: c.Foreign, Malformed: c.Malformed,
	}
}

func (s *serveSummary) text() string {
	if s == nil {
		return ""
	}
	return fmt.Sprintf("served %s and %s: %s records, %s", count(s.Refills, "refill"), count(s.Snapshots, "snapshot"),
		thousands(s.Records), size(s.Bytes))
}

// after is text behind other text.
func (s *serveSummary) after() string {
	if s == nil {
		return ""
	}
	return "; " + s.text()
}
