package majordomo

import (
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
)

// call is a request in the hands of a client, until it is answered or given up.
type call struct {
	content  frames // the service's name and the body, without a number
	number   uint64
	done     func(reply [][]byte, err error) // nil: answered is for whoever waits
	answered chan answer
	unwatch  func() bool // ends the watch over its context, where there is one

	lane     *lane
	phase    phase
	turn     bool // in a lane of one at a time: the try has begun
	back     pirate.Backoff
	due      time.Duration // waiting and flying: the end of the try; paused: of the pause
	began    time.Duration // the try
	put      uint64        // flying: its place among what was put into the lane's outbox
	tries    int           // that ended
	reasons  []string      // why
	at       []string      // endpoints that it was sent to
	all      node[call]    // in the client's open
	position node[call]    // in the list of its phase
}

// answer is what becomes of a call.
type answer struct {
	reply [][]byte
	err   error
}

// phase is where a call stands.
type phase uint8

const (
	phaseNone    phase = iota
	phaseWaiting       // to be sent; in its lane's queue
	phaseFlying        // sent, or in the outbox; in its lane's flight
	phasePaused        // between two tries; in the client's paused
)

func newCall() *call {
	k := &call{answered: make(chan answer, 1)}
	k.all.value, k.position.value = k, k
	return k
}

func (k *call) set(service string, body [][]byte) {
	k.content.reset()
	k.content.data = append(k.content.data, service...)
	k.content.ends = append(k.content.ends, len(service))
	for _, f := range body {
		k.content.add(f)
	}
}

// reset makes the call ready for another request. What callers were given of it is
// theirs.
func (k *call) reset() {
	k.content.reset()
	k.number, k.done, k.unwatch, k.lane, k.phase = 0, nil, nil, nil, phaseNone
	k.tries, k.reasons, k.at = 0, nil, nil
	k.back.Reset()
}

func (k *call) service() string { return string(k.content.at(0)) }

func (k *call) is(service []byte) bool { return string(k.content.at(0)) == string(service) }

// ended takes note of the end of a try.
func (k *call) ended(reason string) {
	k.tries++
	if !slices.Contains(k.reasons, reason) {
		k.reasons = append(k.reasons, reason)
	}
}

// sentTo takes note of where it was sent.
func (k *call) sentTo(endpoint string) {
	if !slices.Contains(k.at, endpoint) {
		k.at = append(k.at, endpoint)
	}
}

func (k *call) unanswered(cause error) *UnansweredError {
	return &UnansweredError{Service: k.service(), Endpoints: k.at, Tries: k.tries, Reasons: k.reasons, Err: cause}
}
