package chaos

import (
	"context"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/hostile"
	"github.com/tapedeck/tapedeck/chaos/rig"
)

// framesDefault is what `make test` sends; `make hostile COUNT=10000000` sends more.
const framesDefault = 60_000

// TestHostile lets hostile peers at every port of a scene, and holds that
//
//   - nobody crashes, and everybody ends as told;
//   - memory, goroutines, threads and descriptors are the same after it as half way
//     through: what is kept for peers within a bound, replies for one, is full then;
//   - what was wrong has been counted;
//   - a reader and a recorder beside all this get every record, and the pair is one.
//
// $TAPEDECK_HOSTILE says how many frames, $TAPEDECK_SEED what is in them, and
// $TAPEDECK_PORTS which ports get them: a regular expression of names.
func TestHostile(t *testing.T) {
	wanted := regexp.MustCompile(os.Getenv("TAPEDECK_PORTS"))
	frames, seed := number(t, "TAPEDECK_HOSTILE", framesDefault), number(t, "TAPEDECK_SEED", 1)
	s := newScene(t)
	s.ports = slices.DeleteFunc(s.ports, func(p hostile.Port) bool { return !wanted.MatchString(p.Name) })
	t.Logf("%d frames to %d ports of %d processes; TAPEDECK_SEED=%d", frames, len(s.ports), len(s.actors), seed)
	fresh, begun := s.looks(nil), time.Now()
	s.torment(frames/2, seed)
	t.Logf("half of it took %v", time.Since(begun).Round(time.Millisecond))
	before := s.looks(nil)
	tallies := s.torment(frames-frames/2, ^seed)
	after := s.looks(before)
	s.report(tallies)
	for i, a := range s.actors {
		t.Logf("%-7s fresh: %v", a.Name(), fresh[i])
		compare(t, a.Name(), before[i], after[i])
	}
	s.counted()
	s.end()
}

