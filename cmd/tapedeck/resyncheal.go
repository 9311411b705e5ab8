package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

// healFlags are the flags of a reader that asks for what it misses.
type healFlags struct {
	servers  string
	attempts int
}

const healAttemptsDefault = 10

func (f *healFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.servers, "resync", "", "endpoints, separated by commas, the best first, to ask for what was missed: of record or play --resync-bind, or of resync")
	fl.IntVar(&f.attempts, "resync-attempts", healAttemptsDefault, "how often every endpoint is asked in vain before records are given up")
}

// client returns who asks; nil without --resync.
func (f *healFlags) client() (*resync.Client, error) {
	if f.servers == "" {
		if f.attempts != healAttemptsDefault {
			return nil, usagef("--resync-attempts says nothing without --resync")
		}
		return nil, nil
	}
	if f.attempts < 1 {
		return nil, usagef("--resync-attempts %d: want 1 or more", f.attempts)
	}
	endpoints, err := endpointList("--resync", f.servers)
	if err != nil {
		return nil, err
	}
	c, err := resync.NewClient(resync.ClientConfig{Endpoints: endpoints, Attempts: f.attempts})
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// healing makes a stream whole: a healer, its client, and the ledger behind it. It
// stands between receive loops and a handler, as a subscriber.Between.
type healing struct {
	*resync.Healer
	client *resync.Client
	ledger *ledger
	marks  subscriber.MarkHandler // wants marks as well; may be nil
	out    *output
}

// heal puts a healing before a handler.
func (f *healFlags) heal(client *resync.Client, shards int, start resync.Start, next subscriber.Handler, out *output) (*healing, error) {
	h := &healing{client: client, ledger: newLedger(shards, next), out: out}
	h.marks, _ = next.(subscriber.MarkHandler)
	var err error
	h.Healer, err = resync.NewHealer(resync.HealerConfig{
		Shards: shards, Client: client, Start: start, Attempts: f.attempts,
		Warn: func(_ int, err error) { out.remark("warning: %s", withoutPackage(err)) },
	}, h.ledger)
	return h, err
}

// withoutPackage is an error as people read it.
func withoutPackage(err error) string { return strings.TrimPrefix(err.Error(), "resync: ") }

// HandleMark implements subscriber.MarkHandler.
func (h *healing) HandleMark(shard int, mark *wire.Header) {
	h.Healer.HandleMark(shard, mark)
	if h.marks != nil {
		h.marks.HandleMark(shard, mark)
	}
}

// Run implements subscriber.Between: it runs the healer and its client.
func (h *healing) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { cancel(h.client.Run(ctx)) })
	err := h.Healer.Run(ctx)
	cancel(err)
	return err
}

// settleSilent is how long is waited for the last of what is missing without a word.
const settleSilent = time.Second

// Settle implements subscriber.Between.
func (h *healing) Settle(ctx context.Context) error {
	word := time.AfterFunc(settleSilent, func() { h.out.remark("the stream has ended; asking for what is still missing") })
	defer word.Stop()
	return h.Healer.Settle(ctx)
}

// noAnswer adds what to look at where nobody answers.
func noAnswer(err error) error {
	if errors.Is(err, resync.ErrNoAnswer) {
		return withHint(err, "is the recorder or the player running, with --resync-bind, or tapedeck resync?")
	}
	return err
}

// receive runs receive loops before a healing, until the stream has ended and
// everything that can be had has been handed over. For loops without workers; those
// with workers do so themselves.
func (h *healing) receive(ctx context.Context, loops func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		cancel(h.Run(ctx))
	}()
	defer func() { <-ended }()
	defer cancel(nil)
	if err := loops(ctx); err != nil {
		return err
	}
	return h.Settle(ctx)
}

// healPlace is a place in a shard, in JSON.
type healPlace struct {
	Shard int        `json:"shard"`
	Epoch wire.Epoch `json:"epoch"`
	Seq   wire.Seq   `json:"seq"`
}

// healServer is what one server of --resync did.
type healServer struct {
	Endpoint string `json:"endpoint"`
	Refilled uint64 `json:"refilled"` // records
	Requests uint64 `json:"requests"`
	Lacked   uint64 `json:"lacked"` // ... answered with not having it
	Failed   uint64 `json:"failed"` // times that it did not answer, brought nothing, or failed
	Bytes    uint64 `json:"bytes"`
}

// servers is what each server did.
func (h *healing) servers() []healServer {
	var list []healServer
	refilled := h.Refilled()
	for i, s := range h.client.ServerStats() {
		list = append(list, healServer{Endpoint: s.Endpoint, Refilled: refilled[i], Requests: s.Requests, Lacked: s.Lacked, Failed: s.Failed, Bytes: s.Bytes})
	}
	return list
}

