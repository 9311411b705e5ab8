package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
)

const (
	stopSignal     = syscall.SIGSTOP
	continueSignal = syscall.SIGCONT
)

// TestPublisherKilled: a publisher that is killed, and one that comes after it: the
// subscriber has everything that was recorded of both, and says that nobody knows
// whether the first had more.
func TestPublisherKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records = 4000
	src := paced(t, dir, records, 2000)
	bind := "ipc://" + filepath.Join(dir, "s")
	first := startReader(t, "play", src, "--wait", "2", "--bind", bind)
	record := startReader(t, "record", "--connect", bind, "-o", filepath.Join(dir, "rec.tape"), "--follow", "--resync-bind", "ipc://"+filepath.Join(dir, "r"), "--json")
	sub := startReader(t, "sub", "--connect", bind, "--resync", record.served(servingAt), "--print", "--json")
	sub.further(1000)
	first.signal(os.Kill)
	first.finish()
	second := startReader(t, "play", src, "--wait", "2", "--bind", bind)
	out, code := sub.finish()
	m := summary(t, out, "sub.summary")
	healed := part(t, m, "resync")
	if code != exitDamaged || m["complete"] != false || figure(t, m, "broken") != 1 || figure(t, m, "epochs") != 2 || figure(t, m, "lost") != 0 ||
		figure(t, healed, "twice")+figure(t, healed, "unsaid") != 0 {
		t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
	}
	if want := "a publisher went without an end mark once"; !strings.Contains(sub.stderr.String(), want) || !strings.Contains(sub.stderr.String(), "went without an end at sequence") {
		t.Errorf("it does not say %q\n%s", want, sub.stderr)
	}
	if _, code := second.finish(); code != 0 {
		t.Errorf("play: exit code %d\n%s", code, second.stderr)
	}
	record.signal(os.Interrupt)
	out, _ = record.finish()
	if had := figure(t, summary(t, out, "record.summary"), "records"); figure(t, m, "records") < had || had <= records {
		t.Errorf("the subscriber has %v records, the recorder %d", m["records"], had)
	}
	if list := recordsIn(t, sub.out.String()); len(list) != figure(t, m, "records") {
		t.Errorf("%d records printed, %v handed over", len(list), m["records"])
	}
}

// TestRecorderKilled: without the recorder a subscriber goes on, and says what it
// could not get.
func TestRecorderKilled(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records = 5000
	src := paced(t, dir, records, 1500)
	play := startReader(t, "play", src, "--wait", "3", "--bind", "tcp://127.0.0.1:*")
	at := play.served("on [")
	record := startReader(t, "record", "--connect", at, "-o", filepath.Join(dir, "rec.tape"), "--resync-bind", "tcp://127.0.0.1:*")
	line := newCable(t, at)
	witness := startReader(t, "sub", "--connect", at, "--print")
	sub := startReader(t, "sub", "--connect", line.endpoint(), "--resync", record.served(servingAt), "--resync-attempts", "1", "--print", "--json")
	sub.further(500)
	record.signal(os.Kill)
	record.finish()
	line.set(true)
	witness.further(1000)
	line.set(false)
	out, code := sub.finish()
	m := summary(t, out, "sub.summary")
	healed := part(t, m, "resync")
	lost := figure(t, m, "lost")
	if code != exitDamaged || m["complete"] != false || lost == 0 || figure(t, m, "records")+lost != records || figure(t, m, "gaps") != 1 ||
		figure(t, healed, "gave_up") != 1 || figure(t, part(t, healed, "lost_by"), "no server answers") != lost {
		t.Errorf("exit code %d, %v\n%s", code, m, sub.stderr)
	}
	if !strings.Contains(out, `"message_type":"sub.gap"`) || !strings.Contains(sub.stderr.String(), "are lost: no server answers") {
		t.Errorf("it does not say what is missing\n%s", sub.stderr)
	}
	witness.finish()
	play.finish()
}

