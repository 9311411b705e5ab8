package main

import (
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/control"
)

// The parts of serve, in the order in which they start; they stop the other way
// round.
const (
	partMetrics  = "metrics"
	partBroker   = "broker"
	partState    = "state"
	partDecks    = "decks"
	partTapes    = "tapes"
	partRecorder = "recorder"
	partLVC      = "lvc"
	partRefill   = "refill"
	partJobs     = "jobs"
	partStatus   = "status"
)

var serveParts = []string{
	partMetrics, partBroker, partState, partDecks, partTapes, partRecorder, partLVC, partRefill, partJobs, partStatus,
}

const (
	stateDefault   = "tcp://127.0.0.1:7410"
	metricsDefault = "127.0.0.1:7480"
	deckPorts      = "7100-7199"
	workDefault    = ".tapedeck"
)

// serveConfig is what serve.toml and the flags say. docs/CONFIG.md tells every
// setting.
type serveConfig struct {
	parts  []string
	bus    string
	listen []string
	tapes  string
	files  []string
	work   string
	keys   lockFlags

	broker struct {
		heartbeat, life time.Duration
		liveness        int
		requests        int
		clientRequests  int
		requestBytes    int64
		bytes           int64
		clientBytes     int64
		services        int
		workers         int

		pair, pairBind, pairPeer    string
		pairBus                     string
		pairHeartbeat, pairFailback time.Duration
	}
	decks struct {
		max      int
		address  string
		ports    string
		commands int
		speed    string
		clock    string
		resync   string
		pair     decksPairSettings
	}
	state struct {
		bind      string
		position  time.Duration
		readers   time.Duration
		readerTTL time.Duration
	}
	tape struct {
		commands int
		list     int
		records  int
	}
	recorder struct {
		max      int
		commands int
		codec    string
		sync     time.Duration
	}
	lvc struct {
		shards              string
		count               int
		plain               []string
		snapshot, clone     string
		tap                 string
		tapRate             int
		warm, resync        string
		maxTopics           int
		perAddress          int
		maxBytes, queueSize int64
		pair                pairSettings
		keep                time.Duration
		keepBytes           int64
	}
	jobs struct {
		max      int
		bytes    int64
		atOnce   int
		workers  int
		retry    time.Duration
		retryMax time.Duration
		expire   time.Duration
		locked   string
		// takeAfter is after how long without a sign of life jobs are taken.
		takeAfter time.Duration
	}
	replies struct {
		max   int
		bytes int64
		life  time.Duration
	}
	metrics struct{ bind string }

	deck      []map[string]any // opened when serve starts, in the words of the command open
	recording []map[string]any // begun when serve starts, in the words of the command start
	refill    []map[string]any // tapes that are served to who missed something
}

// newServeConfig returns the defaults.
func newServeConfig() *serveConfig {
	c := &serveConfig{
		parts: slices.Clone(serveParts), bus: control.BusDefault, listen: []string{}, tapes: ".", files: []string{}, work: workDefault,
		keys: lockDefaults(),
	}
	b := &c.broker
	b.heartbeat, b.liveness, b.life = 2500*time.Millisecond, 3, 30*time.Second
	b.clientRequests, b.clientBytes = 10_000, 128<<20
	b.requests, b.bytes, b.requestBytes, b.services, b.workers = 100_000, 256<<20, 4<<20, 1024, 4096
	b.pairHeartbeat = pairHeartbeat
	d := &c.decks
	d.max, d.address, d.ports, d.commands, d.speed, d.clock, d.resync = 64, "127.0.0.1", deckPorts, 16, "1x", "receive", "tcp://127.0.0.1:*"
	d.pair.heartbeat, d.pair.back = pairHeartbeat, time.Second
	c.state.bind, c.state.position, c.state.readers, c.state.readerTTL = stateDefault, 200*time.Millisecond, time.Second, 3*time.Second
	c.tape.commands, c.tape.list, c.tape.records = 4, 10_000, 1000
	c.recorder.max, c.recorder.commands, c.recorder.sync = 16, 4, time.Second
	l := &c.lvc
	l.plain, l.tapRate, l.maxTopics, l.maxBytes, l.queueSize = []string{plainDefault}, 10_000, 1_000_000, 1<<30, 64<<20
	l.pair.heartbeat, l.keepBytes = pairHeartbeat, 128<<20
	c.jobs.max, c.jobs.bytes, c.jobs.atOnce, c.jobs.workers = 10_000, 1<<30, 4, 2
	c.jobs.retry, c.jobs.retryMax, c.jobs.expire = time.Second, time.Minute, 7*24*time.Hour
	c.jobs.locked, c.jobs.takeAfter = lockedRefuse, 10*time.Second
	c.replies.max, c.replies.bytes, c.replies.life = 65_536, 64<<20, 10*time.Minute
	c.metrics.bind = metricsDefault
	return c
}

// has reports whether a part runs here.
func (c *serveConfig) has(part string) bool { return slices.Contains(c.parts, part) }

