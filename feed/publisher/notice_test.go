package publisher

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// TestNotice: a notice goes out on shard 0, between batches, and takes no sequence.
func TestNotice(t *testing.T) {
	p := open(t, Config{Endpoints: []string{anyPort, anyPort}, Lossless: true, Session: session, Now: func() wire.Nanos { return 1e18 }})
	first, second := connect(t, p.Endpoints()[0], zsock.SUB), connect(t, p.Endpoints()[1], zsock.SUB)
	for _, r := range []*raw{first, second} {
		r.subscribe(wire.ReferenceTopics()...) // notices are among them
		until(t, p, r.readable)
		until(t, p, func() bool { return !p.shards[0].greet && !p.shards[1].greet })
	}
	batch := makeBatch(t, 100)
	if err := errors.Join(
		p.Send(t.Context(), 0, batch, nil), p.Notice(wire.SquawkTopic, []byte(`{"n":0}`)),
		p.Notice(wire.OperatorPrefix+"deck", nil), p.Notice(wire.SquawkTopic, []byte(`{"n":1}`)),
		p.Send(t.Context(), 0, batch, nil), p.Send(t.Context(), 1, batch, nil),
	); err != nil {
		t.Fatal(err)
	}
	var got []string
	for len(got) < 5 {
		b := first.must()
		switch b.Flags {
		case wire.FlagHello:
		case wire.FlagNotice:
			r, err := b.Notice()
			if err != nil {
				t.Fatal(err)
			}
			f := r.Fields()
			got = append(got, fmt.Sprintf("%s %d %s at %d, before %d", f.Topic, f.TopicSeq, f.Body, f.Event, b.FirstSeq))
		default:
			got = append(got, fmt.Sprint("batch at ", b.FirstSeq))
		}
	}
	const at = 1_000_000_000_000_000_000
	n := batch.Count
	want := []string{
		"batch at 0", fmt.Sprintf(`TPDK!squawk 0 {"n":0} at %d, before %d`, at, n), fmt.Sprintf("TPDK!deck 0  at %d, before %d", at, n),
		fmt.Sprintf(`TPDK!squawk 1 {"n":1} at %d, before %d`, at, n), fmt.Sprint("batch at ", n),
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for b := second.must(); b.Flags != 0; b = second.must() {
		if b.Flags == wire.FlagNotice {
			t.Error("a notice on shard 1")
		}
	}
	if st := p.Stats(); st.Notices != 3 || st.Unsaid != 0 || st.Records != 3*uint64(n) {
		t.Errorf("stats %+v", st)
	}
}

func TestNoticeIsRefused(t *testing.T) {
	p := open(t, Config{})
	for topic, body := range map[string]int{"XNAS.AAPL": 1, "": 1, "TPDK?x": 1, wire.OperatorPrefix + strings.Repeat("x", 251): 1, wire.SquawkTopic: noticeBodyMax + 1} {
		if err := p.Notice(topic, make([]byte, body)); !errors.Is(err, ErrNotice) {
			t.Errorf("topic %.20q, %d bytes: %v", topic, body, err)
		}
	}
	if err := p.Notice(wire.SquawkTopic, make([]byte, noticeBodyMax)); err != nil {
		t.Error(err)
	}
	if err := p.End(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := p.Notice(wire.SquawkTopic, nil); !errors.Is(err, ErrEnded) {
		t.Errorf("after the end: %v", err)
	}
}

// TestNoticesAreBounded: what finds no room waits; of much, the newest, and the
// rest is counted.
func TestNoticesAreBounded(t *testing.T) {
	p := open(t, Config{Lossless: true, QueueBytes: 1, Session: session})
	r := connectQueue(t, p.Endpoints()[0], zsock.SUB, 1)
	r.subscribe("")
	until(t, p, r.readable)
	fill(t, p, makeBatch(t, 1<<20), nil)
	const more, topic = 10, wire.OperatorPrefix + "test"
	for i := range noticesMax + more {
		if err := p.Notice(topic, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	// A squawk about the reader may wait, too.
	st := p.Stats()
	if st.Notices != 0 || st.Unsaid < more || st.Unsaid > more+2 {
		t.Errorf("stats %+v", st)
	}
	done := make(chan error, 1)
	go func() {
		for p.Stats().Notices < noticesMax {
			if err := p.listen(t.Context(), time.Millisecond); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	for i := 0; i < noticesMax+more; i++ {
		b := r.must()
		for b.Flags != wire.FlagNotice {
			b = r.must()
		}
		n, err := b.Notice()
		if err != nil {
			t.Fatal(err)
		}
		if string(n.Topic()) != topic {
			i--
			continue
		}
		if i == 0 {
			i = int(n.TopicSeq())
			if i < more || i > more+2 {
				t.Fatalf("the oldest notice left is %d, want %d", i, more)
			}
		}
		if string(n.Body()) != fmt.Sprint(i) || int(n.TopicSeq()) != i {
			t.Fatalf("notice %q with topic sequence %d; want %d", n.Body(), n.TopicSeq(), i)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestNoticesBeforeTheEnd: a notice that waits for room goes out before the end mark.
func TestNoticesBeforeTheEnd(t *testing.T) {
	p := open(t, Config{Lossless: true, QueueBytes: 1, Session: session})
	r := connectQueue(t, p.Endpoints()[0], zsock.SUB, 1)
	r.subscribe("")
	until(t, p, r.readable)
	fill(t, p, makeBatch(t, 1<<20), nil)
	const topic = wire.OperatorPrefix + "test"
	if err := p.Notice(topic, []byte("last words")); err != nil {
		t.Fatal(err)
	}
	ctx, done := t.Context(), make(chan error, 1)
	go func() { done <- p.End(ctx) }()
	told := false
	for {
		b := r.must()
		if b.Flags == wire.FlagEnd {
			break
		}
		if n, err := b.Notice(); b.Flags == wire.FlagNotice && err == nil {
			told = told || string(n.Topic()) == topic && string(n.Body()) == "last words"
		}
	}
	if !told {
		t.Error("the end mark came without the notice before it")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
