package majordomo

import (
	"bytes"
	"time"
)

// machine is what a broker knows and decides. It is pure: events come in through
// the methods, with the time as a duration since some start; what is to be done is
// appended to acts, which the caller takes and empties after every event. What the
// acts refer to stays until then.
type machine struct {
	cfg      bounds
	services map[string]*service
	peers    map[string]*peer
	clients  map[string]*client
	numbered map[numberKey]*job
	listed   list[peer] // all peers, in the order of their joining
	open     list[job]  // all requests, in the order of their arrival
	waiting  int        // requests that no worker has
	bytes    int        // of all requests
	last     uint64     // ticket
	spare    []*job     // closed, to be used again
	unused   []*assignment
	queues   []*queue // empty, to be used again
	scratch  []*job
	acts     []act
	count    BrokerCounters

	ticked, beaten time.Duration
	stopping       bool
	resigned       bool // another broker takes requests
}

// bounds are the times and limits of a machine.
type bounds struct {
	heartbeat   time.Duration
	idleSilence time.Duration // of a waiting worker, until it is forgotten
	busySilence time.Duration // of a worker at work, until its request is given to another
	life        time.Duration // of a request
	lives       map[string]time.Duration
	unknownLife time.Duration // of a request whose service has no worker

	services, requests, serviceRequests, clientRequests, clientBytes, bytes, requestBytes, workers int
}

// service is known while it has a worker, listed or lost, or a request.
type service struct {
	name    []byte
	life    time.Duration // of its requests
	workers int           // that live
	lost    int           // listed, and silent at work
	open    int           // requests
	ready   list[peer]    // that take a request, the least recently used first
	waiting int           // requests that no worker has
	queues  map[*client]*queue
	turns   list[queue]   // the same, whose turn it is first
	emptied time.Duration // since when it has no worker, where it has none
}

// client is known while it has requests; the sweep forgets it.
type client struct {
	address []byte
	open    int
	bytes   int // of the requests
}

// numberKey is what a numbered request is known by. Where the number is taken to
// be nobody else's the client is nil.
type numberKey struct {
	service *service
	client  *client
	number  uint64
}

// job is a request.
type job struct {
	ticket   uint64
	service  *service
	client   *client
	path     frames // further addresses of the client
	body     frames
	size     int
	key      numberKey
	number   uint64
	hasNum   bool // the body begins with a number frame
	keyed    bool // it is in numbered
	waits    bool
	arrived  time.Duration
	deadline time.Duration
	tries    int
	holders  [triesMax]*assignment // to workers that have it, or had it when they fell silent
	all      node[job]
	queue    *queue    // that it waits in
	place    node[job] // there
}

// queue is what waits of one client for a service. Queues take turns, so that a client
// with many requests does not keep others from getting an answer.
type queue struct {
	client *client
	jobs   list[job] // in the order of their arrival
	place  node[queue]
}

// triesMax is how many workers get a request at most: the first, and another
// where that one dies.
const triesMax = 2

// peer is a worker as the broker sees it.
type peer struct {
	address []byte
	service *service
	depth   int              // how many requests it takes at once
	held    list[assignment] // what it was given and has not answered, the oldest first
	lost    bool             // silent at work; its requests were taken from it, its answers are still welcome
	heard   time.Duration
	beaten  time.Duration // when it was last sent something
	all     node[peer]
	place   node[peer] // in its service's ready
}

// assignment is a request in a worker's hands.
type assignment struct {
	peer     *peer
	job      *job   // nil: answered or failed meanwhile
	client   []byte // the address that the worker was given it with
	position node[assignment]
}

// act is something for the caller to do.
type act struct {
	do      deed
	address []byte // actDisconnect
	peer    *peer  // actSend, actBeat
	client  []byte // actSend
	job     *job   // actSend, actFail, actDrop
	reason  Reason // actFail
}

type deed uint8

const (
	actSend       deed = iota // the request to the worker
	actBeat                   // a heartbeat to the worker
	actDisconnect             // DISCONNECT to that address
	actFail                   // tell the client why its request has failed; actDrop follows
	actDrop                   // the request is over; recycle it
)

func newMachine(cfg bounds) *machine {
	return &machine{cfg: cfg, services: map[string]*service{}, peers: map[string]*peer{}, clients: map[string]*client{}, numbered: map[numberKey]*job{}}
}

func (m *machine) do(a act) { m.acts = append(m.acts, a) }

// serve returns the service of this name, made where it is not known, or nil where
// there are too many.
func (m *machine) serve(now time.Duration, name []byte) *service {
	s := m.services[string(name)]
	if s == nil && len(m.services) < m.cfg.services {
		s = &service{name: bytes.Clone(name), life: m.cfg.life, emptied: now, queues: map[*client]*queue{}}
		if life, ok := m.cfg.lives[string(name)]; ok {
			s.life = life
		}
		m.services[string(name)] = s
	}
	return s
}

// leave forgets a service that nobody needs.
func (m *machine) leave(s *service) {
	if s.workers == 0 && s.lost == 0 && s.open == 0 {
		delete(m.services, string(s.name))
	}
}

// workersOf is how many workers of a service live.
func (m *machine) workersOf(name []byte) int {
	if s := m.services[string(name)]; s != nil {
		return s.workers
	}
	return 0
}

// probe has the workers of a service sent something, so that those that are gone
// are found out, unless they were a short while ago.
func (m *machine) probe(now time.Duration, name []byte) {
	s := m.services[string(name)]
	if s == nil {
		return
	}
	for n := m.listed.first; n != nil; n = n.next {
		if p := n.value; p.service == s && !p.lost && now-p.beaten >= m.cfg.heartbeat/ticksPerBeat {
			m.beat(now, p)
		}
	}
}

func (m *machine) beat(now time.Duration, p *peer) {
	p.beaten = now
	m.do(act{do: actBeat, peer: p})
}

// listens reports whether p is still the worker that is listed.
func (m *machine) listens(p *peer) bool { return m.peers[string(p.address)] == p }
