package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	// throughputWindow is how many records are on their way at most: so many that
	// nobody waits, and so few that no queue overflows.
	throughputWindow = 1 << 17
	progressEvery    = throughputWindow / 16
)

// throughput sends records as fast as one reader takes them.
func (c *joinCase) throughput(ctx context.Context, cfg *JoinConfig, tl *tally) error {
	s, err := newStage(ctx, c.server, c.topics, cfg.Size, 1, Job{Progress: progressEvery})
	if err != nil {
		return err
	}
	defer s.close()
	before, err := s.cpuSeconds()
	if err != nil {
		return err
	}
	s.live.kind = kindBefore
	reader, sent := s.standing[0], uint64(0)
	hear := func(until uint64) error {
		for reader.ready.Records < until {
			if err := reader.hear(); err != nil {
				return err
			}
		}
		return nil
	}
	err = s.pour(cfg.Records, func() error {
		sent += pourBatch
		return hear(sent - min(sent, throughputWindow))
	})
	if err == nil {
		err = hear(cfg.Records / progressEvery * progressEvery)
	}
	if err != nil {
		return err
	}
	after, err := s.cpuSeconds()
	if err != nil {
		return err
	}
	f, err := s.end()
	if err != nil {
		return err
	}
	millions := float64(cfg.Records) / 1e6
	tl.add("records_per_second", float64(cfg.Records)/max(f.seconds, 1e-9))
	tl.add("cpu_seconds_per_million", (after[0]+after[1]+after[2]-before[0]-before[1]-before[2])/millions)
	for i, of := range []string{"source", "server", "reader"} {
		tl.add("cpu_seconds_"+of+"_per_million", (after[i]-before[i])/millions)
	}
	tl.add("server_peak_rss_bytes", float64(f.server.RSSBytes))
	tl.stood(&f)
	return nil
}

// cpuSeconds is the CPU time so far of source, server and the first reader.
func (s *stage) cpuSeconds() (t [3]float64, err error) {
	t[0], _ = usage()
	if t[1], err = cpuSeconds(s.server.cmd.Process.Pid); err == nil {
		t[2], err = cpuSeconds(s.standing[0].cmd.Process.Pid)
	}
	return t, err
}

// heldBytes is how many bytes the table of a proxy takes, as it says itself.
func heldBytes(endpoint string) (n int64, err error) {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, ctx.Close()) }()
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: cacheWait})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := errors.Join(s.Connect(endpoint), s.Subscribe(wire.HeartbeatTopic)); err != nil {
		return 0, err
	}
	for {
		frames, err := s.RecvFrames()
		if err != nil {
			return 0, fmt.Errorf("bench: wait for a heartbeat: %w", err)
		}
		var beat lvc.HeartbeatNotice
		// The answer comes first: nothing matches.
		if len(frames) != 3 || len(frames[2]) == 0 {
			continue
		}
		err = json.Unmarshal(frames[2], &beat)
		return beat.Bytes, err
	}
}

// joined adds what a case's joiners found.
func (t *tally) joined(c *joinCase, j *joined) {
	if c.joiners == 0 {
		return
	}
	t.addHist("connect", j.connect)
	t.addHist("join", j.join)
	t.add("joined", float64(j.tally.Complete))
	t.add("joiners_missing", float64(j.tally.Missing))
	t.add("joiners_repeated", float64(j.tally.Repeated))
	if !c.byName() { // else nothing tells a last value from news
		t.add("joiners_early", float64(j.tally.Early))
	}
	t.add("joiners_live_records", float64(j.tally.Live))
}

// stood adds what readers found that stood.
func (t *tally) stood(f *stood) {
	t.add("standing_missing", float64(f.tally.Missing))
	t.add("standing_repeated", float64(f.tally.Repeated))
	t.add("server_dropped", float64(f.server.Dropped))
}
