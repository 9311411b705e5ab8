package subscriber

import (
	"slices"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// marker is a Handler that takes marks. It writes down what came in which order.
type marker struct {
	notes
	came []string
	at   []wire.Seq
	hash wire.Hash // of the end mark
}

func (m *marker) HandleMark(_ int, h *wire.Header) {
	what := map[wire.HeaderFlags]string{wire.FlagHello: "hello", wire.FlagHeartbeat: "heartbeat", wire.FlagEnd: "end"}[h.Flags]
	m.came, m.at, m.hash = append(m.came, what), append(m.at, h.FirstSeq), h.Hash
}

func (m *marker) HandleGap(int, wire.Epoch, wire.Seq, wire.Seq) { m.came = append(m.came, "gap") }

func (m *marker) HandleSession(int, wire.Epoch, *wire.Session) { m.came = append(m.came, "session") }

func (m *marker) HandleEnd(int, wire.Epoch, bool) { m.came = append(m.came, "handle end") }

// TestMarks: marks come in their place, notices are none.
func TestMarks(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	m := &marker{}
	r, err := New(Config{Endpoints: []string{p.endpoint}}, m)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- r.Run(t.Context()) }()
	p.await("")
	p.hello()
	p.await(readyPrefix)
	p.sendRecords(2)
	p.notice("one", nil)
	p.records(3) // lost
	h := p.source.header(wire.FlagHeartbeat)
	p.send(h, nil)
	p.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := []string{"hello", "session", "gap", "heartbeat", "end", "handle end"}; !slices.Equal(m.came, want) {
		t.Errorf("came %q, want %q", m.came, want)
	}
	if want := []wire.Seq{0, 5, 5}; !slices.Equal(m.at, want) || m.hash != h.Hash {
		t.Errorf("at %v, hash %x, want %v, %x", m.at, m.hash, want, h.Hash)
	}
}