// torment sends frames to all ports and holds that nobody ended.
func (s *scene) torment(frames, seed uint64) []hostile.Tally {
	s.t.Helper()
	tallies := hostile.Run(context.Background(), hostile.Config{Ports: s.ports, Frames: frames, Seed: seed})
	for _, a := range s.actors {
		if !a.Running() {
			s.t.Errorf("%s (%d) ended:\n%s", a.Name(), a.PID(), a.Stderr())
		}
	}
	for _, tally := range tallies {
		if tally.Refused > 0 {
			s.t.Errorf("%s: %d connections were refused", tally.Port, tally.Refused)
		}
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
	return tallies
}

// Bounds of what may change between the two looks.
const (
	growthRatio = 1.2
	growthBytes = 16 << 20 // what a heap may be larger by chance
	growthFew   = 10       // descriptors, threads, goroutines
)

func within(before, after rig.Look) bool {
	return float64(after.Resident) <= max(float64(before.Resident)*growthRatio, float64(before.Resident+growthBytes)) &&
		after.Files <= before.Files+growthFew && after.Threads <= before.Threads+growthFew && after.Goroutines <= before.Goroutines+growthFew
}

func compare(t *testing.T, name string, before, after rig.Look) {
	t.Helper()
	t.Logf("%-7s half way: %v; after: %v", name, before, after)
	if !within(before, after) {
		t.Errorf("%s: from %v to %v", name, before, after)
	}
}

// settleMax is how long a process has for letting go of what connections that have
// ended took.
const settleMax = 30 * time.Second

// looks looks at every actor once it has let go of what connections that have ended
// took: where before is given, when it is as then or settleMax has passed; else when
// for a second nothing has gone.
func (s *scene) looks(before []rig.Look) []rig.Look {
	s.t.Helper()
	all := make([]rig.Look, len(s.actors))
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	look := func(less func(was, is rig.Look) bool) (fewer bool) {
		for i, a := range s.actors {
			is := a.Look(a.metrics)
			fewer = fewer || less(all[i], is)
			all[i] = is
		}
		return fewer
	}
	for until, still := time.Now().Add(settleMax), 0; still < 4 && time.Now().Before(until); <-tick.C {
		if still++; look(func(was, is rig.Look) bool { return is.Files < was.Files || is.Goroutines < was.Goroutines-growthFew }) {
			still = 0
		}
		if before != nil && !slices.ContainsFunc(s.indices(), func(i int) bool { return !within(before[i], all[i]) }) {
			break
		} else if before != nil {
			still = 0
		}
	}
	return all
}

// indices are those of the actors.
func (s *scene) indices() []int {
	all := make([]int, len(s.actors))
	for i := range all {
		all[i] = i
	}
	return all
}

func (s *scene) report(tallies []hostile.Tally) {
	var sum hostile.Tally
	for _, y := range tallies {
		s.t.Logf("%-24s %9d frames, %6d connections (%d cut), %5d MiB", y.Port, y.Frames, y.Connections, y.Cut, y.Bytes>>20)
		sum.Frames += y.Frames
		sum.Connections += y.Connections
		sum.Bytes += y.Bytes
		for m, n := range y.Moves {
			sum.Moves[m] += n
		}
	}
	s.t.Logf("%d frames, %d connections, %d MiB", sum.Frames, sum.Connections, sum.Bytes>>20)
	for m, n := range sum.Moves {
		s.t.Logf("  %-10v %9d", hostile.Move(m), n)
		if n == 0 {
			s.t.Errorf("%v was never tried", hostile.Move(m))
		}
	}
}

// counters are those that what is wrong must move, by command.
var counters = map[string][]string{
	"play": {"tapedeck_publisher_foreign_frames_total", "tapedeck_publisher_refused_frames_total",
		"tapedeck_resync_server_malformed_messages_total", "tapedeck_resync_server_foreign_messages_total"},
	"record": {"tapedeck_resync_server_malformed_messages_total", "tapedeck_resync_server_foreign_messages_total"},
	"resync": {"tapedeck_resync_server_malformed_messages_total", "tapedeck_resync_server_foreign_messages_total"},
	"lvc": {"tapedeck_lvc_refused_connections_total", "tapedeck_lvc_refused_subscriptions_total", "tapedeck_lvc_foreign_messages_total",
		"tapedeck_clone_refused_requests_total", "tapedeck_resync_server_malformed_messages_total"},
	"serve": {"tapedeck_broker_malformed_messages_total", "tapedeck_clone_refused_requests_total"},
}

// counted holds that what ours refuses has moved a counter.
func (s *scene) counted() {
	sums := map[string]float64{}
	for _, a := range s.actors {
		m := a.Metrics(a.metrics)
		for _, name := range counters[a.Name()] {
			sums[a.Name()+": "+name] += rig.Sum(m, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		s.t.Logf("%s %.0f", name, sums[name])
		if sums[name] == 0 {
			s.t.Errorf("%s has not moved", name)
		}
	}
}

// end ends everybody, those who read first, and holds that they did their work
// meanwhile.
func (s *scene) end() {
	s.t.Helper()
	for _, names := range []string{"sub record lvc", "play resync serve"} {
		for _, a := range s.actors {
			if !strings.Contains(names, a.Name()) {
				continue
			}
			a.Signal(os.Interrupt)
			if code := a.End(); code != a.exit {
				s.t.Errorf("%s: exit code %d, want %d\n%s", a.Name(), code, a.exit, a.Stderr())
			}
		}
	}
	sub := s.reader.Await("sub.summary", nil)
	s.t.Logf("the reader: %v", sub)
	if sub.Number("records") == 0 || sub.Number("gaps") != 0 || sub.Number("lost") != 0 || sub.Number("corrupt") != 0 || sub.Number("refused") != 0 {
		s.t.Errorf("the reader beside it: %v", sub)
	}
	if v := rig.Run(s.t, "verify", filepath.Join(s.dir, "copy.tape")); v["ok"] != true || v["closed"] != true || v.Number("records") == 0 || v.Number("gaps") != 0 {
		s.t.Errorf("what was recorded beside it: %v", v)
	}
}
