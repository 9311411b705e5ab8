package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/metrics"
)

// startMetrics serves metrics and health from the beginning on: until everything is
// there the process is not ready.
func (s *station) startMetrics(context.Context) error {
	if s.cfg.metrics.bind == "" {
		return nil
	}
	// Whether other machines may reach it was looked at with the settings.
	m, err := newMetricsService(s.cfg.metrics.bind, true)
	if err != nil {
		return err
	}
	s.shown = m
	s.start(partMetrics, m.server.Run, m.server.Close)
	return nil
}

// metricsURL is where metrics are; "" for nowhere.
func (s *station) metricsURL() string {
	if s.shown == nil {
		return ""
	}
	return "http://" + s.shown.server.Address() + "/metrics"
}

// show shows a part in the metrics until it stops: what has been started after it is
// stopped by then, and it itself not yet.
func (s *station) show(name string, parts func(*metrics.Scope), labels ...string) {
	hide := s.shown.showAs(parts, labels...)
	s.start(name+" metrics", func(ctx context.Context) error {
		<-ctx.Done()
		hide()
		return ctx.Err()
	}, nil)
}

// showWhole shows what belongs to no part, and that all of them are there.
func (s *station) showWhole() error {
	if s.shown == nil {
		return nil
	}
	check, asks := func() error { return nil }, func(*metrics.Scope) {}
	if s.broker == nil {
		client, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: s.join, Timeout: busPatience, Tries: 1})
		if err != nil {
			return err
		}
		s.hold("bus check", client.Close)
		check = func() error { return busThere(client, s.bus) }
		asks = func(sc *metrics.Scope) { sc.BusClient("check", client.Counters) }
	}
	s.show("services", func(sc *metrics.Scope) {
		sc.Services(s.services...)
		asks(sc)
		sc.Check("bus", check)
	})
	s.shown.ready()
	return nil
}

// busPatience is how long the broker of another process has to say that it is there.
const busPatience = 500 * time.Millisecond

// busThere reports whether the broker of another process answers.
func busThere(client *majordomo.Client, bus string) error {
	ctx, cancel := context.WithTimeout(context.Background(), busPatience)
	defer cancel()
	if _, err := client.Request(ctx, majordomo.ServiceMMI, []byte(control.ServiceDeck)); err != nil {
		return fmt.Errorf("nobody answers at %s", bus)
	}
	return nil
}

// showServices shows services of the bus.
func showServices(services ...metrics.Service) func(*metrics.Scope) {
	return func(sc *metrics.Scope) { sc.Services(services...) }
}

// failed says which decks have failed.
func (h *deckHouse) failed() error {
	var names []string
	for _, d := range h.list() {
		d.mu.Lock()
		if d.run.err != nil {
			names = append(names, d.name)
		}
		d.mu.Unlock()
	}
	if len(names) > 0 {
		return errors.New("failed: " + strings.Join(names, ", "))
	}
	return nil
}
