package titanic

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestProtocol: every request and status of 9/TSP, by its frames, as a client of
// others sends them.
func TestProtocol(t *testing.T) {
	at := runBroker(t)
	o, _ := runTitanic(t, Config{Endpoints: at})
	c := newRaw(t, at)

	stored := c.ask("titanic.request", "echo", "one", "", "three")
	if len(stored) != 2 || stored[0] != "200" || len(stored[1]) != 32 || strings.Trim(stored[1], "0123456789ABCDEF") != "" {
		t.Fatalf("got %q, want [200][32 hexadecimal characters]", stored)
	}
	id := stored[1]
	c.want(c.ask("titanic.reply", id), "300") // nobody is there to do it
	runWorker(t, at, "echo", 1, upper)
	zsocktest.Until(func() bool { return o.Counters().Answered == 1 })
	for range 2 { // asking does not take it away
		c.want(c.ask("titanic.reply", id), "200", "did one", "did ", "did three")
	}
	c.want(c.ask("titanic.reply", strings.ToLower(id)), "200", "did one", "did ", "did three")
	c.want(c.ask("titanic.close", id), "200")
	c.want(c.ask("titanic.reply", id), "400")
	c.want(c.ask("titanic.close", id), "200") // a job that is not known is no error

	// Each request of somebody who does not number them makes a job.
	twice := c.ask("titanic.request", "echo", "x")[1]
	if again := c.ask("titanic.request", "echo", "x")[1]; again == twice {
		t.Error("two requests made one job")
	}
	for _, m := range [][]string{{"titanic.request", "echo"}, {"titanic.request", "", "x"}, {"titanic.request", strings.Repeat("s", 256), "x"},
		{"titanic.reply", "x"}, {"titanic.reply", id, id}, {"titanic.close", id, id}} {
		c.want(c.ask(m[0], m[1:]...), "400")
	}
	c.want(c.ask("titanic.close", "no id"), "200")
	if n := o.Counters(); n.Malformed != 3 || n.Refused != 2 || n.Added != 3 {
		t.Errorf("%+v", n)
	}
}

// TestNumberedRequestIsOneJob: our clients' requests, and control requests, are told
// from others, so that sending them again makes no second job; also after another
// process has taken over the log.
func TestNumberedRequestIsOneJob(t *testing.T) {
	at := runBroker(t)
	dir := t.TempDir()
	control := func(n int) string {
		return fmt.Sprintf(`{"client":"0123456789abcdef0123456789abcdef","number":%d,"command":"import"}`, n)
	}
	number := func(n uint64) string { return string(pirate.AppendNumber(nil, n, false)) }
	c := newRaw(t, at)
	ids := map[string]string{}
	for range 2 {
		_, stop := runTitanic(t, Config{Dir: dir, Endpoints: at})
		for range 2 {
			for name, frames := range map[string][]string{
				"number": {number(1 << 40), "echo", "x"}, "other number": {number(1<<40 + 1), "echo", "x"},
				"control": {"job.import", "TPDC01", control(1)}, "other control": {"job.import", "TPDC01", control(2)},
			} {
				got := c.ask("titanic.request", frames...)
				if frames[0] == number(1<<40) || frames[0] == number(1<<40+1) {
					c.want(got[:1], frames[0])
					got = got[1:]
				}
				c.want(got[:1], "200")
				if known := ids[name]; known != "" && known != got[1] {
					t.Errorf("%s: stored twice", name)
				}
				ids[name] = got[1]
			}
		}
		// The same number and another content: by chance two clients may have the same.
		got := c.ask("titanic.request", number(1<<40), "echo", "other")
		if got[1] != "200" || got[2] == ids["number"] {
			t.Errorf("%q", got)
		}
		c.want(c.ask("titanic.request", "job.export", "TPDC01", control(1)), "400")
		stop()
	}
	if len(ids) != 4 {
		t.Errorf("%v", ids)
	}
}

