package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/metrics"
	"github.com/tapedeck/tapedeck/subscriber"
)

// metricsFlags are the flags of a command that shows what it does over HTTP.
type metricsFlags struct {
	address string
	open    bool
}

func (f *metricsFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.address, "metrics", "", fmt.Sprintf("address, or port of this machine, to show metrics and health at over HTTP, such as %d (default: none)", metrics.PortDefault))
	fl.BoolVar(&f.open, "metrics-open", false, "let --metrics be an address that other machines can reach; nothing is encrypted there")
}

// listen binds the address; nil where the flags name none.
func (f *metricsFlags) listen(out *output) (*metricsService, error) {
	if f.address == "" {
		if f.open {
			return nil, usagef("--metrics-open says nothing without --metrics")
		}
		return nil, nil
	}
	m, err := newMetricsService(f.address, f.open)
	if err != nil {
		return nil, err
	}
	m.start(out)
	return m, nil
}

// metricsService shows what this process does. A nil one shows nothing.
type metricsService struct {
	set    *metrics.Set
	server *metrics.Server
	begun  *metrics.Scope // until parts are there
	cancel context.CancelFunc
	ended  chan error
}

// newMetricsService binds an address, so that one that cannot be had is found out
// before anything else begins.
func newMetricsService(address string, open bool) (*metricsService, error) {
	m := &metricsService{set: metrics.New(metrics.Config{Version: version, Libzmq: zsock.Version()}), ended: make(chan error, 1)}
	var err error
	m.server, err = metrics.NewServer(metrics.ServerConfig{Address: address, Open: open, Set: m.set})
	switch {
	case errors.Is(err, metrics.ErrOpen):
		return nil, withHint(usagef("--metrics %s: other machines can reach that address", address), "--metrics-open says that they may; nothing is encrypted, and nobody has to say who they are")
	case errors.Is(err, metrics.ErrAddress):
		return nil, usagef("--metrics: %v", err)
	case err != nil:
		return nil, withHint(err, "--metrics chooses another address, and --metrics 0 a free port")
	}
	if l := locks.Load(); l != nil && l.door != nil {
		m.set.Root().Door(l.door.Stats)
	}
	m.begun = m.set.Scope()
	m.begun.Check("started", func() error { return errors.New("still starting") })
	return m, nil
}

// start serves, and says where.
func (m *metricsService) start(out *output) {
	var ctx context.Context
	ctx, m.cancel = context.WithCancel(context.Background())
	go func() { m.ended <- m.server.Run(ctx) }()
	out.remark("metrics on http://%s/metrics", m.server.Address())
	_ = out.message("metrics.serving", struct {
		Address string `json:"address"`
	}{m.server.Address()}, "")
}

// show shows parts until what it returns is called: before they are closed. It may be
// called again.
func (m *metricsService) show(parts func(*metrics.Scope)) (hide func()) {
	if m == nil {
		return func() {}
	}
	hide = m.showAs(parts)
	m.ready()
	return hide
}

// showAs is show for parts of which there may be several: labels tell them apart. What
// is still starting is not ready.
func (m *metricsService) showAs(parts func(*metrics.Scope), labels ...string) (hide func()) {
	if m == nil {
		return func() {}
	}
	sc := m.set.Scope(labels...)
	parts(sc)
	return sc.Close
}

// ready says that all parts are there.
func (m *metricsService) ready() {
	if m != nil {
		m.begun.Close()
	}
}

// close ends it.
func (m *metricsService) close() {
	if m == nil {
		return
	}
	if m.cancel != nil {
		m.cancel()
		<-m.ended
	}
	_ = m.server.Close()
}

// streamSilent is how long a shard may say nothing before its process is not ready:
// publishers send a heartbeat every second.
const streamSilent = 5 * time.Second

// checkStream is the check that a stream is there.
func checkStream(summary func() subscriber.Summary) func() error {
	return func() error {
		s := summary()
		switch {
		case s.Quiet > streamSilent:
			return fmt.Errorf("a shard has said nothing for %v, not even a heartbeat", s.Quiet.Round(100*time.Millisecond))
		case s.Epochs == 0:
			return errors.New("no publisher has been heard yet")
		}
		return nil
	}
}
