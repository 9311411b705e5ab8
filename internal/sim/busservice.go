package sim

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/control/titanic"
	"github.com/tapedeck/tapedeck/internal/fsys"
)

// busService is a process with a control.Service behind a majordomo.Worker.
type busService struct {
	run         *busRun
	p           *Process
	stored      bool // replies are kept on the disk
	concurrency int
	prefetch    int
	excused     map[string]int // by what was done: how often it may be done again
	keys        map[control.Key]string
	done        map[string]bool // in this life, and that is not on the disk
}

func newBusService(r *busRun) *busService {
	s := &busService{run: r, stored: r.w.Chance(0.7), concurrency: one(r.w, 1, 2, 4), prefetch: one(r.w, 1, 1, 5),
		excused: map[string]int{}, keys: map[control.Key]string{}}
	s.p = r.w.Process("service", s.boot)
	return s
}

func (s *busService) boot() {
	// What the life before had in memory alone may be done again.
	for what := range s.done {
		s.excused[what]++
	}
	s.done = map[string]bool{}
	cfg := control.ServiceConfig{Patience: time.Hour, Deadline: time.Hour}
	if s.stored {
		cfg.Store = &busLedger{s, s.p.fs}
		if err := s.p.fs.Mkdir("replies"); err != nil {
			s.p.Again()
			return
		}
	}
	service, err := control.NewService(busServiceName, cfg, control.Command{Name: "do", Summary: "take effect",
		Do: control.With(func(_ context.Context, r *control.Request, args *busArgs) (any, error) {
			s.done[args.What], s.keys[control.Key{Client: r.Client, Number: r.Number}] = true, args.What
			result := busResult{args.What, s.run.did(args.What)}
			if s.run.w.bug == bugBusResult {
				result.Times++
			}
			return result, nil
		})})
	if err != nil {
		s.run.w.Fail("no service: %v", err)
	}
	worker, err := majordomo.NewWorker(majordomo.WorkerConfig{Endpoints: s.run.endpoints, Context: s.p.Context(), Service: busServiceName,
		Concurrency: s.concurrency, Prefetch: s.prefetch, Heartbeat: s.run.heartbeat, Work: 10 * s.run.heartbeat,
		Handler: func(ctx context.Context, frames [][]byte) majordomo.Reply {
			s.work()
			if reply, ok := s.unsettled(frames); ok {
				return reply
			}
			// Not its end: whether a command is through before it is seen is chance.
			reply := service.Handle(context.WithoutCancel(ctx), frames)
			s.run.check()
			s.work()
			return reply
		}})
	if err != nil {
		s.run.w.Fail("no worker: %v", err)
	}
	s.p.Go(func() {
		err := worker.Run(context.Background())
		s.run.w.Fail("the worker has ended: %v", err)
	})
}

// unsettled is now and then the answer: it is to be asked again.
func (s *busService) unsettled(frames [][]byte) (majordomo.Reply, bool) {
	if !s.run.w.Chance(0.1) {
		return majordomo.Reply{}, false
	}
	r, err := control.ParseRequest(frames)
	if err != nil {
		s.run.w.Fail("the service was asked %q: %v", frames, err)
	}
	code := one(s.run.w, control.Pending, control.Busy, control.NotAvailable)
	reply, err := control.AppendReply(nil, &control.Reply{Client: r.Client, Number: r.Number, Code: code, Reason: "not yet"})
	if err != nil {
		s.run.w.Fail("no reply: %v", err)
	}
	return majordomo.Reply{Frames: reply}, true
}

// work is the time that a command takes, now and then too long.
func (s *busService) work() {
	w := s.run.w
	most := one(w, time.Millisecond, time.Millisecond, 50*time.Millisecond, s.run.heartbeat)
	if w.Chance(0.02) {
		most = 30 * s.run.heartbeat
	}
	s.p.Sleep(w.Between(0, most), nil)
}

// busLedger keeps replies on the service's disk, a file each.
type busLedger struct {
	s  *busService
	fs fsys.FS
}

func (l *busLedger) name(k control.Key) string { return fmt.Sprintf("%v-%d", k.Client, k.Number) }

// Get implements control.ReplyStore.
func (l *busLedger) Get(k control.Key) (control.StoredReply, bool, error) {
	b, err := fsys.ReadFile(l.fs, "replies/"+l.name(k), 1<<20)
	if l.s.run.w.bug == bugBusLedger {
		err = fs.ErrNotExist
	}
	if errors.Is(err, fs.ErrNotExist) {
		return control.StoredReply{}, false, nil
	}
	if err != nil {
		return control.StoredReply{}, false, err
	}
	r := control.StoredReply{Code: control.Code(binary.LittleEndian.Uint32(b[32:])), Object: b[36:]}
	copy(r.Digest[:], b)
	return r, true, nil
}

// Put implements control.ReplyStore.
func (l *busLedger) Put(k control.Key, r control.StoredReply) error {
	b := binary.LittleEndian.AppendUint32(append([]byte{}, r.Digest[:]...), uint32(r.Code))
	if err := fsys.WriteFile(l.fs, "replies", l.name(k), append(b, r.Object...)); err != nil {
		return err
	}
	delete(l.s.done, l.s.keys[k])
	return nil
}

// busTitanic is a process with a Titanic.
type busTitanic struct {
	run     *busRun
	p       *Process
	titanic *titanic.Titanic
}

const titanicConcurrency = 2

func newBusTitanic(r *busRun) *busTitanic {
	t := &busTitanic{run: r}
	t.p = r.w.Process("titanic", t.boot)
	return t
}

func (t *busTitanic) boot() {
	w := t.run.w
	var err error
	t.titanic, err = titanic.Open(titanic.Config{Dir: "jobs", FS: t.p.fs, Endpoints: t.run.endpoints, Context: t.p.Context(),
		Timeout: 20 * t.run.heartbeat, Retry: t.run.heartbeat, RetryMax: 10 * t.run.heartbeat, SegmentBytes: 4096,
		Concurrency: titanicConcurrency, Heartbeat: t.run.heartbeat, Dispatch: one(w, 1, 4, 16)})
	if errors.Is(err, titanic.ErrDamaged) || errors.Is(err, titanic.ErrLog) || errors.Is(err, titanic.ErrVersion) {
		w.Fail("the job log cannot be read: %v", err)
	}
	if err != nil {
		w.Logf("titanic: %v", err)
		t.p.Again()
		return
	}
	opened := t.titanic
	t.p.Go(func() {
		err := opened.Run(context.Background())
		w.Fail("Titanic has ended: %v", err)
	})
}
