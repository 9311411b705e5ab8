package metrics

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Config is what a Set is made from. The zero value of a field means its default.
type Config struct {
	// Version is the program's, Libzmq that of libzmq, both for people.
	Version, Libzmq string
	// Answer bounds how long a part, or a check, is waited for. Default 1 s.
	Answer time.Duration
}

// Set is the parts of a process and its checks. All methods may be called from any
// goroutine.
type Set struct {
	cfg      Config
	registry *prometheus.Registry
	root     *Scope

	scrape sync.Mutex // one at a time: a part that is being asked hangs

	mu     sync.Mutex
	parts  []*part
	checks []*check
}

// answerDefault is how long a part is waited for: much less than a scrape may take.
const answerDefault = time.Second

var (
	buildInfo  = gauge("build_info", "", "1; the labels say what this program is.", "version", "go_version", "libzmq_version")
	unanswered = gauge("parts_unanswered", "parts", "Parts of the process that did not answer this scrape in time, so that their metrics are missing.")
	checkOK    = gauge("check_ok", "", "1 where a check of /readyz is passed, else 0.", "check")
)

// New returns a set that shows the Go runtime, the process and what was built.
func New(cfg Config) *Set {
	if cfg.Answer <= 0 {
		cfg.Answer = answerDefault
	}
	s := &Set{cfg: cfg, registry: prometheus.NewRegistry()}
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}), collector{s})
	s.root = &Scope{set: s}
	s.root.add(func(e *emitter) { e.add(buildInfo, 1, cfg.Version, runtime.Version(), cfg.Libzmq) })
	return s
}

// Gatherer returns what a scrape sees.
func (s *Set) Gatherer() prometheus.Gatherer { return s.registry }

// Scope is parts of one thing that a process may have several of, such as the decks of
// tapedeck serve: constant labels on their metrics tell them apart.
type Scope struct {
	set    *Set
	labels prometheus.Labels
	text   string // the same, to be sorted by
}

// Root is the scope without labels.
func (s *Set) Root() *Scope { return s.root }

// labelForm is what a label of a scope may be called; labelMax bounds its value.
var labelForm = regexp.MustCompile(`^[a-z][a-z_]*$`)

const labelMax = 128

// Scope returns a scope with constant labels, given as names and values in turn:
// Scope("deck", "es"). Values are for things that the operator has named and that are
// bounded in number, never for what a peer or a record says. Labels that are no names,
// or too long, panic. Two scopes that are open must not have the same labels: of two
// metrics that are alike a scrape has one, and counts an error.
func (s *Set) Scope(labels ...string) *Scope {
	sc := &Scope{set: s, labels: prometheus.Labels{}}
	if len(labels)%2 != 0 {
		panic(fmt.Sprintf("BUG: metrics: labels %q are no pairs", labels))
	}
	for pair := range slices.Chunk(labels, 2) {
		if !labelForm.MatchString(pair[0]) || len(pair[1]) > labelMax {
			panic(fmt.Sprintf("BUG: metrics: label %q of %q", pair[0], pair[1]))
		}
		sc.labels[pair[0]] = strings.ToValidUTF8(pair[1], "?")
		sc.text += pair[0] + "=" + pair[1] + "\x00"
	}
	return sc
}

// Close takes the scope's parts and checks away, and waits for those that are being
// asked, for as long as a scrape would. After that nothing of the scope is called any
// more, unless it hangs.
func (sc *Scope) Close() {
	s := sc.set
	s.mu.Lock()
	var gone []*asked
	s.parts = slices.DeleteFunc(s.parts, func(p *part) bool {
		if p.scope == sc {
			gone = append(gone, &p.asked)
		}
		return p.scope == sc
	})
	s.checks = slices.DeleteFunc(s.checks, func(c *check) bool {
		if c.scope == sc {
			gone = append(gone, &c.asked)
		}
		return c.scope == sc
	})
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Answer)
	defer cancel()
	for _, a := range gone {
		a.end(ctx)
	}
}

// part is what is asked for numbers at a scrape.
type part struct {
	asked
	scope   *Scope
	collect func(*emitter)
	descs   map[*Family]*prometheus.Desc
}

func (sc *Scope) add(collect func(*emitter)) {
	p := &part{asked: newAsked(), scope: sc, collect: collect, descs: map[*Family]*prometheus.Desc{}}
	sc.set.mu.Lock()
	defer sc.set.mu.Unlock()
	sc.set.parts = append(sc.set.parts, p)
}

func (p *part) desc(f *Family) *prometheus.Desc {
	d := p.descs[f]
	if d == nil {
		d = prometheus.NewDesc(f.Name, f.Help, f.Labels, p.scope.labels)
		p.descs[f] = d
	}
	return d
}

// answer returns all that a part has to say.
func (p *part) answer() []prometheus.Metric {
	e := emitter{part: p}
	p.collect(&e)
	return e.out
}

// collector collects all parts for a registry. It describes nothing beforehand: parts
// come and go.
type collector struct{ set *Set }

// Describe implements prometheus.Collector.
func (c collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.set
	s.scrape.Lock()
	defer s.scrape.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Answer)
	defer cancel()
	s.mu.Lock()
	parts := slices.Clone(s.parts)
	s.mu.Unlock()
	own := part{scope: s.root, descs: map[*Family]*prometheus.Desc{}}
	e := emitter{part: &own}
	e.add(unanswered, count(askAll(ctx, parts, func(_ *part, said []prometheus.Metric) {
		for _, m := range said {
			ch <- m
		}
	})))
	for _, r := range s.results(ctx) {
		p := part{scope: r.check.scope, descs: map[*Family]*prometheus.Desc{}}
		e.part = &p
		e.add(checkOK, truth(r.err == nil), r.check.name)
	}
	for _, m := range e.out {
		ch <- m
	}
}
