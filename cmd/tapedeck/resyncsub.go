package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/tape"
)

// catchUpFlags are the flags of a reader that makes its stream whole, and may begin
// in the past.
type catchUpFlags struct {
	heal     healFlags
	from     string
	clock    string
	marks    string
	resume   string
	snapshot string
}

const fromStart = "start"

func (f *catchUpFlags) add(cmd *cobra.Command) {
	f.heal.add(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.from, "from", "", `with --resync: begin with the records from this time on, then go on live: RFC 3339, to the nanosecond, nanoseconds since 1970, @ and a mark's name, or "`+fromStart+`", the first record of the epoch that is live`)
	fl.StringVar(&f.marks, "marks", "", "with --from @MARK: tape that has the mark")
	fl.StringVar(&f.clock, "clock", "receive", "the time that --from means: receive, event or send")
	fl.StringVar(&f.resume, "resume", "", "with --resync: file that keeps how far this reader is; where there is one, go on exactly there")
	fl.StringVar(&f.snapshot, "snapshot", "", "with --policy skip: endpoints, separated by commas, to take last values from (default: those of --resync)")
	_ = cmd.RegisterFlagCompletionFunc("clock", cobra.FixedCompletions(resync.Clocks(), cobra.ShellCompDirectiveNoFileComp))
}

// catchUp is how a reader makes its stream whole. A nil one does not.
type catchUp struct {
	flags  *healFlags
	client *resync.Client
	start  resync.Start
	resume *resume
	out    *output
}

// open checks the flags; nil without --resync.
func (f *catchUpFlags) open(cmd *cobra.Command, policy string, out *output) (*catchUp, error) {
	client, err := f.heal.client()
	if err != nil {
		return nil, err
	}
	given := func(flag string) bool { return cmd.Flags().Changed(flag) }
	conflates := policy == snail.PolicyConflate.String() || policy == snail.PolicySkip.String()
	switch {
	case client == nil && f.from != "":
		return nil, usagef("--from %s: the past comes from a recorder or player: --resync says where that is", f.from)
	case client == nil && f.resume != "":
		return nil, usagef("--resume %s: what was missed comes from a recorder or player: --resync says where that is", f.resume)
	case given("clock") && (f.from == "" || f.from == fromStart):
		return nil, usagef("--clock says nothing without a time in --from")
	case f.marks != "" && !strings.HasPrefix(f.from, "@"):
		return nil, usagef("--marks says nothing without --from @MARK")
	case f.resume != "" && conflates:
		return nil, usagef("--resume: with --policy %s there is no place that everything before has been handled", policy)
	case client == nil:
		return nil, nil
	}
	c := &catchUp{flags: &f.heal, client: client, out: out}
	if c.start, err = f.start(out); err != nil {
		return nil, err
	}
	if c.resume, err = openResume(f.resume, out); err != nil {
		return nil, err
	}
	if c.resume != nil && len(c.resume.from) > 0 {
		c.start = resync.Start{Positions: c.resume.from}
		out.remark("going on where %s says%s", f.resume, f.instead())
		_ = out.message("sub.resume", struct {
			File string      `json:"file"`
			At   []healPlace `json:"at"`
		}{f.resume, nextPlaces(c.resume.from)}, "")
	}
	if c.start.Clock != "" {
		out.remark("asking %s for the records from %s on", f.heal.servers, f.from)
	}
	return c, nil
}

// instead says that --from is not what counts.
func (f *catchUpFlags) instead() string {
	if f.from == "" {
		return ""
	}
	return ", not at --from " + f.from
}

// start is where --from begins.
func (f *catchUpFlags) start(out *output) (resync.Start, error) {
	switch {
	case f.from == "":
		return resync.Start{}, nil
	case f.from == fromStart:
		return resync.Start{Epoch: true}, nil
	case strings.HasPrefix(f.from, "@"):
		return f.startAtMark(out)
	}
	t, err := parseTime("--from", f.from)
	if err != nil {
		return resync.Start{}, err
	}
	return resync.Start{From: t, Clock: f.clock}, nil
}

// startAtMark is start for a mark: it is looked up on a tape that this process can
// open, and what is asked for is its time.
func (f *catchUpFlags) startAtMark(out *output) (resync.Start, error) {
	if f.marks == "" {
		return resync.Start{}, withHint(usagef("--from %s: --marks must say which tape has that mark", f.from), "tapedeck marks list TAPE shows the times of a tape's marks")
	}
	clock, err := tape.ParseClock(f.clock)
	if err != nil {
		return resync.Start{}, usageError{err}
	}
	t, err := openTape(f.marks, out)
	if err != nil {
		return resync.Start{}, err
	}
	defer t.Close()
	at, err := timeOn(t, clock, "--from", f.from)
	return resync.Start{From: at, Clock: f.clock}, err
}

// nextPlaces are positions in JSON: of each shard the next sequence.
func nextPlaces(at []resync.Span) []healPlace {
	var list []healPlace
	for _, s := range at {
		list = append(list, healPlace{s.Shard, s.Epoch, s.To})
	}
	return list
}

// heal puts a healing before a handler.
func (c *catchUp) heal(shards int, next subscriber.Handler) (*healing, error) {
	h, err := c.flags.heal(c.client, shards, c.start, next, c.out)
	if err != nil {
		return nil, err
	}
	h.ledger.byTime = c.start.Clock != ""
	return h, nil
}

// run runs a box and saves its positions.
func (c *catchUp) run(ctx context.Context, b *box) error {
	if c == nil {
		return b.run(ctx)
	}
	if c.resume != nil {
		c.resume.now = b.positions
	}
	return c.resume.during(ctx, b.run)
}

// snapshots are where --policy skip takes last values from, and what must run for
// that; both may be nil.
func (f *catchUpFlags) snapshots(policy string, c *catchUp) (resync.Snapshots, *resync.Client, error) {
	if f.snapshot == "" {
		if c == nil {
			return nil, nil, nil
		}
		return clientSnapshots{c.client}, nil, nil
	}
	if policy != snail.PolicySkip.String() {
		return nil, nil, usagef("--snapshot says nothing without --policy skip")
	}
	endpoints, err := endpointList("--snapshot", f.snapshot)
	if err != nil {
		return nil, nil, err
	}
	own, err := resync.NewClient(resync.ClientConfig{Endpoints: endpoints})
	if err != nil {
		return nil, nil, usageError{err}
	}
	return clientSnapshots{own}, own, nil
}

// clientSnapshots are the last values that a client's servers have.
type clientSnapshots struct{ *resync.Client }

// Snapshot implements resync.Snapshots.
func (c clientSnapshots) Snapshot(ctx context.Context, q resync.Query) (resync.Snapshot, error) {
	s, err := c.Client.Snapshot(ctx, q)
	if err != nil {
		return nil, err // not a nil pointer in an interface
	}
	return s, nil
}

// withClient runs a client beside something else; a nil one does not.
func withClient(ctx context.Context, client *resync.Client, run func(context.Context) error) error {
	if client == nil {
		return run(ctx)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := client.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			cancel(fmt.Errorf("--snapshot: %w", err))
		}
	}()
	defer func() { <-ended }()
	defer cancel(nil)
	return run(ctx)
}
