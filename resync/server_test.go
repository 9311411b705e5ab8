package resync

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

func TestServerRefill(t *testing.T) {
	src := newShelf(2, 5, 10_000)
	src.order, src.block = true, 97
	src.add(6, 3, 500)
	src.ends = map[wire.Epoch]wire.Seq{5: 10_000}
	s, _ := runServer(t, ServerConfig{Refills: src, Ahead: 3})
	p := newPeer(t, s.Endpoints()[0])
	records := uint64(0)
	for i, tc := range []struct {
		span  Span
		to    wire.Seq
		chunk uint32
		ended bool
	}{
		{Span{5, 0, 0, 10_000}, 10_000, 0, false},
		{Span{5, 1, 0, Open}, 10_000, 0, true},
		{Span{5, 1, 1234, 1235}, 1235, 0, false},
		{Span{5, 0, 150, 9_150}, 9_150, 5000, false},
		{Span{6, 0, 3, Open}, 500, 0, false}, // may go on
		{Span{6, 0, 500, Open}, 500, 0, false},
		{Span{5, 0, 10_000, Open}, 10_000, 0, true},
	} {
		id := RequestID(i + 1)
		q := refillOf(id, tc.span)
		q.ChunkBytes = tc.chunk
		p.ask(q)
		in := p.whole(id, Span{From: tc.span.From, To: tc.to})
		if in.end.Ended != tc.ended {
			t.Errorf("%+v: end says ended=%t", tc.span, in.end.Ended)
		}
		records += in.digest.Records
	}
	eventually(func() bool { return s.Counters().Ended == 7 })
	if c := s.Counters(); c.Refills != 7 || c.Records != records || c.BadReads != 0 || c.Errors.Total() != 0 || c.Chunks > c.Reads {
		t.Errorf("%+v", c)
	}
	if n := s.RequestTimes(CommandRefill).HDR().TotalCount(); n != 7 || s.RequestTimes(CommandFind).HDR().TotalCount() != 0 || s.RequestTimes(CommandPing) != nil {
		t.Errorf("%d refills were timed, want 7, and nothing else", n)
	}
	if c, st := s.Pool(); c.Answered != s.Counters().Reads || st.Workers == 0 {
		t.Errorf("the pool has %+v, %+v", c, st)
	}
	eventually(func() bool { return s.State().Requests == 0 })
	if st := s.State(); st.Clients != 0 || st.Bytes != 0 || st.Reading != 0 || src.held.Load() != 0 {
		t.Errorf("left behind: %+v, %d batches", st, src.held.Load())
	}
}

