package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// hears has a reader take records and notices, in order.
type hears struct {
	t *testing.T
	r *failoverReader
}

func newHears(t *testing.T) *hears { return &hears{t, newFailoverReader(1, 0, nil)} }

func (h *hears) records(from, to wire.Seq) *hears {
	h.t.Helper()
	for seq := from; seq < to; seq++ {
		p := wire.Plain{Epoch: 7, Seq: seq, TopicSeq: uint32(seq), Shards: 1, Kind: wire.KindQuote}
		if err := h.r.message([]byte(benchTopic(0)), wire.AppendPlain(nil, &p), nil, 1); err != nil {
			h.t.Fatal(err)
		}
	}
	return h
}

func (h *hears) notice(topic string, body any) *hears {
	h.t.Helper()
	text, err := json.Marshal(body)
	if err == nil {
		err = h.r.message([]byte(topic), wire.AppendPlain(nil, &wire.Plain{Kind: wire.KindNotice}), text, 1)
	}
	if err != nil {
		h.t.Fatal(err)
	}
	return h
}

func (h *hears) takeover(epoch uint64, begins wire.Seq, behind int, missing uint64, reach time.Duration) *hears {
	h.t.Helper()
	return h.notice(lvc.PairTopic, lvc.PairNotice{
		State: stateActive, Epoch: epoch, Behind: behind, Missing: missing, ReachNS: int64(reach), Positions: []lvc.Position{{Epoch: 7, Next: begins}},
	})
}

// TestLossIsTold: of what a reader lacks, what it was told of is told apart from what
// nobody has said.
func TestLossIsTold(t *testing.T) {
	const second = time.Second
	for name, tc := range map[string]struct {
		readers []*hears
		want    failoverTally
	}{
		"nothing is lost": {[]*hears{newHears(t).records(0, 50).takeover(2, 40, 0, 0, second).records(40, 100)}, failoverTally{}},
		"untold": {[]*hears{newHears(t).records(0, 30).takeover(2, 40, 0, 0, second).records(40, 100)},
			failoverTally{Missing: 10, Holes: "[30, 40)", Takeovers: "10 of 1 readers in epoch 2, sent from 40 on, when 0 were behind"}},
		"it was behind": {[]*hears{newHears(t).records(0, 30).takeover(2, 40, 1, 0, second).records(40, 100)},
			failoverTally{Missing: 10, AtTakeover: 10, Holes: "[30, 40)", Takeovers: "10 of 1 readers in epoch 2, sent from 40 on, when 1 were behind"}},
		"more are": {[]*hears{newHears(t).records(0, 30).takeover(2, 40, 1, 0, second).records(40, 100), newHears(t).records(0, 35).takeover(2, 40, 1, 0, second).records(40, 100)},
			failoverTally{Missing: 15, Holes: "[30, 40)", Takeovers: "15 of 2 readers in epoch 2, sent from 40 on, when 1 were behind"}},
		"there was no room": {[]*hears{newHears(t).records(0, 30).takeover(2, 40, 0, 5, second).records(40, 100)},
			failoverTally{Missing: 10, AtTakeover: 10, Holes: "[30, 40)", Takeovers: "10 of 1 readers in epoch 2, sent from 40 on, when 0 were behind"}},
		"it had kept for too short a time": {[]*hears{newHears(t).records(0, 30).takeover(2, 40, 0, 0, 0).records(40, 100)},
			failoverTally{Missing: 10, AtTakeover: 10, Holes: "[30, 40)", Takeovers: "10 of 1 readers in epoch 2, sent from 40 on, when 0 were behind"}},
		"before the takeover": {[]*hears{newHears(t).records(0, 30).records(33, 60).takeover(2, 40, 1, 0, second).records(40, 100)},
			failoverTally{Missing: 3, Holes: "[30, 33)"}},
		"behind where it began": {[]*hears{newHears(t).records(0, 40).takeover(2, 40, 1, 0, second).records(50, 100)},
			failoverTally{Missing: 10, Holes: "[40, 50)"}},
		"in part": {[]*hears{newHears(t).records(0, 30).takeover(2, 40, 1, 0, second).records(50, 100)},
			failoverTally{Missing: 20, AtTakeover: 10, Holes: "[30, 50)", Takeovers: "10 of 1 readers in epoch 2, sent from 40 on, when 1 were behind"}},
		"it never came": {[]*hears{newHears(t).records(0, 30).notice(lvc.GapTopic, lvc.GapNotice{Epoch: 7, From: 32, To: 37}).records(40, 100)},
			failoverTally{Missing: 10, Incomplete: 5, Holes: "[30, 40)"}},
		"the end":            {[]*hears{newHears(t).records(0, 90)}, failoverTally{Missing: 10, Tail: 10, Holes: "[90, 100)"}},
		"all of it":          {[]*hears{newHears(t)}, failoverTally{Missing: 100, Tail: 100, Holes: "[0, 100)"}},
		"one became passive": {[]*hears{newHears(t).records(0, 30).notice(lvc.PairTopic, lvc.PairNotice{State: statePassive}).records(30, 100)}, failoverTally{}},
	} {
		var all []failoverLoss
		for _, h := range tc.readers {
			_, loss := h.r.end(100)
			all = append(all, loss)
		}
		if got := toldOf(all); got != tc.want {
			t.Errorf("%s: %+v, want %+v", name, got, tc.want)
		}
	}
}