// by says which servers have healed something, where there are several.
func (s *healSummary) by() string {
	if len(s.Servers) < 2 || s.Refilled == 0 {
		return ""
	}
	var list []string
	for _, v := range s.Servers {
		if v.Refilled > 0 {
			list = append(list, fmt.Sprintf("%s from %s", thousands(v.Refilled), v.Endpoint))
		}
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// healSummary is the part of a summary that tells what healing did.
type healSummary struct {
	Refilled uint64            `json:"refilled"` // records that were asked for
	Live     uint64            `json:"live"`     // records that came by themselves
	Gaps     uint64            `json:"gaps"`     // times that something was missing
	Healed   uint64            `json:"healed"`   // ... and all of it was had
	GaveUp   uint64            `json:"gave_up"`
	Lost     uint64            `json:"lost"` // records that stay missing
	LostBy   map[string]uint64 `json:"lost_by,omitempty"`
	Twice    uint64            `json:"twice"`  // records handed over twice
	Unsaid   uint64            `json:"unsaid"` // records left out without a word
	Repeated uint64            `json:"repeated"`
	Requests uint64            `json:"requests"`
	Retries  uint64            `json:"retries"`
	Evicted  uint64            `json:"evicted"`
	HeldPeak int64             `json:"held_bytes_peak"`
	Partial  uint64            `json:"partial_epochs"`      // ended, and not whole
	Servers  []healServer      `json:"by_server,omitempty"` // in the order of --resync
	Begun    []healPlace       `json:"begun,omitempty"`
	Spliced  []healPlace       `json:"spliced,omitempty"` // the first record of each shard that came live

	whole bool
}

// outcome is a subscriber's summary as it is behind the healing, what that did, and
// why the stream is not complete.
func (h *healing) outcome(in subscriber.Summary) (subscriber.Summary, *healSummary, string) {
	st, sum := h.Stats(), h.ledger.sum()
	s := in
	s.Records, s.Gaps, s.Lost = sum.records, sum.gaps, sum.lost
	s.Epochs = max(s.Epochs, sum.epochs)
	s.Broken, s.Diverged, s.Ended = st.Broken, st.Diverged+st.Contradicted, sum.ended
	s.Complete = sum.complete && st.Broken+st.Diverged+st.Contradicted+st.Partial == 0
	heal := &healSummary{
		Refilled: st.Refilled, Live: sum.records - min(st.Refilled, sum.records), Gaps: st.Gaps, Healed: st.Healed, GaveUp: st.GaveUp,
		Lost: sum.lost, LostBy: lostBy(&st.Counters), Twice: sum.twice, Unsaid: sum.unsaid, Repeated: st.Repeated,
		Requests: st.Requests, Retries: st.Retries, Evicted: st.Evicted, HeldPeak: st.HeldPeak, Partial: st.Partial,
		Servers: h.servers(), Begun: places(h.ledger.begins()), whole: sum.lost+sum.unsaid+sum.twice+st.Broken == 0,
	}
	if st.Refilled > 0 {
		heal.Spliced = places(h.Splices())
	}
	return s, heal, h.why(s, st, sum)
}

func places(spans []resync.Span) []healPlace {
	var list []healPlace
	for _, s := range spans {
		list = append(list, healPlace{s.Shard, s.Epoch, s.From})
	}
	return list
}

// lostBy is how many records were given up for which reason.
func lostBy(c *resync.Counters) map[string]uint64 {
	var by map[string]uint64
	for reason, n := range c.LostBy {
		if n > 0 {
			if by == nil {
				by = map[string]uint64{}
			}
			by[resync.Reason(reason).String()] = n
		}
	}
	return by
}

// why says in words what keeps a stream from being complete.
func (h *healing) why(s subscriber.Summary, st resync.HealerStats, sum ledgerSum) string {
	if s.Complete {
		return ""
	}
	var reasons []string
	say := func(n uint64, format string, args ...any) {
		if n > 0 {
			reasons = append(reasons, fmt.Sprintf(format, args...))
		}
	}
	by := lostBy(&st.Counters)
	var causes []string
	for reason := range by {
		causes = append(causes, reason)
	}
	slices.Sort(causes)
	say(sum.lost, "%s missing (%s)", are(sum.lost, "record"), strings.Join(causes, ", "))
	say(sum.unsaid, "BUG: %s left out without a word", are(sum.unsaid, "record"))
	say(sum.twice, "BUG: %s handed over twice", are(sum.twice, "record"))
	say(st.Broken, "a publisher went without an end mark %s, and nobody knows whether that was all", times(st.Broken))
	say(s.Diverged, "the rolling hash, or a refill's digest, differed %s", times(s.Diverged))
	if s.Early {
		reasons = append(reasons, "the publisher was stopped early")
	}
	if !s.Ended {
		reasons = append(reasons, "the end mark has not come")
	}
	if len(reasons) == 0 {
		reasons = append(reasons, "this reader joined after the first record")
	}
	return strings.Join(reasons, ", ")
}

// are is a number of things that are in some state.
func are(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing + " is"
	}
	return count(n, thing) + " are"
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return thousands(n) + " times"
}

// placesShown is how many shards are named in a line of text.
const placesShown = 4

func (s *healSummary) text() string {
	if s == nil {
		return ""
	}
	text := fmt.Sprintf("; %s from the tape%s, %s live", count(s.Refilled, "record"), s.by(), thousands(s.Live))
	if len(s.Spliced) > 0 {
		var at []string
		for _, p := range s.Spliced[:min(len(s.Spliced), placesShown)] {
			at = append(at, fmt.Sprintf("sequence %d of shard %d", p.Seq, p.Shard))
		}
		if n := len(s.Spliced) - placesShown; n > 0 {
			at = append(at, fmt.Sprintf("and so on for %s", count(uint64(n), "shard")))
		}
		text += ", spliced at " + strings.Join(at, ", ")
	}
	switch {
	case s.whole && s.Gaps == s.Healed:
		text += ": nothing twice, nothing missing"
	case s.Twice > 0:
		text += fmt.Sprintf(": %s twice, %s missing", thousands(s.Twice), thousands(s.Lost+s.Unsaid))
	case s.Lost+s.Unsaid > 0:
		text += fmt.Sprintf(": nothing twice, %s missing", thousands(s.Lost+s.Unsaid))
	default:
		text += ": nothing twice, nothing known to be missing"
	}
	return text
}