// TestClient: our client, the way that 9/TSP tells it to go.
func TestClient(t *testing.T) {
	at := runBroker(t)
	runTitanic(t, Config{Endpoints: at})
	c := newClient(t, at)
	ctx := t.Context()
	id, err := c.Request(ctx, "echo", []byte("a"), []byte("b"))
	if err != nil {
		t.Fatal(err)
	}
	if _, ready, err := c.Reply(ctx, id); ready || err != nil {
		t.Fatalf("%v, %v", ready, err)
	}
	brief, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	if _, err := c.Wait(brief, id); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	runWorker(t, at, "echo", 1, upper)
	reply, err := c.Wait(ctx, id)
	if err != nil || fmt.Sprintf("%s", reply) != "[did a did b]" {
		t.Fatalf("%q, %v", reply, err)
	}
	for range 2 {
		if err := c.Close(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Wait(ctx, id); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	if _, err := c.Request(ctx, "", []byte("x")); !errors.Is(err, ErrJob) {
		t.Errorf("%v", err)
	}
	if _, err := NewClient(ClientConfig{}); err == nil {
		t.Error("a client without a bus")
	}
}

// TestInProcess: a job by way of the API, from Add to Close.
func TestInProcess(t *testing.T) {
	at := runBroker(t)
	o, _ := runTitanic(t, Config{Endpoints: at})
	j := Job{Service: "echo", Body: [][]byte{[]byte("x")}, Key: "import 2024-01-02", Note: "for people"}
	id, created, err := o.Add(t.Context(), j)
	if err != nil || !created {
		t.Fatal(created, err)
	}
	if again, created, err := o.Add(t.Context(), j); again != id || created || err != nil {
		t.Errorf("%v, %v, %v", again, created, err)
	}
	if info, reply, err := o.Get(id); err != nil || reply != nil || info.State != Stored || info.Note != j.Note || info.Number != 1 || info.Expires.IsZero() {
		t.Errorf("%+v, %q, %v", info, reply, err)
	}
	var group sync.WaitGroup
	for range 3 {
		group.Go(func() {
			if info, reply, err := o.Wait(t.Context(), id); err != nil || info.State != Answered || info.Attempt != 1 || fmt.Sprintf("%s", reply) != "[did x]" {
				t.Errorf("%+v, %q, %v", info, reply, err)
			}
		})
	}
	runWorker(t, at, "echo", 1, upper)
	group.Wait()
	if err := o.Cancel(id); !errors.Is(err, ErrState) {
		t.Errorf("%v", err)
	}
	if err := o.CloseJob(id); err != nil {
		t.Fatal(err)
	}
	if err := o.CloseJob(id); !errors.Is(err, ErrUnknown) {
		t.Errorf("%v", err)
	}
	if list, err := o.List(); len(list) != 0 || err != nil {
		t.Errorf("%+v, %v", list, err)
	}
	if again, created, err := o.Add(t.Context(), j); again != id || created || err != nil {
		t.Errorf("the key is forgotten: %v, %v, %v", again, created, err)
	}
	j.Body = [][]byte{[]byte("y")}
	if _, _, err := o.Add(t.Context(), j); !errors.Is(err, ErrKey) {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := o.Add(ended, Job{Service: "s", Body: [][]byte{nil}}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// TestCancelAtWork: the service is at it, and what it answers then is dropped.
func TestCancelAtWork(t *testing.T) {
	at := runBroker(t)
	begun, goOn := make(chan struct{}), make(chan struct{})
	runWorker(t, at, "slow", 1, func(ctx context.Context, r [][]byte) majordomo.Reply {
		begun <- struct{}{}
		<-goOn
		return upper(ctx, r)
	})
	o, _ := runTitanic(t, Config{Endpoints: at})
	for _, end := range []struct {
		do   func(ID) error
		want string
	}{{o.Cancel, "cancelled"}, {o.CloseJob, "gone"}} {
		id, _, err := o.Add(t.Context(), Job{Service: "slow", Body: [][]byte{nil}})
		if err != nil {
			t.Fatal(err)
		}
		<-begun
		if err := end.do(id); err != nil {
			t.Fatal(err)
		}
		info, _, err := o.Wait(t.Context(), id)
		if end.want == "gone" != errors.Is(err, ErrUnknown) || err == nil && info.State.String() != end.want {
			t.Errorf("%+v, %v", info, err)
		}
		goOn <- struct{}{}
		if end.want == "cancelled" {
			if err := o.Cancel(id); err != nil {
				t.Errorf("cancelling again: %v", err)
			}
		}
	}
	zsocktest.Until(func() bool { return o.Counters().Flying == 0 })
	if n := o.Counters(); n.Answered != 0 || n.Cancelled != 1 || n.Closed != 1 {
		t.Errorf("%+v", n)
	}
}

// TestExpires: a job that nobody does, and a reply that nobody takes, end by
// themselves; 9/TSP clients are told 400, and not 300 for ever.
func TestExpires(t *testing.T) {
	at := runBroker(t)
	o, _ := runTitanic(t, Config{Endpoints: at, Expire: 50 * time.Millisecond})
	runWorker(t, at, "echo", 1, upper)
	c := newRaw(t, at)
	for _, service := range []string{"echo", "nobody"} {
		id := c.ask("titanic.request", service, "x")[1]
		zsocktest.Until(func() bool { return c.ask("titanic.reply", id)[0] == "400" })
	}
	if n := o.Counters(); n.Expired != 2 || n.Pending+n.Waiting != 0 {
		t.Errorf("%+v", n)
	}
	id, _, err := o.Add(t.Context(), Job{Service: "nobody", Body: [][]byte{nil}, Expires: time.Now().Add(time.Millisecond)})
	if err != nil {
		t.Fatal(err)
	}
	if info, _, err := o.Wait(t.Context(), id); err != nil || info.State != Expired {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestNotBeforeItsTime: a scheduled job waits.
func TestNotBeforeItsTime(t *testing.T) {
	at := runBroker(t)
	o, _ := runTitanic(t, Config{Endpoints: at})
	var done atomic.Int64
	runWorker(t, at, "echo", 1, func(ctx context.Context, r [][]byte) majordomo.Reply {
		done.Store(time.Now().UnixNano())
		return upper(ctx, r)
	})
	moment := time.Now().Add(100 * time.Millisecond)
	id, _, err := o.Add(t.Context(), Job{Service: "echo", Body: [][]byte{nil}, NotBefore: moment})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := o.Wait(t.Context(), id); err != nil || done.Load() < moment.UnixNano() {
		t.Errorf("done %v early, %v", time.Duration(moment.UnixNano()-done.Load()), err)
	}
}

// TestManyAtOnce: jobs of a service that hangs do not hold up those of others.
func TestManyAtOnce(t *testing.T) {
	at := runBroker(t)
	hang := make(chan struct{})
	runWorker(t, at, "hangs", 8, func(ctx context.Context, r [][]byte) majordomo.Reply {
		<-hang
		return upper(ctx, r)
	})
	runWorker(t, at, "echo", 4, upper)
	o, _ := runTitanic(t, Config{Endpoints: at, Dispatch: 8})
	defer close(hang)
	add := func(service string, n int) (ids []ID) {
		for i := range n {
			id, _, err := o.Add(t.Context(), Job{Service: service, Body: [][]byte{fmt.Append(nil, i)}})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, id)
		}
		return ids
	}
	add("nobody", 50)
	add("hangs", 50)
	for _, id := range add("echo", 200) {
		if info, _, err := o.Wait(t.Context(), id); err != nil || info.State != Answered {
			t.Fatalf("%+v, %v", info, err)
		}
	}
}

// TestFails: what no attempt will ever bring to an end is ended.
func TestFails(t *testing.T) {
	at := runBroker(t)
	o, _ := runTitanic(t, Config{Endpoints: at, Attempts: 3, Timeout: 20 * time.Millisecond, JobBytes: 1000})
	hang := make(chan struct{})
	runWorker(t, at, "hangs", 10, func(context.Context, [][]byte) majordomo.Reply {
		<-hang
		return majordomo.Reply{}
	})
	defer close(hang)
	runWorker(t, at, "large", 1, func(context.Context, [][]byte) majordomo.Reply {
		return majordomo.Reply{Frames: [][]byte{make([]byte, 600), make([]byte, 600)}}
	})
	runWorker(t, at, "many", 1, func(context.Context, [][]byte) majordomo.Reply {
		return majordomo.Reply{Frames: make([][]byte, FramesMax+1)}
	})
	for service, want := range map[string]string{"hangs": "timeout", "large": "too large", "many": "frames"} {
		id, _, err := o.Add(t.Context(), Job{Service: service, Body: [][]byte{nil}})
		if err != nil {
			t.Fatal(err)
		}
		info, _, err := o.Wait(t.Context(), id)
		if err != nil || info.State != Failed || !strings.Contains(info.Reason, want) {
			t.Errorf("%s: %+v, %v", service, info, err)
		}
		if service == "hangs" && info.Attempt != 3 {
			t.Errorf("%d attempts", info.Attempt)
		}
	}
}

// TestConfigIsChecked.
func TestConfigIsChecked(t *testing.T) {
	for _, cfg := range []Config{{}, {Dir: "d", Jobs: -1}, {Dir: "d", Retry: 2, RetryMax: 1}, {Dir: "d", Dispatch: 1, DispatchEach: 2},
		{Dir: "d", SegmentBytes: 1}, {Dir: "d", JobBytes: BytesMax + 1}} {
		cfg.FS = fsys.NewMem()
		if _, err := Open(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
		}
	}
}

// TestCancelFreesItsPlace: what hangs, and is cancelled, holds up nobody.
func TestCancelFreesItsPlace(t *testing.T) {
	at := runBroker(t)
	begun, hang := make(chan struct{}), make(chan struct{})
	runWorker(t, at, "hangs", 1, func(context.Context, [][]byte) majordomo.Reply {
		close(begun)
		<-hang
		return majordomo.Reply{}
	})
	runWorker(t, at, "echo", 1, upper)
	o, _ := runTitanic(t, Config{Endpoints: at, Dispatch: 1})
	defer close(hang)
	id, _, err := o.Add(t.Context(), Job{Service: "hangs", Body: [][]byte{nil}})
	if err != nil {
		t.Fatal(err)
	}
	<-begun
	other, _, err := o.Add(t.Context(), Job{Service: "echo", Body: [][]byte{nil}})
	if err != nil {
		t.Fatal(err)
	}
	if err := o.Cancel(id); err != nil {
		t.Fatal(err)
	}
	if info, _, err := o.Wait(t.Context(), other); err != nil || info.State != Answered {
		t.Errorf("%+v, %v", info, err)
	}
}