// TestLostStandsOut: a loss is given to who has told of it, and one that nobody has told
// of is a fault.
func TestLostStandsOut(t *testing.T) {
	for name, tc := range map[string]struct {
		found            failoverTally
		dropped          float64
		queues, untold   float64
		notes, isAFault  int
		incompleteOfThis float64
	}{
		"nothing":           {failoverTally{}, 0, 0, 0, 0, 0, 0},
		"dropped, not lost": {failoverTally{}, 50, 0, 0, 0, 0, 0},
		"all told":          {failoverTally{Missing: 100, Incomplete: 30, AtTakeover: 50}, 40, 20, 0, 1, 0, 30},
		"untold":            {failoverTally{Missing: 100, Incomplete: 30, AtTakeover: 50}, 15, 15, 5, 1, 1, 30},
		"told twice":        {failoverTally{Missing: 100, Incomplete: 80, AtTakeover: 50}, 0, 0, 0, 1, 0, 80},
	} {
		tl := newTally(Label{"part", "lvc"})
		tl.lost(&tc.found, tc.dropped, 0)
		c := tl.done()
		for metric, want := range map[string]float64{
			"lost_records": float64(tc.found.Missing), "lost_dropped_records": tc.queues, "lost_untold_records": tc.untold, "lost_incomplete_records": tc.incompleteOfThis,
		} {
			if got := c.Metrics[metric].Median; got != want {
				t.Errorf("%s: %s is %v, want %v", name, metric, got, want)
			}
		}
		if len(tl.notes) != tc.notes || len(tl.faults) != tc.isAFault {
			t.Errorf("%s: notes %q, faults %q", name, tl.notes, tl.faults)
		}
	}
}

