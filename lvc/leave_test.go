package lvc

import (
	"net"
	"runtime"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zmtp"
)

// leaver is an owner whose reader's writing ends while a subscription is answered.
type leaver struct{ owner }

func (leaver) joined(*reader) {}
func (leaver) parted(*reader) {}
func (leaver) subscribed(r *reader, _ string) bool {
	r.stop()
	for len(r.answered.(bell)) == 0 { // the writer is through
		runtime.Gosched()
	}
	return false
}

// TestLeaveWhileAnswered: a reader whose connection ends while its subscription is
// answered is let go, and the hub can be closed.
func TestLeaveWhileAnswered(t *testing.T) {
	h := newHub(system{}, 1<<20, 10, nil, leaver{})
	endpoint, err := h.listen("tcp://127.0.0.1:*")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", endpoint[len("tcp://"):])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	b := append([]byte{0: 0xff, 9: 0x7f, 10: 3, 12: 'N', 13: 'U', 14: 'L', 15: 'L', 63: 0}, "\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"...)
	if _, err := conn.Write(zmtp.AppendFrame(b, []byte("\x01A"), false)); err != nil {
		t.Fatal(err)
	}
	left := func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.counts.left == 1
	}
	for !left() {
		runtime.Gosched()
	}
	if err := h.close(); err != nil {
		t.Error(err)
	}
}

// TestLeaveBehind: the writing of a reader that has left while it was behind ends, and
// does not ask for ever whether it may catch up.
func TestLeaveBehind(t *testing.T) {
	h := newHub(system{}, 1<<20, 10, nil, leaver{})
	ours, theirs := net.Pipe()
	defer theirs.Close()
	r := newReader(h, ours, "gone")
	r.behind = true
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.write()
	}()
	r.leave()
	<-done
	if r.behind || h.counts.overflowed != 0 {
		t.Errorf("behind %v, answered %d times", r.behind, h.counts.overflowed)
	}
}