func TestServerFind(t *testing.T) {
	src := newShelf(2, 5, 100)
	s, _ := runServer(t, ServerConfig{Refills: src})
	p := newPeer(t, s.Endpoints()[0])
	ask := func(id RequestID, at wire.Nanos, clock string) {
		frame, err := AppendFind(nil, &FindRequest{ID: id, Time: at, Clock: clock, Deadline: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		p.send(frame)
	}
	ask(1, 40, "event")
	p.want(CommandSpans, 1)
	_, spans, err := ParseSpans(p.in.Frame(0), p.in.Frame(1))
	if err != nil || len(spans) != 2 || spans[1] != (Span{5, 1, 40, 100}) {
		t.Errorf("%+v, %v", spans, err)
	}
	ask(2, 100, "receive")
	p.want(CommandSpans, 2)
	ask(3, 0, "send")
	p.wantError(3, CodeFailed, AdviceOther)
}

func TestServerErrors(t *testing.T) {
	src := newShelf(1, 5, 100)
	src.add(6, 50, 100)
	s, _ := runServer(t, ServerConfig{Refills: src, NotYetWait: time.Millisecond})
	p := newPeer(t, s.Endpoints()[0])

	p.ask(refillOf(1, Span{4, 0, 0, 10}))
	p.wantError(1, CodeUnknownEpoch, AdviceOther)
	p.ask(refillOf(2, Span{4, 0, 7, Open}))
	if e := p.wantError(2, CodeUnknownEpoch, AdviceOther); e.Next != 7 {
		t.Errorf("%+v", e)
	}
	p.ask(refillOf(3, Span{6, 0, 20, 60}))
	if e := p.wantError(3, CodeGone, AdviceSkip); e.Next != 20 || e.Skip != 50 {
		t.Errorf("%+v", e)
	}
	// What there is comes before the error.
	p.ask(refillOf(4, Span{6, 0, 60, 200}))
	if in, e := p.refill(4, 60); in.next != 100 || e == nil || e.Code != CodeNotYet || e.Next != 100 || e.Advice != AdviceRetry || e.Wait == 0 {
		t.Errorf("came up to %d, %+v", in.next, e)
	}
	src.mu.Lock()
	src.fail = errors.New("the disk is wet")
	src.mu.Unlock()
	p.ask(refillOf(5, Span{6, 0, 60, 61}))
	if e := p.wantError(5, CodeFailed, AdviceOther); e.Text != "the disk is wet" {
		t.Errorf("%+v", e)
	}
	p.askSnapshot(&SnapshotRequest{ID: 6, Credit: 1, Deadline: time.Second})
	p.wantError(6, CodeNotServed, AdviceOther)
	c := p.counted(s).Errors
	if want := (ErrorCounters{UnknownEpoch: 2, Gone: 1, NotYet: 1, Failed: 1, NotServed: 1}); c != want {
		t.Errorf("%+v", c)
	}

	none, _ := runServer(t, ServerConfig{})
	p = newPeer(t, none.Endpoints()[0])
	p.ask(refillOf(1, Span{4, 0, 0, 10}))
	p.wantError(1, CodeNotServed, AdviceOther)
}

// TestServerWaitsForWhatIsNotYet: a reader is often faster than the recorder.
func TestServerWaitsForWhatIsNotYet(t *testing.T) {
	src := newShelf(1, 5, 100)
	s, _ := runServer(t, ServerConfig{Refills: src, NotYetWait: time.Minute})
	p := newPeer(t, s.Endpoints()[0])
	p.ask(refillOf(1, Span{5, 0, 90, 110}))
	eventually(func() bool { return src.reads.Load() >= 3 })
	more := newShelf(1, 5, 200)
	src.mu.Lock()
	src.epochs = more.epochs
	src.mu.Unlock()
	p.whole(1, Span{From: 90, To: 110})
}

// TestServerRefusesNonsense: it is counted, answered where it is known what it is
// about, and harms nobody.
func TestServerRefusesNonsense(t *testing.T) {
	src := newShelf(1, 5, 1000)
	s, _ := runServer(t, ServerConfig{Refills: src})
	p := newPeer(t, s.Endpoints()[0])
	good := AppendRefill(nil, refillOf(9, Span{5, 0, 0, 10}))
	change := func(i int, b byte) []byte {
		f := append([]byte(nil), good...)
		f[i] = b
		return f
	}
	p.send(change(headVersionOff, 2))
	p.wantError(9, CodeVersion, AdviceOther)
	p.send(good[:8:8][:5])
	p.send(change(headCommandOff, 99))
	p.wantError(9, CodeBadRequest, AdviceNone)
	p.send(change(headCommandOff, uint8(CommandChunk)))
	p.wantError(9, CodeBadRequest, AdviceNone)
	p.send(change(16, 0)) // no epoch
	p.wantError(9, CodeBadRequest, AdviceNone)
	p.send(good, []byte("one frame too many"))
	p.wantError(9, CodeBadRequest, AdviceNone)
	p.send(AppendCredit(nil, 9, 0))
	p.wantError(9, CodeBadRequest, AdviceNone)
	p.send(make([][]byte, zsock.PartsMax+1)...)
	p.send([]byte("ICANHAZ?"), nil)
	p.send(AppendCredit(nil, 9, 1))
	p.send(AppendCancel(nil, 9))
	if p.ping(9).Has {
		t.Error("has a request that it never took")
	}
	if c := p.counted(s); c.Malformed != 8 || c.Foreign != 1 || c.Stray != 2 || c.Errors.BadRequest != 5 || c.Errors.Version != 1 {
		t.Errorf("%+v", c)
	}

	// At random: good messages, changed.
	rng := rand.New(rand.NewPCG(1, 2))
	var all [][][]byte
	for c := range shapes {
		if m := example(t)[c]; m != nil {
			all = append(all, m)
		}
	}
	for i := range RequestID(3000) {
		var frames [][]byte
		for _, f := range all[rng.IntN(len(all))] {
			f = append([]byte(nil), f...)
			for range rng.IntN(3) {
				if len(f) > 0 {
					f[rng.IntN(len(f))] ^= 1 << rng.IntN(8)
				}
			}
			frames = append(frames, f[:len(f)-rng.IntN(2)*rng.IntN(len(f)+1)])
		}
		p.send(frames...)
		if i%50 != 0 {
			continue
		}
		p.send(AppendPing(nil, 1<<40+i))
		for h := p.recv(); h.Command != CommandPong || h.ID != 1<<40+i; h = p.recv() {
		}
	}
}

func TestServerBounds(t *testing.T) {
	src := newShelf(1, 5, 1000)
	s, _ := runServer(t, ServerConfig{Refills: src, ClientRequests: 2, MaxClients: 1})
	p := newPeer(t, s.Endpoints()[0])
	starved := func(id RequestID) *RefillRequest { // runs until it is cancelled
		r := refillOf(id, Span{5, 0, 0, 1000})
		r.Credit = 1
		return r
	}
	p.ask(starved(1))
	p.want(CommandChunk, 1)
	p.ask(starved(2))
	p.want(CommandChunk, 2)
	p.ask(starved(3))
	if e := p.wantError(3, CodeBusy, AdviceRetry); e.Wait == 0 {
		t.Errorf("%+v", e)
	}
	p.ask(starved(2)) // runs already: not answered
	q := newPeer(t, s.Endpoints()[0])
	q.ask(starved(1))
	q.wantError(1, CodeBusy, AdviceRetry)
	if !p.ping(1).Has || !p.ping(2).Has || p.ping(3).Has || q.ping(1).Has {
		t.Error("a pong is wrong")
	}
	p.send(AppendCancel(nil, 1))
	p.send(AppendCancel(nil, 2))
	if p.ping(2).Has {
		t.Error("has a request that was cancelled")
	}
	eventually(func() bool { return s.State().Clients == 0 })
	q.ask(refillOf(2, Span{5, 0, 0, 1000}))
	q.whole(2, Span{To: 1000})
	if c := q.counted(s); c.Repeated != 1 || c.Cancelled != 2 || c.Errors.Busy != 2 {
		t.Errorf("%+v", c)
	}

	s, _ = runServer(t, ServerConfig{Refills: src, Requests: 1})
	p, q = newPeer(t, s.Endpoints()[0]), newPeer(t, s.Endpoints()[0])
	p.ask(starved(1))
	p.want(CommandChunk, 1)
	q.ask(starved(1))
	q.wantError(1, CodeBusy, AdviceRetry)
}

// TestServerAddressClients: one address does not have all the places there are.
func TestServerAddressClients(t *testing.T) {
	src := newShelf(1, 5, 1000)
	s, _ := runServer(t, ServerConfig{Refills: src, AddressClients: 1, Endpoints: []string{"tcp://127.0.0.1:*", "ipc://" + filepath.Join(t.TempDir(), "r")}})
	p, q, other := newPeer(t, s.Endpoints()[0]), newPeer(t, s.Endpoints()[0]), newPeer(t, s.Endpoints()[1])
	starved := refillOf(1, Span{5, 0, 0, 1000})
	starved.Credit = 1
	p.ask(starved)
	p.want(CommandChunk, 1)
	q.ask(starved)
	q.wantError(1, CodeBusy, AdviceRetry)
	other.ask(refillOf(1, Span{5, 0, 0, 1000}))
	other.whole(1, Span{To: 1000})
	p.send(AppendCancel(nil, 1))
	eventually(func() bool { return s.State().Clients == 0 })
	q.ask(refillOf(2, Span{5, 0, 0, 1000}))
	q.whole(2, Span{To: 1000})
}

// TestServerLargeFrames: the largest request that there can be is taken in; who sends a
// larger frame is disconnected, and others are served.
func TestServerLargeFrames(t *testing.T) {
	s, _ := runServer(t, ServerConfig{Refills: newShelf(1, 5, 1000)})
	p, q := newPeer(t, s.Endpoints()[0]), newPeer(t, s.Endpoints()[0])
	query := Query{Prefixes: make([]string, PrefixesMax)}
	for i := range query.Prefixes {
		query.Prefixes[i] = strings.Repeat("x", wire.TopicSizeMax)
	}
	head, prefixes, err := AppendSnapshot(nil, nil, &SnapshotRequest{ID: 1, Query: query, Credit: 1, Deadline: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	p.send(head, prefixes)
	p.wantError(1, CodeNotServed, AdviceOther) // this one has no snapshots
	q.send(head, append(prefixes, 0))
	q.send(AppendPing(nil, 7)) // lost with the connection, or sent on the next
	p.ask(refillOf(2, Span{5, 0, 0, 1000}))
	p.whole(2, Span{To: 1000})
	if c := p.counted(s); c.Malformed != 0 || c.Snapshots != 0 {
		t.Errorf("what is too large was looked at: %+v", c)
	}
}

// TestServerCredit: nothing is sent beyond it, but for the rest of one message.
func TestServerCredit(t *testing.T) {
	src := newShelf(1, 5, 1000) // blocks of 100 records of 132 bytes
	s, _ := runServer(t, ServerConfig{Refills: src})
	p := newPeer(t, s.Endpoints()[0])
	q := refillOf(1, Span{5, 0, 0, 1000})
	q.Credit = 1
	p.ask(q)
	in := incoming{id: 1}
	p.want(CommandChunk, 1)
	in.chunk(p)
	for _, credit := range []uint64{13_199, 1, 13_200, 3 * 13_200} {
		granted := q.Credit + credit
		q.Credit = granted
		p.send(AppendCredit(nil, 1, credit))
		for in.digest.Bytes < granted {
			p.want(CommandChunk, 1)
			in.chunk(p)
		}
		// Whatever else was sent would come before the pong.
		p.send(AppendPing(nil, 1))
		p.want(CommandPong, 1)
		if over := in.digest.Bytes - granted; over >= 13_200 {
			t.Errorf("%d bytes beyond the credit of %d", over, granted)
		}
	}
	p.send(AppendCredit(nil, 1, 1<<63))
	p.send(AppendCredit(nil, 1, 1<<63)) // more than a number can hold is all there is
	for in.next < 1000 {
		p.want(CommandChunk, 1)
		in.chunk(p)
	}
	p.want(CommandEnd, 1)
}

// TestServerDeadline: a request to which nothing can be sent ends, and costs the
// server nothing more.
func TestServerDeadline(t *testing.T) {
	src := newShelf(1, 5, 1000)
	s, _ := runServer(t, ServerConfig{Refills: src})
	p := newPeer(t, s.Endpoints()[0])
	for deadline := 50 * time.Millisecond; ; deadline *= 2 {
		q := refillOf(1, Span{5, 0, 10, 1000})
		q.Credit, q.Deadline = 1, deadline
		p.ask(q)
		in, e := p.refill(1, 10)
		if e == nil || e.Code != CodeDeadline || e.Advice != AdviceRetry || e.Next != in.next {
			t.Fatalf("came up to %d, then %+v", in.next, e)
		}
		if in.next == 100 {
			break
		}
		if in.next != 10 {
			t.Fatalf("one byte of credit brought records up to %d", in.next)
		}
		// It passed before there was time to send anything.
	}
	eventually(func() bool { return s.State() == ServerState{Readers: 2} })
}

// TestServerDeadlineStartsAnew: with every credit, by a clock of the test.
func TestServerDeadlineStartsAnew(t *testing.T) {
	s, err := NewServer(ServerConfig{Endpoints: []string{"inproc://deadline"}, Refills: newShelf(1, 5, 1000)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	d, id := s.desk, []byte("client")
	q := refillOf(1, Span{5, 0, 0, 1000}) // a minute
	if err := d.askRefill(0, id, AppendRefill(nil, q)); err != nil {
		t.Fatal(err)
	}
	runs := func() bool { d.tidy(); return d.find(id, 1) != nil }
	for now := 50 * time.Second; now < 500*time.Second; now += 50 * time.Second {
		if err := d.credit(now, id, AppendCredit(nil, 1, 1)); err != nil {
			t.Fatal(err)
		}
		if d.expire(now + 59*time.Second); !runs() {
			t.Fatalf("ended at %v, though credit came", now)
		}
	}
	if d.expire(450*time.Second + time.Minute); runs() || d.count.Errors.Deadline != 1 || len(d.clients) != 0 {
		t.Errorf("did not end: %+v", d.count)
	}
}

// TestServerGoneClient: what was for it is let go.
func TestServerGoneClient(t *testing.T) {
	src := newShelf(1, 5, 100_000)
	s, _ := runServer(t, ServerConfig{Refills: src})
	p := newPeer(t, s.Endpoints()[0])
	p.ask(refillOf(1, Span{5, 0, 0, 100_000}))
	p.ask(refillOf(2, Span{5, 0, 0, 100_000}))
	p.ping(2) // both have arrived
	p.close() // in the middle
	eventually(func() bool { return s.State().Requests == 0 && s.State().Reading == 0 })
	if c, st := s.Counters(), s.State(); c.Unreachable+c.Ended != 2 || st.Bytes != 0 || st.Clients != 0 {
		t.Errorf("%+v, %+v", c, st)
	}
	if src.held.Load() != 0 {
		t.Errorf("%d batches were not released", src.held.Load())
	}
}

// TestServerSlowClients: one without credit, one that does not read, and one that
// wants everything do not keep a fourth from what it needs.
func TestServerSlowClients(t *testing.T) {
	src := newShelf(2, 5, 200_000) // 26 MB a shard
	s, _ := runServer(t, ServerConfig{Refills: src, Workers: 1, Rate: 1 << 16})
	endpoint := s.Endpoints()[0]
	starved, deaf, greedy := newPeer(t, endpoint), newPeer(t, endpoint), newPeer(t, endpoint)
	q := refillOf(1, Span{5, 0, 0, 200_000})
	q.Credit = 1
	starved.ask(q)
	deaf.ask(refillOf(1, Span{5, 1, 0, 200_000}))
	for id := range RequestID(10) {
		greedy.ask(refillOf(id+1, Span{5, 0, 0, 200_000}))
	}
	greedy.recv()
	starved.want(CommandChunk, 1)
	p := newPeer(t, endpoint)
	before := p.counted(s).Bytes
	p.ask(refillOf(1, Span{5, 1, 1000, 1100}))
	in := p.whole(1, Span{From: 1000, To: 1100})
	// The others have had a few turns at most: what was read ahead, and one for one.
	if others := p.counted(s).Bytes - before - in.digest.Bytes; others > 20*13_200 {
		t.Errorf("%d bytes went to others before the 13,200 that were wanted", others)
	}
	if s.State().Requests < 12 {
		t.Errorf("the others were done: %+v", s.State())
	}
}

// TestServerRate: the budget holds for all clients together.
func TestServerRate(t *testing.T) {
	src := newShelf(2, 5, 20_000) // 2.6 MB a shard
	s, _ := runServer(t, ServerConfig{Refills: src, Rate: 8 << 20})
	p, q := newPeer(t, s.Endpoints()[0]), newPeer(t, s.Endpoints()[0])
	began := time.Now()
	p.ask(refillOf(1, Span{5, 0, 0, 20_000}))
	q.ask(refillOf(1, Span{5, 1, 0, 20_000}))
	p.whole(1, Span{To: 20_000})
	q.whole(1, Span{To: 20_000})
	took := time.Since(began)
	bytes := float64(2 * 20_000 * 132)
	least := time.Duration((bytes - (8<<20)*rateBurst.Seconds()) / (8 << 20) * float64(time.Second))
	if took < least-50*time.Millisecond {
		t.Errorf("%v for what takes %v", took, least)
	}
	if p.counted(s).Throttled == 0 && took < 2*least {
		t.Error("the budget was not felt")
	}
}

// TestServerStops: clients are told.
func TestServerStops(t *testing.T) {
	src := newShelf(1, 5, 1000)
	s, stop := runServer(t, ServerConfig{Refills: src})
	p := newPeer(t, s.Endpoints()[0])
	q := refillOf(1, Span{5, 0, 0, 1000})
	q.Credit = 1
	p.ask(q)
	p.want(CommandChunk, 1)
	stop()
	if e := p.wantError(1, CodeStopping, AdviceOther); e.Next != 100 {
		t.Errorf("%+v", e)
	}
}

// TestServerRestart: a pong tells that the server is another one, and that it
// does not have the request.
func TestServerRestart(t *testing.T) {
	src := newShelf(1, 5, 1000)
	s, stop := runServer(t, ServerConfig{Refills: src})
	p := newPeer(t, s.Endpoints()[0])
	q := refillOf(1, Span{5, 0, 0, 1000})
	q.Credit = 1
	p.ask(q)
	p.want(CommandChunk, 1)
	first := p.ping(1)
	endpoints := s.Endpoints()
	stop()
	p.wantError(1, CodeStopping, AdviceOther)
	runServer(t, ServerConfig{Refills: src, Endpoints: endpoints})
	second := p.ping(1)
	if !first.Has || second.Has || first.Server == second.Server {
		t.Errorf("%+v, then %+v", first, second)
	}
}

func TestServerFallback(t *testing.T) {
	returned := make(chan error, 1)
	s, _ := runServer(t, ServerConfig{Fallback: func(identity []byte, frames [][]byte, send func([][]byte) error) error {
		if len(identity) == 0 || string(frames[0]) != "ICANHAZ?" {
			t.Errorf("got %q", frames)
		}
		var err error
		for i := 0; i < 1000 && err == nil; i++ {
			err = send([][]byte{frames[1], {byte(i)}})
		}
		if string(frames[1]) == "endless" {
			for err == nil {
				err = send([][]byte{make([]byte, 100_000)})
			}
		}
		returned <- err
		return err
	}})
	p := newPeer(t, s.Endpoints()[0])
	p.send([]byte("ICANHAZ?"), []byte("all"))
	for i := range 1000 {
		if err := p.s.RecvParts(p.in); err != nil || string(p.in.Frame(0)) != "all" || p.in.Frame(1)[0] != byte(i) {
			t.Fatalf("message %d: %q, %v", i, p.in.Frame(0), err)
		}
	}
	if err := <-returned; err != nil {
		t.Error(err)
	}
	// One that does not read holds nobody up; when it goes, sending fails.
	deaf := newPeer(t, s.Endpoints()[0])
	deaf.send([]byte("ICANHAZ?"), []byte("endless"))
	deaf.send(AppendPing(nil, 1))
	if err := deaf.s.RecvParts(deaf.in); err != nil {
		t.Fatal(err)
	}
	p.ping(7)
	deaf.close()
	if err := <-returned; !errors.Is(err, zsock.ErrUnreachable) {
		t.Errorf("sending to one that is gone: %v", err)
	}
	if c := p.counted(s); c.Fallbacks != 2 || c.Foreign != 0 {
		t.Errorf("%+v", c)
	}
}

func TestServerConfig(t *testing.T) {
	for name, cfg := range map[string]ServerConfig{
		"no endpoint": {},
		"endpoint":    {Endpoints: []string{"nonsense"}},
		"backend":     {Endpoints: []string{"tcp://127.0.0.1:*"}, Backends: []string{"nonsense"}},
		"negative":    {Endpoints: []string{"tcp://127.0.0.1:*"}, Rate: -1},
		"chunk":       {Endpoints: []string{"tcp://127.0.0.1:*"}, ChunkBytes: 1},
	} {
		if s, err := NewServer(cfg); err == nil {
			t.Errorf("%s: no error", name)
			_ = s.Close()
		}
	}
	if err := TapeWorker(context.Background(), TapeWorkerConfig{}, nil); err == nil {
		t.Error("a tape reader without an endpoint: no error")
	}
}
