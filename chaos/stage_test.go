package chaos

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/chaos/ground"
	"github.com/tapedeck/tapedeck/chaos/rig"
)

// The hosts of a stage.
const (
	deckHost = iota
	primaryHost
	backupHost
	deskHost
	archiveHost
)

// The networks of a stage.
const (
	frontNet = iota // records and clients
	linkNet         // between the two of a pair
	networks
)

// stage is hosts on which tapedeck runs.
type stage struct {
	t      *testing.T
	ground *ground.Ground
	dir    string
	rand   *rand.Rand
}

// newStage makes the hosts. It skips the test where it is not asked for, or rights lack.
func newStage(t *testing.T) *stage {
	t.Helper()
	if os.Getenv("TAPEDECK_CHAOS") == "" {
		t.Skip("make chaos runs this")
	}
	seed := number(t, "TAPEDECK_SEED", rand.Uint64())
	t.Logf("TAPEDECK_SEED=%d", seed)
	return &stage{t: t, dir: t.TempDir(), rand: rand.New(rand.NewPCG(seed, 1)),
		ground: ground.New(t, seed, networks, "deck", "primary", "backup", "desk", "archive")}
}

// start starts tapedeck on a host.
func (s *stage) start(host int, args ...string) *rig.Process {
	s.t.Helper()
	return rig.StartCommand(s.t, args[0], s.ground.Command(host, rig.Binary(s.t), append(args, "--json")...))
}

// at is an endpoint of a host.
func (s *stage) at(network, host, port int) string {
	return fmt.Sprintf("tcp://%s:%d", s.ground.Address(network, host), port)
}

// tape makes a tape of records at so many a second.
func (s *stage) tape(records, rate, shards int) string {
	s.t.Helper()
	path := filepath.Join(s.dir, "day.tape")
	rig.Run(s.t, "import", fmt.Sprintf("synth:topics=50,records=%d,rate=%d,size=64,seed=9", records, rate), "--shards", strconv.Itoa(shards), "-o", path)
	return path
}

// pause lets what runs run on: the moments are the test's input.
func (s *stage) pause(from, to time.Duration) {
	time.Sleep(from + time.Duration(s.rand.Int64N(int64(to-from)+1)))
}

// until looks again and again whether something has come true; the test's own time is
// the bound.
func until(ok func() bool) {
	for tick := time.NewTicker(20 * time.Millisecond); !ok(); <-tick.C {
	}
}

// checkTape verifies a tape, and that it has so many records, none missing.
func (s *stage) checkTape(path string, records int) {
	s.t.Helper()
	v := rig.Run(s.t, "verify", path)
	if v["ok"] != true || v["closed"] != true || v.Number("records") != float64(records) || v.Number("gaps") != 0 {
		s.t.Errorf("%s: %v", path, v)
	}
}
