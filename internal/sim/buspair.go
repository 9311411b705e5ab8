package sim

import (
	"time"

	"github.com/tapedeck/tapedeck/control/binarystar"
)

// runBusPair is the bus with a pair of brokers, of which one is active. Clients and
// workers know both. What must hold beside what holds of a bus:
//
//  5. When all is calm, and somebody has asked, one broker is active and the other one
//     passive.
func runBusPair(w *World) { newBusRun(w, true).run() }

// busHalf is what makes a broker one of a pair.
type busHalf struct {
	b      *busBroker
	role   binarystar.Role
	peer   *busHalf
	out    *link               // to the peer
	m      *binarystar.Machine // nil: it could not start
	epochs *binarystar.Epochs
}

// pair makes the two brokers a pair, and returns their link.
func (r *busRun) pair() []*link {
	a := &busHalf{b: r.brokers[0], role: binarystar.Primary}
	b := &busHalf{b: r.brokers[1], role: binarystar.Backup, peer: a}
	a.peer, a.b.half, b.b.half = b, a, b
	a.out, b.out = r.w.link(a.b.p, b.b.p), r.w.link(b.b.p, a.b.p)
	return []*link{a.out, b.out}
}

// boot is a start; false where the epochs cannot be kept.
func (h *busHalf) boot() bool {
	h.m = nil
	p := h.b.p
	var err error
	if h.epochs, err = binarystar.OpenEpochs(p.fs, "pair"); err != nil {
		h.b.run.w.Logf("%v: %v", h.role, err)
		p.Again()
		return false
	}
	h.m = binarystar.NewMachine(binarystar.MachineConfig{Role: h.role, Expiry: 2 * h.b.run.heartbeat, Epoch: h.epochs.Known()}, p.Now())
	p.Every(func() time.Duration { return h.b.run.heartbeat }, h.say)
	p.After(0, h.say)
	return true
}

// accept is the broker's.
func (h *busHalf) accept(vote bool) bool {
	if !vote {
		state, _ := h.m.State()
		return state == binarystar.Active
	}
	refused, out := h.m.Request(h.b.p.Now())
	h.act(out)
	return refused == ""
}

func (h *busHalf) say() {
	state, epoch := h.m.State()
	h.out.send(func() { h.peer.hear(state, epoch) })
}

func (h *busHalf) hear(state binarystar.State, epoch uint64) {
	if h.m == nil {
		return
	}
	if mine, _ := h.m.State(); h.b.run.w.bug != bugBusPairDeaf || mine != binarystar.Active || state != binarystar.Active {
		h.act(h.m.Peer(h.b.p.Now(), state, epoch))
	}
}

// act does what the machine asks for, as a Pair does.
func (h *busHalf) act(out binarystar.Outcome) {
	if out.Announce {
		h.b.p.After(0, h.say)
	}
	_, known := h.m.State()
	err := h.epochs.Keep(known)
	if out.Became == 0 {
		return
	}
	h.b.run.w.Logf("the %v is %v in epoch %d: %s (kept: %v)", h.role, out.Became, out.Epoch, out.Reason, err)
	if out.Became == binarystar.Passive {
		h.b.broker.Resign()
	}
}

// checkPair holds property 5, in a calm.
func (r *busRun) checkPair() {
	if !r.paired {
		return
	}
	active := 0
	for _, b := range r.brokers {
		if s, _ := b.half.m.State(); s == binarystar.Active {
			active++
		}
	}
	if active != 1 {
		r.w.Fail("all is calm, and %d brokers of the pair are active", active)
	}
}
