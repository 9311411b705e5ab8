package subscriber

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// helloFrom sends a hello with a session.
func (p *fakePub) helloFrom(s wire.Session) {
	payload, err := wire.AppendSession(nil, &s)
	if err != nil {
		p.t.Fatal(err)
	}
	h := p.source.hello()
	h.PayloadSize, h.CRC = uint32(len(payload)), wire.CRC(payload, nil)
	p.send(h, payload)
}

// said waits for a subscription that begins with prefix, or the end of one, and
// returns it.
func (p *fakePub) said(prefix string) []byte {
	p.t.Helper()
	for {
		if _, err := p.poller.Wait(nil, time.Second); err != nil {
			p.t.Fatal(err)
		}
		frame, err := p.socket.TryRecvFrame()
		switch {
		case errors.Is(err, zsock.ErrAgain):
			continue
		case err != nil:
			p.t.Fatal(err)
		case bytes.HasPrefix(frame[1:], []byte(prefix)):
			return frame
		}
	}
}

// TestGoesOnOverBegin: a publisher that goes elsewhere in its source breaks nothing
// off, and a reader that does not follow publishers stays until the end mark.
func TestGoesOnOverBegin(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	n := &notes{}
	r := start(t, Config{Endpoints: []string{p.endpoint}}, n)
	p.greet()
	p.sendRecords(2)
	var s *wire.SessionStart
	s, p.source = p.source.begin(8)
	p.helloFrom(wire.Session{Publisher: "fake", Start: s})
	p.await(readyPrefix)
	p.sendRecords(3)
	p.end()
	p.await(donePrefix)
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	sum := r.Summary()
	if !sum.Complete || sum.Records != 5 || sum.Epochs != 2 || sum.Broken != 0 || sum.Lost != 0 || sum.Why() != "" {
		t.Errorf("summary %+v, why %q", sum, sum.Why())
	}
	if !slices.Equal(n.sessions, []wire.Epoch{7, 8}) || !slices.Equal(n.ends, []end{{0, 8, true}}) || !slices.Equal(n.bodies[0], upTo(5)) || len(n.gaps) != 0 {
		t.Errorf("handler saw %+v", n)
	}
}

// TestBeginIsLost: what is lost around the beginning of an epoch, the hello
// included, is missing of the epoch that it was of. The reader asks for the hello.
func TestBeginIsLost(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	n := &notes{}
	r := start(t, Config{Endpoints: []string{p.endpoint}}, n)
	p.greet()
	p.sendRecords(2)
	p.records(2) // lost
	var s *wire.SessionStart
	s, p.source = p.source.begin(8)
	p.records(3) // lost
	p.sendRecords(1)
	p.await(wire.HelloTopic())
	p.helloFrom(wire.Session{Publisher: "fake", Start: s})
	p.await(readyPrefix)
	p.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if want := []gap{{0, 7, 2, 4}, {0, 8, 0, 3}}; !slices.Equal(n.gaps, want) {
		t.Errorf("gaps %v, want %v", n.gaps, want)
	}
	if sum := r.Summary(); sum.Complete || sum.Lost != 5 || sum.Gaps != 2 || sum.Broken != 0 || sum.Records != 3 {
		t.Errorf("summary %+v", sum)
	}
}

// listener is a Handler that takes notices.
type listener struct {
	notes
	notices []string
}

func (l *listener) HandleNotice(_ int, r wire.Record) {
	l.notices = append(l.notices, string(r.Topic())+" "+string(r.Body()))
}

// notice sends one. edit may damage its payload.
func (p *fakePub) notice(body string, edit func([]byte) []byte) {
	payload, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte(wire.SquawkTopic), Body: []byte(body), Kind: wire.KindNotice})
	if err != nil {
		p.t.Fatal(err)
	}
	if edit != nil {
		payload = edit(payload)
	}
	h := p.source.header(wire.FlagNotice)
	h.PayloadSize, h.CRC = uint32(len(payload)), wire.CRC(payload, nil)
	p.send(h, payload)
}

// TestNotices: they reach who wants them, show a loss as all marks do, and are no
// part of the stream. What is no notice is refused.
func TestNotices(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	l := &listener{}
	s, err := New(Config{Endpoints: []string{p.endpoint}}, l)
	if err != nil {
		t.Fatal(err)
	}
	deaf := start(t, Config{Endpoints: []string{p.endpoint}}, &notes{})
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	for range 2 {
		p.await("")
	}
	p.hello()
	for range 2 {
		p.await(readyPrefix)
	}
	p.sendRecords(1)
	p.notice("one", nil)
	p.notice("cut", func(b []byte) []byte { return b[:len(b)-1] })
	p.sendRecords(1)
	p.records(2) // lost
	p.notice("two", nil)
	p.end()
	if err := errors.Join(<-done, <-deaf.done); err != nil {
		t.Fatal(err)
	}
	if want := []string{wire.SquawkTopic + " one", wire.SquawkTopic + " two"}; !slices.Equal(l.notices, want) {
		t.Errorf("notices %q, want %q", l.notices, want)
	}
	for _, sum := range []Summary{s.Summary(), deaf.Summary()} {
		if sum.Notices != 2 || sum.Refused != 1 || sum.Records != 2 || sum.Batches != 2 || sum.Lost != 2 || !sum.Ended {
			t.Errorf("summary %+v", sum)
		}
	}
}

