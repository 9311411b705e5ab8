package chaos

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/chaos/hostile"
	"github.com/tapedeck/tapedeck/chaos/rig"
	"github.com/tapedeck/tapedeck/keys"
)

// actor is a process of a scene.
type actor struct {
	*rig.Process
	metrics string // where it shows them
	exit    int    // its exit code when it is interrupted
}

// scene is one of everything that binds ports, and readers who want to go on reading.
type scene struct {
	t      *testing.T
	dir    string
	actors []*actor
	ports  []hostile.Port
	reader *actor // who wants every record
	player *actor
}

const (
	sceneShards = 2
	// sceneRecords at sceneRate a second are what the player plays, again and again.
	sceneRecords = 20_000
	sceneRate    = 2000
)

// wild binds one free port of this machine for each shard.
var wild = strings.TrimSuffix(strings.Repeat("tcp://127.0.0.1:*,", sceneShards), ",")

const free = "tcp://127.0.0.1:*"

// newScene starts it all. With locked processes with keys are there, too.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, dir: t.TempDir()}
	tape := filepath.Join(s.dir, "day.tape")
	rig.Run(t, "import", fmt.Sprintf("synth:topics=20,records=%d,rate=%d,size=64,seed=5", sceneRecords, sceneRate), "--shards", strconv.Itoa(sceneShards), "-o", tape)
	shards, refill := s.play("play", tape, nil)
	s.follow(shards, refill)
	s.serve(tape)
	s.locked(tape)
	return s
}

// start starts an actor.
func (s *scene) start(exit int, args ...string) *actor {
	s.t.Helper()
	a := &actor{Process: rig.Start(s.t, append(args, "--metrics", "127.0.0.1:0")...), exit: exit}
	if args[0] == "serve" {
		a.metrics = a.Await("serve.serving", nil).Text("metrics")
	} else {
		a.metrics = a.Await("metrics.serving", nil).Text("address")
	}
	a.metrics = strings.TrimPrefix(strings.TrimSuffix(a.metrics, "/metrics"), "http://")
	s.actors = append(s.actors, a)
	s.attack(args[0]+" metrics", "tcp://"+a.metrics, "", nil, nil)
	return a
}

// attack adds a port. The endpoint must be tcp.
func (s *scene) attack(name, endpoint, socket string, samples [][][]byte, lock *hostile.Lock) {
	s.t.Helper()
	address, ok := strings.CutPrefix(endpoint, "tcp://")
	if !ok {
		s.t.Fatalf("%s is bound to %q", name, endpoint)
	}
	s.ports = append(s.ports, hostile.Port{Name: name, Address: address, Socket: socket, Samples: samples, Lock: lock})
}

var playingOn = regexp.MustCompile(`playing .* on \[(.*)\]`)

// play starts a player, and returns the endpoints of shards and refills.
func (s *scene) play(name, tape string, lock *hostile.Lock, flags ...string) (shards, refill string) {
	s.t.Helper()
	a := s.start(130, append([]string{"play", tape, "--shards", strconv.Itoa(sceneShards), "--loop", "forever", "--live", "--wait", "1",
		"--bind", wild, "--resync-bind", free, "--resync-backend", free}, flags...)...)
	serving := a.Await("resync.serving", nil)
	refill = serving.Texts("endpoints")[0]
	a.AwaitText("playing ")
	endpoints := strings.Fields(playingOn.FindStringSubmatch(a.Stderr())[1])
	for i, e := range endpoints {
		s.attack(fmt.Sprintf("%s shard %d", name, i), e, "SUB", nil, lock)
	}
	s.attack(name+" refills", refill, "DEALER", append(vectors(s.t, "resync/*.txt"), refills(7)...), lock)
	s.attack(name+" tape readers", serving.Texts("backends")[0], "DEALER", readers(s.t), lock)
	if lock == nil {
		s.player = a
	}
	return strings.Join(endpoints, ","), refill
}

