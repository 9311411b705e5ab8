package titanic

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestDiskFails: while the disk fails, requests are answered 500, and when it works
// again all that was accepted is there, and goes on.
func TestDiskFails(t *testing.T) {
	at := runBroker(t)
	f := &fsys.Fault{FS: fsys.NewMem()}
	o, _ := runTitanic(t, Config{Dir: "jobs", FS: f, Endpoints: at})
	c := newRaw(t, at)
	before := c.ask("titanic.request", "echo", "before")[1]
	f.FailAt(1, 1<<30, errors.New("bad disk"))
	c.want(c.ask("titanic.request", "echo", "lost"), "500")
	c.want(c.ask("titanic.reply", before), "500")
	f.FailAt(0, 0, nil)
	zsocktest.Until(func() bool { return c.ask("titanic.reply", before)[0] == "300" })
	runWorker(t, at, "echo", 1, upper)
	zsocktest.Until(func() bool { return c.ask("titanic.reply", before)[0] == "200" })
	if n := o.Counters(); n.Reopened == 0 || n.Errors == 0 {
		t.Errorf("%+v", n)
	}
}

// TestDiskFailsAtTheReply: a job that was done is not done again because the disk
// failed when its reply was to be stored.
func TestDiskFailsAtTheReply(t *testing.T) {
	at := runBroker(t)
	f := &fsys.Fault{FS: fsys.NewMem()}
	o, _ := runTitanic(t, Config{Dir: "jobs", FS: f, Endpoints: at})
	var times atomic.Int64
	runWorker(t, at, "echo", 1, func(ctx context.Context, r [][]byte) majordomo.Reply {
		times.Add(1)
		f.FailAt(1, 3, errors.New("bad disk"))
		return upper(ctx, r)
	})
	id, _, err := o.Add(t.Context(), Job{Service: "echo", Body: [][]byte{[]byte("x")}})
	if err != nil {
		t.Fatal(err)
	}
	var reply [][]byte
	zsocktest.Until(func() bool {
		_, reply, err = o.Wait(t.Context(), id)
		return err == nil
	})
	if fmt.Sprintf("%s", reply) != "[did x]" || times.Load() != 1 || o.Counters().Reopened == 0 {
		t.Errorf("%q, done %d times, %+v", reply, times.Load(), o.Counters())
	}
}

// TestShrinksWhileItServes: jobs come and go, and the file with them.
func TestShrinksWhileItServes(t *testing.T) {
	at := runBroker(t)
	dir := t.TempDir()
	o, _ := runTitanic(t, Config{Dir: dir, Endpoints: at, Remember: 10 * time.Millisecond})
	runWorker(t, at, "echo", 4, upper)
	c := newClient(t, at)
	var group sync.WaitGroup
	for w := range 8 {
		group.Go(func() {
			for n := range 30 {
				body := fmt.Sprint(w, " ", n)
				id, err := c.Request(t.Context(), "echo", []byte(body))
				if err != nil {
					t.Error(err)
					return
				}
				if reply, err := c.Wait(t.Context(), id); err != nil || string(reply[0]) != "did "+body {
					t.Errorf("%q: %q, %v", body, reply, err)
				}
				if err := c.Close(t.Context(), id); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	zsocktest.Until(func() bool { return o.Counters().Compactions > 0 })
	n := o.Counters()
	info, err := os.Stat(dir + "/" + o.store.log.name)
	if err != nil || info.Size() != n.LogBytes || n.Closed != 240 || n.Pending != 0 {
		t.Errorf("%v, %+v", err, n)
	}
}

// TestOneProcessOnly has a log.
func TestOneProcessOnly(t *testing.T) {
	dir := t.TempDir()
	o := openTitanic(t, Config{Dir: dir})
	if _, err := Open(quick(Config{Dir: dir})); !errors.Is(err, fsys.ErrLocked) {
		t.Errorf("%v", err)
	}
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	openTitanic(t, Config{Dir: dir})
	if _, err := o.List(); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, _, err := o.Wait(t.Context(), ID{}); !errors.Is(err, ErrClosed) {
		t.Errorf("%v", err)
	}
}

// TestRequestIsLostOnTheDisk: a job whose body cannot be read any more fails, and
// says so; the others go on.
func TestRequestIsLostOnTheDisk(t *testing.T) {
	at := runBroker(t)
	disk := fsys.NewMem()
	o, _ := runTitanic(t, Config{Dir: "jobs", FS: disk, Endpoints: at})
	lost, _, err := o.Add(t.Context(), Job{Service: "echo", Body: [][]byte{[]byte("lost")}})
	if err != nil {
		t.Fatal(err)
	}
	corrupt(t, disk, "jobs/"+o.store.log.name, o.store.m.jobs[lost].body.at+recordHeader+1)
	kept, _, err := o.Add(t.Context(), Job{Service: "echo", Body: [][]byte{[]byte("kept")}})
	if err != nil {
		t.Fatal(err)
	}
	runWorker(t, at, "echo", 1, upper)
	if info, _, err := o.Wait(t.Context(), lost); err != nil || info.State != Failed || !strings.Contains(info.Reason, "damaged") {
		t.Errorf("%+v, %v", info, err)
	}
	if info, _, err := o.Wait(t.Context(), kept); err != nil || info.State != Answered {
		t.Errorf("%+v, %v", info, err)
	}
}
