package sim

import (
	"time"

	"github.com/tapedeck/tapedeck/control/binarystar"
)

// half is one server of a pair: a binarystar.Machine and its epochs, driven as a
// binarystar.Pair drives them. A scenario gives it what is to be done in its states.
type half struct {
	p         *Process
	role      binarystar.Role
	heartbeat time.Duration
	expiry    time.Duration
	failback  time.Duration
	peer      *half
	out       *link // to the peer

	// vote reports whether the server's own voter reaches it.
	vote              func() bool
	onActive, onQuiet func(epoch uint64)
	note              []byte            // that goes with what it announces
	onNote            func(note []byte) // takes those of the active peer; may be nil

	m      *binarystar.Machine // nil: it could not start
	epochs *binarystar.Epochs
	active bool
	forgot bool // in some life it was active in an epoch that its failing disk did not keep
}

// pairOf makes the two servers of a pair.
func pairOf(w *World, heartbeat time.Duration, failback time.Duration, boot func(i int)) [2]*half {
	var pair [2]*half
	for i, role := range []binarystar.Role{binarystar.Primary, binarystar.Backup} {
		pair[i] = &half{role: role, heartbeat: heartbeat, expiry: 2 * heartbeat, failback: failback}
		pair[i].p = w.Process(role.String(), func() { boot(i) })
		pair[i].p.drift = float64(w.IntN(400) - 200)
	}
	for i, h := range pair {
		h.peer, h.out = pair[1-i], w.link(h.p, pair[1-i].p)
	}
	return pair
}

// boot starts it, in a new life of its process, and reports whether it could.
func (h *half) boot() bool {
	h.active, h.m = false, nil
	var err error
	if h.epochs, err = binarystar.OpenEpochs(h.p.fs, "."); err != nil {
		h.p.w.Logf("%v: %v", h.role, err)
		h.p.Again()
		return false
	}
	h.m = binarystar.NewMachine(binarystar.MachineConfig{Role: h.role, Expiry: h.expiry, Failback: h.failback, Epoch: h.epochs.Known()}, h.p.Now())
	h.p.Every(func() time.Duration { return h.heartbeat }, func() {
		h.say()
		if _, until := h.m.PeerState(); !h.active && h.p.Now() >= until && h.vote() {
			h.act(h.m.Vote(h.p.Now()))
		}
	})
	h.p.After(0, h.say)
	return true
}

func (h *half) say() {
	state, epoch := h.m.State()
	frame := binarystar.AppendNote(binarystar.AppendAnnouncement(nil, state, epoch, false), h.note)
	h.out.send(func() { h.peer.hear(frame) })
}

func (h *half) hear(frame []byte) {
	if h.m == nil {
		return
	}
	state, epoch, err := binarystar.ParseAnnouncement(frame)
	if err != nil {
		h.p.w.Fail("%v does not understand %q: %v", h.role, frame, err)
	}
	if h.p.w.bug == bugLVCDeaf && h.active && state == binarystar.Active {
		return
	}
	_, known := h.m.State()
	h.act(h.m.Peer(h.p.Now(), state, epoch))
	if note := binarystar.Note(frame); len(note) > 0 && h.onNote != nil && state == binarystar.Active && epoch >= known {
		h.onNote(note)
	}
}

func (h *half) act(out binarystar.Outcome) {
	if out.Announce {
		h.p.After(0, h.say)
	}
	if _, known := h.m.State(); h.p.w.bug != bugLVCForgets && h.epochs.Keep(known) != nil {
		h.p.w.Logf("%v: epoch %d is not kept", h.role, known)
		h.forgot = h.forgot || out.Became == binarystar.Active
	}
	switch out.Became {
	case binarystar.Active:
		h.p.w.Logf("%v: active in epoch %d: %s", h.role, out.Epoch, out.Reason)
		h.active = true
		h.onActive(out.Epoch)
	case binarystar.Passive:
		h.p.w.Logf("%v: passive: %s", h.role, out.Reason)
		h.active = false
		h.onQuiet(out.Epoch)
	}
}