// check finds what settings say that cannot be, one by one or together.
func (c *serveConfig) check() error {
	if len(c.parts) == 0 {
		return usagef("parts: want at least one of %s", strings.Join(serveParts, ", "))
	}
	for _, p := range c.parts {
		if !slices.Contains(serveParts, p) {
			return withHint(usagef("parts: there is no part %q", p), didYouMean(p, serveParts))
		}
	}
	if _, _, err := portRange(c.decks.ports); err != nil {
		return usagef("decks.ports: %v", err)
	}
	if c.state.readerTTL%time.Second != 0 {
		return usagef("state.reader_ttl %v: want whole seconds; Clone has no shorter ones", c.state.readerTTL)
	}
	if c.state.readerTTL <= c.state.readers {
		return usagef("state.reader_ttl %v: want more than state.readers, which is %v", c.state.readerTTL, c.state.readers)
	}
	if err := c.checkPair(); err != nil {
		return err
	}
	if err := c.checkLVC(); err != nil {
		return err
	}
	if err := c.checkDecks(); err != nil {
		return err
	}
	if !slices.Contains([]string{lockedRefuse, lockedWait, lockedTake}, c.jobs.locked) {
		return usagef("jobs.locked %q: want %q, %q or %q", c.jobs.locked, lockedRefuse, lockedWait, lockedTake)
	}
	for key, e := range map[string][]string{
		"bus": c.busEndpoints()[:1], "broker.pair_bind": {c.broker.pairBind}, "broker.pair_bus": {c.broker.pairBus}, "state.bind": {c.state.bind}, "decks.resync": {c.decks.resync}, "decks.address": {c.decks.address + ":0"}, "metrics.bind": {c.metrics.bind},
		"lvc.plain": c.lvc.plain, "lvc.snapshot": {c.lvc.snapshot}, "lvc.clone": {c.lvc.clone}, "lvc.tap": {c.lvc.tap},
		"lvc.pair_bind": {c.lvc.pair.bind}, "lvc.pair_bus": {c.lvc.pair.bus},
		"decks.pair_bind": {c.decks.pair.bind}, "decks.pair_bus": {c.decks.pair.bus},
	} {
		if key == "bus" && !c.has(partBroker) {
			continue // it is connected to
		}
		may := c.mayListen
		if key == "metrics.bind" {
			may = c.reachesOut // it has no keys
		}
		for _, endpoint := range e {
			if err := may(endpoint); err != nil {
				return withHint(usagef("%s: %v", key, err), "--key and --authorized say who may come from there (docs/OPERATIONS.md); listen, or --listen, lets everybody in")
			}
		}
	}
	return nil
}

// workDir is the directory for what must outlive the process.
func (c *serveConfig) workDir(tapes string) string {
	if filepath.IsAbs(c.work) {
		return c.work
	}
	return filepath.Join(tapes, c.work)
}

// mayListen reports whether an endpoint may be bound. Whoever reaches the bus can
// command everything, and a stream may not be for everybody: without keys, or a word of
// the operator, only this machine gets there.
func (c *serveConfig) mayListen(endpoint string) error {
	if c.keys.key != "" && c.keys.authorized != "" {
		return nil
	}
	return c.reachesOut(endpoint)
}

// reachesOut returns an error where more than this machine, and the addresses that the
// operator has allowed, can reach an endpoint.
func (c *serveConfig) reachesOut(endpoint string) error {
	host, ok := strings.CutPrefix(endpoint, "tcp://")
	if !ok {
		switch scheme, _, found := strings.Cut(endpoint, "://"); {
		case !found:
			host = endpoint // an address of HTTP
			if _, err := strconv.Atoi(host); err == nil {
				return nil // a port of this machine alone
			}
		case scheme == "ipc", scheme == "inproc":
			return nil
		case slices.Contains(c.listen, "*"):
			return nil
		default:
			return fmt.Errorf("%s reaches beyond this machine", endpoint)
		}
	}
	if host == "" || host == "off" {
		return nil
	}
	i := strings.LastIndexByte(host, ':')
	if i < 0 {
		return fmt.Errorf("%q has no port", endpoint)
	}
	host = strings.Trim(host[:i], "[]")
	if host == "localhost" || host == "lo" || slices.Contains(c.listen, host) || slices.Contains(c.listen, "*") {
		return nil
	}
	if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("%s can be reached from beyond this machine", endpoint)
}

// mayBind reports whether a command of the bus may have an endpoint bound.
func (c *serveConfig) mayBind(endpoint string) error {
	if err := c.mayListen(endpoint); err != nil {
		return &control.Error{Code: control.Refused, Reason: err.Error(), Try: "bind to this machine, such as tcp://127.0.0.1:*, or start serve with --key and --authorized, or --listen"}
	}
	// libzmq removes what is at the path before it binds there.
	path, ok := strings.CutPrefix(endpoint, "ipc://")
	if !ok || strings.HasPrefix(path, "@") {
		return nil
	}
	there, err := filepath.Glob(strings.ReplaceAll(escapeGlob(path), "{shard}", "*"))
	if err != nil {
		return usageError{err}
	}
	for _, name := range there {
		if info, err := os.Lstat(name); err == nil && info.Mode()&fs.ModeSocket == 0 {
			return &control.Error{Code: control.Refused, Reason: endpoint + ": " + name + " is there, and is no socket", Try: "choose another path"}
		}
	}
	return nil
}

// portRange reads FIRST-LAST.
func portRange(s string) (first, last int, err error) {
	if n, err := fmt.Sscanf(s, "%d-%d", &first, &last); err != nil || n != 2 || fmt.Sprintf("%d-%d", first, last) != s ||
		first < 1 || last > 65535 || first > last {
		return 0, 0, fmt.Errorf("%q: want FIRST-LAST, such as %s", s, deckPorts)
	}
	return first, last, nil
}
