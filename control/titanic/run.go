package titanic

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control/majordomo"
)

// errGone ends the asking for a job that was closed, cancelled or has expired.
var errGone = errors.New("titanic: the job is gone")

// lookAtLeast is how long the dispatcher sleeps at most: clocks on walls are set.
const lookAtLeast = time.Second

// compactPause is how long after a compaction that failed the next one is tried.
const compactPause = time.Minute

// Run answers the three services and asks for jobs until ctx ends; then it waits
// StopWait for replies that are under way. It returns nil, why the bus could not be
// used at all, or ErrFenced, as soon as another process has the log. A disk that fails
// does not end it: requests are answered 500, and the log is opened again. It may be
// called once.
func (t *Titanic) Run(ctx context.Context) error {
	d := &dispatcher{t: t}
	if len(t.cfg.Endpoints) == 0 {
		d.loop(ctx)
		d.group.Wait()
		return t.lost()
	}
	client, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: t.cfg.Endpoints, Context: t.cfg.Context, Local: t.cfg.Local,
		Timeout: t.cfg.Timeout, Tries: 1, Outstanding: t.cfg.Dispatch + probesMax + 1, ReplyBytes: t.cfg.JobBytes})
	if err != nil {
		return err
	}
	d.client = client
	workers, err := t.workers()
	if err != nil {
		return errors.Join(err, client.Close())
	}
	errs := make([]error, len(workers))
	serving, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	for i, w := range workers {
		t.begin(&group, func() {
			if errs[i] = w.Run(serving); errs[i] != nil {
				stop() // without one of the services this is no Titanic
			}
		})
	}
	d.loop(serving)
	stop()
	d.end()
	group.Wait()
	return errors.Join(append(errs, client.Close(), t.lost())...)
}

// lost returns why the log is another process's, nil where it is not.
func (t *Titanic) lost() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fenced
}

// giveSigns gives signs of life until ctx ends, or there is nothing to live for.
func (t *Titanic) giveSigns(ctx context.Context) {
	tick := time.NewTicker(t.cfg.Signs)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.ended:
			return
		case <-ctx.Done():
			return
		}
		if t.told(t.fence.live()) != nil {
			t.tally(&t.count.SignsFailed)
		}
	}
}

// dispatcher asks for jobs. Its loop is one goroutine; each question is another.
type dispatcher struct {
	t          *Titanic
	client     *majordomo.Client // nil: nobody is asked
	group      sync.WaitGroup
	asking     context.Context
	cancel     context.CancelFunc
	compactAt  time.Duration
	lookAt     time.Duration // when it is next looked whether the log is another one's
	compacting bool          // t.mu
}

// loop runs until ctx ends. What it has begun goes on.
func (d *dispatcher) loop(ctx context.Context) {
	d.asking, d.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if d.t.cfg.Signs > 0 {
		d.group.Go(func() { d.t.giveSigns(ctx) })
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil && d.t.lost() == nil {
		wake := d.attend()
		d.t.rest(ctx, timer, d.ask(wake))
	}
}

// rest waits until there is something to look at, or ctx ends.
func (t *Titanic) rest(ctx context.Context, timer *time.Timer, most time.Duration) {
	if t.world != nil {
		t.world.Sleep(most, func() bool { return len(t.woken) > 0 })
		select {
		case <-t.woken:
		default:
		}
		return
	}
	timer.Reset(most)
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-t.woken:
	}
}

// begin has f done beside the caller, which may wait for the group.
func (t *Titanic) begin(group *sync.WaitGroup, f func()) {
	if t.world != nil {
		t.world.Go(f)
		return
	}
	group.Go(f)
}

// end gives what is under way a while, then ends it.
func (d *dispatcher) end() {
	if d.t.lost() != nil {
		d.cancel() // whoever has the log asks again
	}
	patience := time.AfterFunc(d.t.cfg.StopWait, d.cancel)
	d.group.Wait()
	patience.Stop()
	d.cancel()
}