// follow starts those who read the stream: a reader that wants all of it, a recorder,
// and a pair of proxies.
func (s *scene) follow(shards, refill string) {
	s.t.Helper()
	n := strconv.Itoa(sceneShards)
	s.reader = s.start(130, "sub", "--shards", n, "--connect", shards, "--resync", refill, "--follow", "--by-reference", "off")
	session := s.reader.Await("sub.session", nil)
	epoch, err := strconv.ParseUint(fmt.Sprint(session["epoch"]), 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := range s.ports {
		if strings.HasSuffix(s.ports[i].Name, "refills") {
			s.ports[i].Samples = append(s.ports[i].Samples, refills(epoch)...)
		}
	}
	recorder := s.start(130, "record", "--shards", n, "--connect", shards, "--resync", refill, "-o", filepath.Join(s.dir, "copy.tape"),
		"--by-reference", "off", "--resync-bind", free, "--resync-backend", free)
	serving := recorder.Await("resync.serving", nil)
	s.attack("record refills", serving.Texts("endpoints")[0], "DEALER", append(vectors(s.t, "resync/*.txt"), refills(epoch)...), nil)
	s.attack("record tape readers", serving.Texts("backends")[0], "DEALER", readers(s.t), nil)

	links := rig.FreePorts(s.t, 2)
	for i, role := range []string{"primary", "backup"} {
		own, other := fmt.Sprintf("tcp://127.0.0.1:%d", links+i), fmt.Sprintf("tcp://127.0.0.1:%d", links+1-i)
		s.proxy("lvc "+role, shards, nil, "--resync", refill, "--pair", role, "--pair-bind", own, "--pair-peer", other)
		s.attack("lvc "+role+" pair", own, "SUB", nil, nil)
	}
}

// proxy starts a proxy of last values.
func (s *scene) proxy(name, shards string, lock *hostile.Lock, flags ...string) {
	s.t.Helper()
	snapshot, clone := rig.FreePorts(s.t, 3), rig.FreePorts(s.t, 3)
	a := s.start(130, append([]string{"lvc", "--shards", shards, "--plain", free, "--tap", free,
		"--snapshot", fmt.Sprintf("tcp://127.0.0.1:%d", snapshot), "--clone", fmt.Sprintf("tcp://127.0.0.1:%d", clone)}, flags...)...)
	serving := a.Await("lvc.serving", nil)
	own := lock // for ports that are not libzmq's
	if lock != nil {
		own = new(*lock)
		own.Unsealed = true
	}
	s.attack(name+" plain", serving.Texts("plain")[0], "SUB", nil, own)
	s.attack(name+" tap", serving.Text("tap"), "SUB", nil, own)
	samples := append(vectors(s.t, "chp/*.txt"), vectors(s.t, "resync/*.txt")...)
	for i, port := range []int{snapshot, clone} {
		s.attack(fmt.Sprintf("%s snapshots %d", name, i), fmt.Sprintf("tcp://127.0.0.1:%d", port), "DEALER", samples, lock)
		s.attack(fmt.Sprintf("%s updates %d", name, i), fmt.Sprintf("tcp://127.0.0.1:%d", port+1), "SUB", nil, lock)
	}
}

// serve starts a server of tapes, and serve with a deck.
func (s *scene) serve(tape string) {
	s.t.Helper()
	a := s.start(130, "resync", tape, "--bind", free, "--backend", free)
	serving := a.Await("resync.serving", nil)
	s.attack("resync refills", serving.Texts("endpoints")[0], "DEALER", vectors(s.t, "resync/*.txt"), nil)
	s.attack("resync tape readers", serving.Texts("backends")[0], "DEALER", readers(s.t), nil)

	decks := rig.FreePorts(s.t, sceneShards)
	config := filepath.Join(s.dir, "serve.toml")
	deck := fmt.Sprintf("[[deck]]\ntapes = [%q]\ndeck = \"day\"\nspeed = \"1x\"\npasses = -1\nlive = true\nbind = %q\n\n[[refill]]\ntape = %q\nbind = %q\n",
		filepath.Base(tape), fmt.Sprintf("tcp://127.0.0.1:%d+", decks), filepath.Base(tape), free)
	if err := os.WriteFile(config, []byte(deck), 0o600); err != nil {
		s.t.Fatal(err)
	}
	b := s.start(0, "serve", "--tapes", s.dir, "--config", config, "--bus", free, "--state", free)
	at := b.Await("serve.serving", nil)
	s.attack("serve bus", at.Text("bus"), "DEALER", requests(s.t), nil)
	s.attack("serve state", at.Text("state"), "DEALER", vectors(s.t, "chp/*.txt"), nil)
	s.attack("serve state updates", at.Text("state_updates"), "SUB", nil, nil)
	for i := range sceneShards {
		s.attack(fmt.Sprintf("serve deck %d", i), fmt.Sprintf("tcp://127.0.0.1:%d", decks+i), "SUB", nil, nil)
	}
}

// locked starts a player and a proxy with keys.
func (s *scene) locked(tape string) {
	s.t.Helper()
	var pair [2]hostile.Lock
	for i, name := range []string{"server", "desk"} {
		rig.Run(s.t, "keys", "new", name, "-o", s.dir)
		pair[i].Public, pair[i].Secret = readPair(s.t, filepath.Join(s.dir, name+".key"))
	}
	list := filepath.Join(s.dir, "authorized.toml")
	for _, name := range []string{"server", "desk"} {
		rig.Run(s.t, "keys", "allow", filepath.Join(s.dir, name+".pub"), "--roles", "admin", "--file", list)
	}
	lock := &hostile.Lock{Server: pair[0].Public, Public: pair[1].Public, Secret: pair[1].Secret}
	own := []string{"--key", filepath.Join(s.dir, "server.key"), "--authorized", list, "--server-key", filepath.Join(s.dir, "server.pub")}
	shards, refill := s.play("locked play", tape, lock, own...)
	s.proxy("locked lvc", shards, lock, append(own, "--resync", refill)...)
}

// readPair reads a pair of keys.
func readPair(t *testing.T, file string) (public, secret [32]byte) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for field, to := range map[string]*[32]byte{"public": &public, "secret": &secret} {
		m := regexp.MustCompile(`(?m)^` + field + ` = "(.*)"$`).FindSubmatch(text)
		if m == nil {
			t.Fatalf("%s has no %s key", file, field)
		}
		k, err := keys.ParseKey(string(m[1]))
		if err != nil {
			t.Fatal(err)
		}
		*to = k
	}
	return public, secret
}
