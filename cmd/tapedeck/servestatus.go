package main

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/binarystar"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/metrics"
)

// statusService is the service status: everything in short. What other processes of
// the bus have it asks them for.
type statusService struct {
	s      *station
	client *majordomo.Client
	asker  *control.Client
}

// statusPatience is how long status waits for what others have to say.
const statusPatience = time.Second

func (s *station) startStatus(context.Context) error {
	client, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: s.join, Context: s.inproc, Local: s.broker != nil, Timeout: statusPatience, Tries: 1})
	if err != nil {
		return err
	}
	v := &statusService{s: s, client: client, asker: control.NewClient(client)}
	s.hold("status client", client.Close)
	s.show("status client", func(sc *metrics.Scope) { sc.BusClient("status", client.Counters) })
	if s.board != nil {
		s.start("status board", v.show, nil)
	}
	return s.serve(control.ServiceStatus, 2, control.ServiceConfig{}, busLookup("status", "everything in short", v.status))
}

// show shows the status, without what has keys of its own.
func (v *statusService) show(ctx context.Context) error {
	tick := time.NewTicker(v.s.cfg.state.readers)
	defer tick.Stop()
	for {
		st := v.gather(ctx, false)
		v.s.board.show("/status", &st, 0)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (v *statusService) status(ctx context.Context, _ *struct{}) (any, error) {
	return v.gather(ctx, true), nil
}

// gather puts the status together.
func (v *statusService) gather(ctx context.Context, whole bool) control.Status {
	ctx, cancel := context.WithTimeout(ctx, statusPatience)
	defer cancel()
	s, c := v.s, v.s.cfg
	host, _ := os.Hostname()
	st := control.Status{
		Version: version, Host: host, PID: os.Getpid(), StartedTime: s.started.UnixNano(), Uptime: int64(time.Since(s.started)),
		Tapes: s.tapes.root, Clone: s.board.place(), Metrics: s.metricsURL(),
		LVC: s.lvcState(), Resync: s.resyncState(), Pairs: s.pairStates(),
		Limits: control.Limits{Decks: c.decks.max, Recorders: c.recorder.max, Jobs: c.jobs.max},
	}
	var wg sync.WaitGroup
	wg.Go(func() { st.Bus = v.bus(ctx) })
	wg.Go(func() { st.Jobs = v.jobs(ctx) })
	if whole {
		wg.Go(func() { st.Decks = v.decks(ctx) })
		wg.Go(func() { st.Recorders = v.recorders(ctx) })
	}
	wg.Wait()
	return st
}

// bus is the broker as it is.
func (v *statusService) bus(ctx context.Context) control.BusState {
	b := control.BusState{Endpoints: strings.Split(v.s.bus, ","), Services: []control.ServiceState{}}
	if v.s.broker != nil {
		for _, service := range v.s.broker.State().Services {
			b.Services = append(b.Services, control.ServiceState(service))
		}
		return b
	}
	if reply, err := v.client.Request(ctx, majordomo.ServiceServices); err == nil && len(reply) == 1 {
		_ = json.Unmarshal(reply[0], &b.Services) // what cannot be read is not there
	}
	return b
}

func (v *statusService) decks(ctx context.Context) []control.DeckState {
	if v.s.decks != nil {
		return v.s.decks.states()
	}
	var list control.DeckList
	_ = v.asker.Do(ctx, control.ServiceDeck, "list", nil, &list) // nobody there: no decks
	return list.Decks
}

func (v *statusService) recorders(ctx context.Context) []control.RecorderState {
	if v.s.recorders != nil {
		return v.s.recorders.states()
	}
	var list control.RecorderList
	_ = v.asker.Do(ctx, control.ServiceRecorder, "status", nil, &list) // nobody there: no recorders
	return list.Recorders
}

func (v *statusService) jobs(ctx context.Context) control.JobCounts {
	if jobs := v.s.jobs.Load(); jobs != nil {
		return jobs.counts()
	}
	var list control.JobList
	_ = v.asker.Do(ctx, control.ServiceJob, "list", nil, &list) // nobody there: no jobs
	return countJobs(list.Jobs)
}

// lvcState is the proxy of last values.
func (s *station) lvcState() []control.LVCState {
	if s.lvc == nil {
		return nil
	}
	st := s.lvc.Stats()
	return []control.LVCState{{
		Name: "lvc", Plain: s.lvc.Endpoints(), Snapshot: s.lvc.snapshots.serving().Snapshot,
		Topics: st.Topics, Records: st.Records, Readers: st.Readers, Partial: st.Partial,
	}}
}

// pairStates are the halves of pairs that run here.
func (s *station) pairStates() []control.PairState {
	var list []control.PairState
	add := func(part string, p *binarystar.Pair) {
		list = append(list, control.PairState{Part: part, PID: os.Getpid(), PairLink: control.PairLink(p.Status())})
	}
	if s.pair != nil {
		add(partBroker, s.pair.Pair)
	}
	if s.decks != nil && s.decks.link != nil {
		add("deck", s.decks.link.Pair)
	}
	if s.lvc != nil && s.lvc.pair != nil {
		add(partLVC, s.lvc.pair.Pair)
	}
	return list
}

// resyncState is where readers get what they missed.
func (s *station) resyncState() []control.ResyncState {
	var list []control.ResyncState
	add := func(of string, served *refillServer) {
		if served == nil {
			return
		}
		c := served.server.Counters()
		list = append(list, control.ResyncState{Endpoint: served.server.Endpoints()[0], Of: of, Refills: c.Refills, Records: c.Records})
	}
	if s.decks != nil {
		for _, d := range s.decks.list() {
			d.mu.Lock()
			add("deck "+d.name, d.run.served)
			d.mu.Unlock()
		}
	}
	if s.recorders != nil {
		for _, r := range s.recorders.list() {
			add("recorder "+r.name, r.taping.stream.served)
		}
	}
	for _, r := range s.refills {
		add("tape "+r.name, r.served)
	}
	return list
}
