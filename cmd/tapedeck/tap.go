package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

type tapFlags struct {
	topics        []string
	rate          int
	subscriptions bool
	data          bool
	silence       time.Duration
}

func newTap() *cobra.Command {
	var f tapFlags
	cmd := &cobra.Command{
		Use:   "tap ENDPOINT",
		Short: "Show what goes through a running lvc, without disturbing it",
		Long: `Show the records that go through tapedeck lvc, and who joins, subscribes,
unsubscribes and leaves. ENDPOINT is the --tap of lvc. lvc shows so many messages a
second and counts the rest; --rate shows fewer. Ctrl-C ends it.`,
		Example: example(
			"tapedeck tap tcp://127.0.0.1:7201 --topics GLBX.MDP3.ES --rate 100",
			"tapedeck tap tcp://127.0.0.1:7201 --subscriptions --json",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringSliceVar(&f.topics, "topics", nil, "show only topics with one of these prefixes, or those in @FILE")
	fl.IntVar(&f.rate, "rate", 0, "lines a second that are printed at most (0: as many as lvc shows)")
	fl.BoolVar(&f.subscriptions, "subscriptions", false, "show only what readers do")
	fl.BoolVar(&f.data, "data", false, "show only records")
	fl.DurationVar(&f.silence, "silence", 5*time.Second, "fail when the tap says nothing, reports included, for this long (0: wait for ever)")
	return cmd
}

func (f *tapFlags) run(cmd *cobra.Command, endpoint string) error {
	out := newOutput(cmd)
	if f.rate < 0 || f.silence < 0 {
		return usagef("--rate and --silence: want 0 or more")
	}
	topics, err := topicPrefixes(f.topics)
	if err != nil {
		return err
	}
	p := tapPrinter{out: out, rate: f.rate, records: newRecordPrinter(out, nil)}
	err = lvc.Tap(cmd.Context(), lvc.TapConfig{
		Endpoint: endpoint, Topics: topics, Data: f.data, Subscriptions: f.subscriptions, Silence: f.silence,
	}, p.print)
	p.tell()
	return err
}

// tapPrinter prints what a tap shows, so many lines a second.
type tapPrinter struct {
	out     *output
	records *recordPrinter
	rate    int
	second  time.Time // when the second at hand began
	printed int       // in it
	left    uint64    // lines that were not printed
	dropped uint64    // messages that lvc has not shown, when the tap was opened
	lost    uint64    // and since
	begun   bool
	record  []byte
}

func (p *tapPrinter) print(t *lvc.Tapped) error {
	if !p.begun {
		p.begun, p.dropped = true, t.Dropped
	}
	p.lost = t.Dropped - min(p.dropped, t.Dropped)
	if now := time.Now(); now.Sub(p.second) >= time.Second {
		p.second, p.printed = now, 0
	}
	if p.printed++; p.rate > 0 && p.printed > p.rate {
		p.left++
		return nil
	}
	if t.Event != "" {
		return p.event(t)
	}
	h := &t.Header
	f := wire.Fields{Topic: t.Topic, Body: t.Body, Event: h.Event, Receive: h.Receive, TopicSeq: h.TopicSeq, Kind: h.Kind, Flags: h.RecordFlags}
	var err error
	if p.record, err = wire.AppendRecord(p.record[:0], &f); err != nil {
		return err
	}
	if err := p.records.print(wire.Record(p.record)); err != nil {
		return err
	}
	return p.out.flush()
}

func (p *tapPrinter) event(t *lvc.Tapped) error {
	text := fmt.Sprintf("%s %s %s", t.Time, t.Event, t.Peer)
	if t.Event != lvc.Joined && t.Event != lvc.Parted {
		text += " " + strconv.Quote(string(t.Topic))
	}
	return p.out.message("tap."+string(t.Event), struct {
		Time  wire.Nanos `json:"time"`
		Peer  string     `json:"peer"`
		Topic string     `json:"topic"`
	}{t.Time, t.Peer, string(t.Topic)}, text)
}

// tell says what was not shown.
func (p *tapPrinter) tell() {
	if p.lost+p.left > 0 {
		p.out.remark("%s were not shown: %s by lvc's rate, %s by --rate", count(p.lost+p.left, "message"), thousands(p.lost), thousands(p.left))
	}
}