// TestReport: what a reader says of itself goes out when the publisher knows it,
// and no more often than it may; the report before is withdrawn.
func TestReport(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	s, err := New(Config{Endpoints: []string{p.endpoint}}, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	s.reportEvery = time.Hour
	report := func(lag time.Duration, lost uint64, verdict string) wire.ReaderReport {
		r := wire.ReaderReport{Lag: lag, Lost: lost, Verdict: verdict}
		s.Report(0, r)
		return r
	}
	expect := func(on byte, want wire.ReaderReport) {
		t.Helper()
		frame := p.said("TPDK?")
		id, r, ok := wire.ParseReaderReport(append([]byte{1}, frame[1:]...))
		if frame[0] != on || !ok || r != want || id != s.id {
			t.Fatalf("heard %q, want %d %+v", frame, on, want)
		}
	}
	report(0, 0, "no word")
	s.Report(1, wire.ReaderReport{Verdict: "ok"})
	s.Report(-1, wire.ReaderReport{Verdict: "ok"})
	early := report(time.Second, 1, "ok")
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	p.await("")
	p.hello()
	if frame := p.said("TPDK?"); !strings.HasPrefix(string(frame[1:]), readyPrefix) {
		t.Fatalf("the reader said %q before it was ready", frame)
	}
	expect(1, early)
	report(2*time.Second, 1, "ok") // the same verdict, and soon
	worse := report(3*time.Second, 2, "lagging")
	expect(1, worse)
	expect(0, early)
	l := s.loops[0]
	report(4*time.Second, 2, "lagging")
	for range 5 {
		p.sendRecords(1)
	}
	worst := report(5*time.Second, 9, "snail")
	expect(1, worst)
	expect(0, worse)
	p.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if l.report.fresh.Load() {
		t.Error("a report is left over")
	}
}

// TestReportAgain: after a while the same verdict is said again, also where nothing
// in it has changed, and over a new epoch.
func TestReportAgain(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	s, err := New(Config{Endpoints: []string{p.endpoint}}, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	s.reportEvery = 0
	done := make(chan error, 1)
	go func() { done <- s.Run(t.Context()) }()
	p.greet()
	for range 3 {
		s.Report(0, wire.ReaderReport{Lag: 1, Verdict: "ok"})
		if frame := p.said("TPDK?"); frame[0] != 1 || !strings.HasSuffix(string(frame), ":0:0:ok") {
			t.Fatalf("heard %q", frame)
		}
	}
	var begun *wire.SessionStart
	begun, p.source = p.source.begin(8)
	p.helloFrom(wire.Session{Start: begun})
	p.await(readyPrefix)
	s.Report(0, wire.ReaderReport{Verdict: "snail"})
	if frame := p.said("TPDK?"); frame[0] != 1 || !strings.HasSuffix(string(frame), ":snail") {
		t.Fatalf("heard %q", frame)
	}
	p.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestAllocReport: looking whether there is something to say costs nothing.
func TestAllocReport(t *testing.T) {
	s, err := New(Config{Endpoints: []string{"tcp://127.0.0.1:1"}}, &notes{})
	if err != nil {
		t.Fatal(err)
	}
	l := s.loops[0]
	l.ready, l.report.verdict, l.report.last = true, "ok", time.Now()
	s.reportEvery = time.Hour
	if n := testing.AllocsPerRun(100, func() {
		s.Report(0, wire.ReaderReport{Verdict: "ok"})
		if err := l.report.send(l); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("a report that is not due allocates %v times", n)
	}
}

// slate is a tape of one batch.
type slate struct {
	id     [16]byte
	bytes  []byte
	closed int
}

func (s *slate) Bytes(at *wire.Reference, size int) []byte {
	if at.Tape != s.id || at.Offset+uint64(size) > uint64(len(s.bytes)) {
		return nil
	}
	return s.bytes[at.Offset:][:size]
}

func (s *slate) Close() error { s.closed++; return nil }

// TestReferencesOverBegin: a reader of references goes on with the tape that it has
// open when the same publisher begins a new epoch, also where the hello of it was
// lost; another publisher's tape is opened anew.
func TestReferencesOverBegin(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	h, payload := p.records(2)
	p.source = source{epoch: 7}
	place := wire.TapePlace{Path: "/tape", Host: "here"}
	session := wire.Session{Publisher: "fake", Tape: "01", ByReference: &place}
	var opened []*slate
	n := &notes{}
	r := start(t, Config{Endpoints: []string{p.endpoint}, OpenTape: func(id string, at wire.TapePlace) (Referred, error) {
		if id != "01" || at != place {
			return nil, errors.New("another tape")
		}
		opened = append(opened, &slate{id: [16]byte{1}, bytes: payload})
		return opened[len(opened)-1], nil
	}}, n)
	refer := func() {
		b := h
		b.Epoch, b.FirstSeq, b.Hash, b.Flags = p.source.epoch, p.source.next, p.source.hash, wire.FlagReference
		p.source.batch(b.Count, b.CRC)
		p.sendRaw(p.frame(b), wire.AppendReference(nil, &wire.Reference{Tape: [16]byte{1}}))
	}
	begin := func(epoch wire.Epoch) {
		session.Start, p.source = p.source.begin(epoch)
	}
	p.await("")
	p.helloFrom(session)
	p.await(readyPrefix)
	refer()
	begin(8)
	p.helloFrom(session)
	p.await(readyPrefix)
	refer()
	begin(9)
	refer() // the hello is lost
	p.await(wire.HelloTopic())
	p.helloFrom(session)
	refer()
	p.await(readyPrefix)
	session.Start, p.source = nil, source{epoch: 10} // another publisher, and no end mark before it
	p.helloFrom(session)
	refer()
	p.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	sum := r.Summary()
	if sum.Referred != 5 || sum.Records != 10 || sum.Fallbacks != 0 || sum.Lost != 0 || sum.Broken != 1 || sum.Epochs != 4 || sum.Diverged != 0 {
		t.Errorf("summary %+v", sum)
	}
	if len(opened) != 2 || opened[0].closed != 1 || opened[1].closed != 1 {
		t.Errorf("opened %d tapes, want 2, each closed once: %+v", len(opened), opened)
	}
	if len(r.warnings()) != 0 {
		t.Errorf("warnings %q", r.warnings())
	}
}

// TestReferencesAreReopened: a tape that did not have what was referred to is not
// kept over an epoch.
func TestReferencesAreReopened(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	h, payload := p.records(2)
	p.source = source{epoch: 7}
	session := wire.Session{Publisher: "fake", Tape: "01", ByReference: &wire.TapePlace{Path: "/tape"}}
	opens := 0
	r := start(t, Config{Endpoints: []string{p.endpoint}, OpenTape: func(string, wire.TapePlace) (Referred, error) {
		opens++
		return &slate{id: [16]byte{byte(opens)}, bytes: payload}, nil
	}}, &notes{})
	refer := func() {
		b := h
		b.Epoch, b.FirstSeq, b.Hash, b.Flags = p.source.epoch, p.source.next, p.source.hash, wire.FlagReference
		p.source.batch(b.Count, b.CRC)
		p.sendRaw(p.frame(b), wire.AppendReference(nil, &wire.Reference{Tape: [16]byte{2}}))
	}
	p.await("")
	p.helloFrom(session)
	p.await(readyPrefix)
	refer() // not on the first tape
	p.await("")
	session.Start, p.source = p.source.begin(8)
	p.helloFrom(session)
	refer()
	p.end()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	if sum := r.Summary(); opens != 2 || sum.Fallbacks != 1 || sum.Referred != 1 || sum.Records != 2 || sum.Lost != 2 {
		t.Errorf("%d tapes opened, summary %+v", opens, sum)
	}
}

// noticePage is a page of a worker that takes notices.
type noticePage struct{ *page }

func (p noticePage) HandleNotice(shard int, r wire.Record) {
	p.events = append(p.events, fmt.Sprint("notice ", shard, " ", string(r.Body())))
}

// TestWorkersOverBegin: workers hear of notices and of a new epoch in their place,
// and what is missing at the old epoch's end before the new one begins. Their
// reports go out as any reader's.
func TestWorkersOverBegin(t *testing.T) {
	p := newFake(t, anyPort, 0, 1, 7)
	l := newLedger(2)
	w := mustWorkers(t, Config{Endpoints: []string{p.endpoint}}, WorkersConfig{Workers: 2}, func(i int) WorkerHandler {
		if i == 0 {
			return noticePage{l.pages[i]}
		}
		return l.pages[i]
	})
	done := runWorkers(t, t.Context(), w)
	p.greet()
	next := map[string]uint32{}
	p.sendTopics(20, next)
	p.notice("hear", nil)
	p.source.batch(5, 0) // never sent
	var s *wire.SessionStart
	s, p.source = p.source.begin(8)
	p.helloFrom(wire.Session{Start: s})
	w.Report(0, wire.ReaderReport{Verdict: "ok"})
	p.await("TPDK?lag:")
	p.sendTopics(20, next)
	p.end()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	heard := []string{"session 7", "batch 0", "notice 0 hear", "gap 20-25", "session 8", "batch 0", "end true"}
	deaf := slices.Concat(heard[:2], heard[3:])
	for i, want := range [][]string{heard, deaf} {
		if got := l.pages[i].events; !slices.Equal(got, want) {
			t.Errorf("worker %d heard %q, want %q", i, got, want)
		}
	}
	if sum := w.Summary(); sum.Lost != 5 || sum.Broken != 0 || sum.Notices != 1 {
		t.Errorf("summary %+v", sum)
	}
}