// TestCounted: what servers of a pair count is added up over all of them, those that are
// killed included; one that does not answer is counted itself.
func TestCounted(t *testing.T) {
	page := "# HELP tapedeck_lvc_dropped_records_total of readers\n" +
		"tapedeck_lvc_dropped_records_total 7\n" +
		"tapedeck_pair_fenced_announcements_total{part=\"lvc\"} 1\n" +
		"tapedeck_pair_fenced_announcements_total{part=\"a b\"} 2\n" +
		"tapedeck_readers_queue_bytes 2e+06\nother +Inf\n"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/metrics" {
			_, _ = fmt.Fprint(w, page)
		}
	}))
	defer server.Close()
	m := &member{name: "primary", more: make(chan struct{})}
	var c counted
	if c.add(t.Context(), m); c.unread != 1 || c.sums != nil {
		t.Errorf("it has not said where: %+v", c)
	}
	m.line("lvc", fmt.Appendf(nil, `{"message_type":"metrics.serving","address":%q}`, strings.TrimPrefix(server.URL, "http://")))
	for range 2 {
		if got := c.add(t.Context(), m); got["other"] == 0 {
			t.Errorf("metrics %v", got)
		}
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	c.add(ended, m)
	page = "nonsense\n"
	c.add(t.Context(), m)
	tl := newTally()
	c.report(tl)
	done := tl.done()
	for metric, want := range map[string]float64{"dropped_records": 14, "fenced_announcements": 6, "queued_max_mb": 2, "servers_unread": 3} {
		if got := done.Metrics[metric].Median; got != want {
			t.Errorf("%s is %v, want %v", metric, got, want)
		}
	}
	if len(done.Metrics) != 4 {
		t.Errorf("%v", done.Metrics)
	}
}

// numberedBatch is a batch of the tape that the readers of a pair of players compare
// with, of one topic.
func numberedBatch(t *testing.T, from, to uint32) *wire.Batch {
	t.Helper()
	b := &wire.Batch{Header: wire.Header{Epoch: 5, Count: to - from, FirstSeq: wire.Seq(from)}}
	for n := from; n < to; n++ {
		var err error
		if b.Payload, err = wire.AppendRecord(b.Payload, &wire.Fields{Topic: []byte(benchTopic(0)), TopicSeq: n, Kind: wire.KindQuote}); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// TestShortReader: a reader of a pair of players that gets nothing of the end is found,
// as is one that lacks something in between; what it was told of as a gap is counted.
func TestShortReader(t *testing.T) {
	came := make(chan struct{}, 10)
	readers := []*pairReader{{topics: 1, came: came}, {topics: 1, came: came}, {topics: 1, came: came}}
	for i, batches := range [][][2]uint32{{{0, 60}, {60, 120}}, {{0, 60}}, {{0, 50}, {55, 105}}} {
		for _, b := range batches {
			if err := readers[i].HandleBatch(numberedBatch(t, b[0], b[1]), 0); err != nil {
				t.Fatal(err)
			}
		}
	}
	readers[2].HandleGap(0, 5, 50, 53)
	awaitReached(readers, 100, time.Millisecond)
	want := []failoverTally{
		{Records: 120, Reached: 120},
		{Records: 60, Reached: 60, Missing: 40, Tail: 40, Holes: "[60, 100)"},
		{Records: 100, Reached: 105, Missing: 5, Incomplete: 3, Holes: "[50, 55)"},
	}
	for i, r := range readers {
		if got, epochs := r.end(100); got != want[i] || epochs != 1 {
			t.Errorf("reader %d: %+v, want %+v; %d epochs", i, got, want[i], epochs)
		}
	}
	later := make(chan struct{})
	go func() {
		defer close(later)
		_ = readers[1].HandleBatch(numberedBatch(t, 60, 100), 0)
	}()
	awaitReached(readers, 100, time.Hour)
	<-later
	if got, _ := readers[1].end(100); got.Missing != 0 || got.Records != 100 {
		t.Errorf("it has everything: %+v", got)
	}
}

// TestLiveBatches: however late records are, a batch of them is not too large to be sent.
func TestLiveBatches(t *testing.T) {
	s := &sizes{}
	l := newLive(t.Context(), s, 3, 1000)
	for range 5000 {
		if err := l.emit(1); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.flush(); err != nil || s.records != 5000 || l.ordinal != 5000 || s.most > liveBytes+2000 || s.most < liveBytes {
		t.Errorf("%v: %+v, ordinal %d", err, s, l.ordinal)
	}
}

// sizes is a publisher that looks at what it is given.
type sizes struct {
	records uint32
	most    int
}

func (s *sizes) Send(_ context.Context, _ int, b *wire.Batch, _ interface{ Release() }) error {
	s.records += b.Count
	s.most = max(s.most, len(b.Payload))
	return nil
}