// TestRecorderComesBack: a recorder that was killed and goes on with its tape gets
// what it missed from the player, and so does the subscriber that asks it.
func TestRecorderComesBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const records = 9000
	src, rec := paced(t, dir, records, 1500), filepath.Join(dir, "rec.tape")
	play := startReader(t, "play", src, "--wait", "3", "--bind", "tcp://127.0.0.1:*", "--resync-bind", "ipc://"+filepath.Join(dir, "p"))
	at := play.served("playing " + src + " at 1x on [")
	refills := "ipc://" + filepath.Join(dir, "r")
	args := []string{"record", "--connect", at, "-o", rec, "--append", "--sync", "20ms", "--resync-bind", refills, "--resync", play.served(servingAt), "--json"}
	record := startReader(t, args...)
	line := newCable(t, at)
	witness := startReader(t, "sub", "--connect", at, "--print")
	sub := startReader(t, "sub", "--connect", line.endpoint(), "--resync", refills, "--json")
	witness.further(1000)
	line.set(true)
	witness.further(1000)
	record.signal(os.Kill)
	record.finish()
	line.set(false)
	witness.further(1000)
	again := startReader(t, args...)
	out, code := sub.finish()
	m := summary(t, out, "sub.summary")
	if code != 0 || m["complete"] != true || figure(t, m, "records") != records || figure(t, part(t, m, "resync"), "refilled") < 1000 {
		t.Errorf("sub: exit code %d, %v\n%s", code, m, sub.stderr)
	}
	out, code = again.finish()
	m = summary(t, out, "record.summary")
	if code != 0 || m["complete"] != true || figure(t, part(t, m, "resync"), "refilled") < 500 {
		t.Errorf("record: exit code %d, %v\n%s", code, m, again.stderr)
	}
	witness.finish()
	play.finish()
	if tapedeck(t, "cat", src) != tapedeck(t, "cat", rec) {
		t.Error("the recording is not the same as the tape")
	}
	tp, err := tape.Open(rec)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	if ext := tp.Extents(); len(ext) != 1 || ext[0].Len() != records {
		t.Errorf("the tape has %+v", ext)
	}
}

// TestSubscriberKilled: a subscriber that was killed goes on without a gap, and gets
// again only what it handled since it saved; one that was stopped goes on with
// exactly the next record.
func TestSubscriberKilled(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		signal os.Signal
		extra  []string
		exact  bool
	}{
		{"killed", os.Kill, nil, false}, {"killed with workers", os.Kill, []string{"--workers", "2"}, false}, {"stopped", os.Interrupt, nil, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			const records = 8000
			src, file := paced(t, dir, records, 1500), filepath.Join(dir, "desk.json")
			bind := "ipc://" + filepath.Join(dir, "s-{shard}")
			play := startReader(t, "play", src, "--shards", "2", "--wait", "2", "--live", "--bind", bind, "--resync-bind", "ipc://"+filepath.Join(dir, "r"))
			args := append([]string{"sub", "--shards", "2", "--connect", bind, "--resync", play.served(servingAt), "--resume", file, "--print", "--json"}, tc.extra...)
			witness := startReader(t, "sub", "--shards", "2", "--connect", bind, "--print")
			sub := startReader(t, args...)
			sub.further(500)
			eventually(func() bool { return there(file) || !sub.out.awaitLines(sub.out.count()+1) })
			sub.further(500)
			sub.signal(tc.signal)
			before, _ := sub.finish()
			witness.further(1000)
			again := startReader(t, args...)
			out, code := again.finish()
			m := summary(t, out, "sub.summary")
			healed := part(t, m, "resync")
			if code != 0 || m["complete"] != true || figure(t, m, "lost") != 0 || figure(t, healed, "refilled") == 0 || figure(t, healed, "twice")+figure(t, healed, "unsaid") != 0 {
				t.Errorf("exit code %d, %v\n%s", code, m, again.stderr)
			}
			if !strings.Contains(out, `"message_type":"sub.resume"`) || !strings.Contains(again.stderr.String(), "going on where "+file+" says") {
				t.Errorf("it does not say where it goes on\n%s", again.stderr)
			}
			one, two := recordsIn(t, before), recordsIn(t, out)
			_, next := spanOf(t, one)
			first, end := spanOf(t, two)
			repeated, total := 0, 0
			for topic, n := range next {
				if first[topic] > n {
					t.Errorf("%s: #%d follows #%d", topic, first[topic], n-1)
				}
				repeated += int(n - first[topic])
				total += int(end[topic])
			}
			t.Logf("%d records before, %d after, %d of them again", len(one), len(two), repeated)
			if total != records || len(one)+len(two)-repeated != records || tc.exact && repeated != 0 {
				t.Errorf("%d records in all, %d of them again", total, repeated)
			}
			witness.finish()
			play.finish()
		})
	}
}