// attend ends what has expired and has a log that is mostly dead compacted. It
// returns when to look again, ns.
func (d *dispatcher) attend() (wake int64) {
	t := d.t
	if now := t.mono(); now >= d.lookAt {
		d.lookAt = now + lookAtLeast
		_ = t.Held() // what it finds ends the loop, or is found again
	}
	s, err := t.usable()
	if err != nil {
		return 0 // the next look is a try
	}
	expired, wake := s.due(t.now().UnixNano())
	for _, id := range expired {
		// An error is one of the disk; the job stays due.
		_ = t.end(id, Expired, "expired")
	}
	if !s.wasteful() || t.mono() < d.compactAt {
		return wake
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if d.compacting {
		return wake
	}
	d.compacting = true
	t.begin(&d.group, func() {
		err := s.compact(t.now().UnixNano())
		t.mu.Lock()
		defer t.mu.Unlock()
		if d.compacting = false; err != nil {
			d.compactAt = t.mono() + compactPause // it is counted
		}
	})
	return wake
}

// ask begins all questions whose time has come and returns how long to sleep.
func (d *dispatcher) ask(wake int64) time.Duration {
	t := d.t
	t.mu.Lock()
	defer t.mu.Unlock()
	wall := t.now().UnixNano()
	most := lookAtLeast
	if wake != 0 {
		most = min(most, max(0, time.Duration(wake-wall)))
	}
	if d.client == nil {
		return most
	}
	for {
		a, ok := t.sched.next(t.mono(), wall)
		if !ok {
			return t.sched.sleep(t.mono(), wall, most)
		}
		if a.probe {
			t.begin(&d.group, func() { d.probe(a.service) })
			continue
		}
		ctx, cancel := context.WithCancelCause(d.asking)
		t.flights[a.id] = cancel
		t.begin(&d.group, func() {
			o := d.job(ctx, a.id, a.service)
			cancel(nil)
			t.mu.Lock()
			defer t.mu.Unlock()
			delete(t.flights, a.id)
			t.sched.finished(a.id, a.service, o, t.mono())
			t.wakeUp()
		})
	}
}

// probeTimeout is how long the broker has to say whether a service is there.
const probeTimeout = 2500 * time.Millisecond

// probe asks the broker whether a service has a worker. A broker that does not
// answer, but takes the question, may know no MMI: then the service is just asked.
func (d *dispatcher) probe(service string) {
	ctx, cancel := context.WithTimeout(d.asking, probeTimeout)
	reply, err := d.client.Request(ctx, majordomo.ServiceMMI, []byte(service))
	cancel()
	var unanswered *majordomo.UnansweredError
	there := err == nil && (len(reply) == 0 || string(reply[len(reply)-1]) != "404")
	if errors.As(err, &unanswered) && d.asking.Err() == nil {
		there = len(unanswered.Endpoints) > 0 && errors.Is(unanswered.Err, context.DeadlineExceeded)
	}
	t := d.t
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sched.probed(service, there, t.mono())
	t.wakeUp()
}

// job asks for one job, once, and stores the reply.
func (d *dispatcher) job(ctx context.Context, id ID, service string) outcome {
	t := d.t
	s, err := t.usable()
	if err != nil {
		return retry
	}
	frames, err := s.dispatch(id, t.now().UnixNano())
	switch {
	case errors.Is(err, ErrDamaged):
		return d.fail(id, err.Error())
	case errors.Is(err, ErrUnknown):
		return done // it ended a moment ago
	case err != nil:
		return retry
	}
	t.tally(&t.count.Dispatched)
	t.step("dispatched")
	reply, err := d.client.Request(ctx, service, frames...)
	t.step("replied")
	if err != nil {
		return d.unanswered(ctx, id, s, err)
	}
	if reason := unfit(reply, t.cfg.JobBytes); reason != "" {
		return d.fail(id, reason)
	}
	if code := unsettled(frames, reply); code != 0 {
		return d.notYet(id, s, code)
	}
	d.answer(ctx, id, reply)
	return done
}

// unfit says why a reply cannot be kept, or nothing.
func unfit(reply [][]byte, most int64) string {
	size := int64(0)
	for _, f := range reply {
		size += int64(len(f))
	}
	switch {
	case len(reply) > FramesMax:
		return "the reply has too many frames"
	case size > most:
		return "the reply is too large"
	}
	return ""
}

// unanswered decides what follows when no reply came.
func (d *dispatcher) unanswered(ctx context.Context, id ID, s *store, err error) outcome {
	t := d.t
	if ctx.Err() != nil {
		return done // it is gone, or all is ending: the next process asks again
	}
	t.tally(&t.count.Unanswered)
	s.note(id, err.Error())
	var u *majordomo.UnansweredError
	if !errors.As(err, &u) || u.For(majordomo.ReasonTooLarge) {
		return d.fail(id, err.Error()) // as it is, nobody will ever take it
	}
	if u.For(majordomo.ReasonNoWorker) {
		return nobody
	}
	if info, gerr := s.get(id); gerr == nil && t.cfg.Attempts > 0 && info.Attempt >= t.cfg.Attempts {
		return d.fail(id, err.Error())
	}
	if u.For(majordomo.ReasonDeadline) {
		return soon // somebody may still be at it, and the repeat gets the reply
	}
	return unclear
}

// fail ends a job that is not asked for any more.
func (d *dispatcher) fail(id ID, reason string) outcome {
	if err := d.t.end(id, Failed, reason); err != nil && !errors.Is(err, ErrUnknown) && !errors.Is(err, ErrState) {
		return retry // the disk
	}
	return done
}

// answer stores a reply. A disk that fails is given time, for as long as there is:
// the service has done the job.
func (d *dispatcher) answer(ctx context.Context, id ID, reply [][]byte) {
	t := d.t
	body := appendFrames(make([]byte, 0, framesSize(reply)), reply)
	for {
		err := t.change(id, &t.count.Answered, func(s *store, now int64) (uint64, error) {
			return s.change(kindAnswered, id, now, body, nil)
		})
		switch {
		case err == nil:
			return
		case errors.Is(err, ErrUnknown), errors.Is(err, ErrState):
			t.tally(&t.count.Late)
			return
		case errors.Is(err, ErrFenced):
			return // the service knows the reply, and tells it again
		}
		t.tally(&t.count.Errors)
		if t.world != nil {
			t.world.Sleep(repairPause, nil)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(repairPause):
		}
	}
}
