package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/binarystar"
)

func newPair() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pair",
		Short: "Show and promote the servers of a failover pair",
		Long: `Ask servers that are one of a pair (lvc, play and serve with --pair) how they stand,
and promote one. A server is asked at its --pair-bus. docs/OPERATIONS.md says how to
run a pair, and what to do when something fails.`,
		Example: example(
			"tapedeck pair status tcp://10.1.0.1:7291 tcp://10.1.0.2:7291",
			"tapedeck pair promote tcp://10.1.0.2:7291 --force",
		),
	}
	cmd.AddCommand(newPairStatus(), newPairPromote())
	return cmd
}

// pairTry is how long one server is asked: who is there answers at once.
const pairTry = 3 * time.Second

func newPairStatus() *cobra.Command {
	timeout := pairTry
	cmd := &cobra.Command{
		Use:   "status ENDPOINT [ENDPOINT]",
		Short: "Show how the two of a pair stand",
		Long: `Ask one or both servers of a pair how they stand. It fails when one does not answer,
when both are active, when none is, and when one does not hear the other: when the next
failure would not be survived.`,
		Example: example("tapedeck pair status tcp://127.0.0.1:7291", "tapedeck pair status tcp://10.1.0.1:7291 tcp://10.1.0.2:7291"),
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := newOutput(cmd)
			report := pairReport{Members: make([]pairMemberState, len(args))}
			for i, endpoint := range args {
				m := &report.Members[i]
				m.Endpoint = endpoint
				var st control.PairState
				if err := askPair(cmd.Context(), endpoint, timeout, "state", nil, &st); err != nil {
					if cmd.Context().Err() != nil || errors.As(err, new(usageError)) {
						return err
					}
					m.Error = err.Error()
				} else {
					m.PairState = &st
				}
			}
			report.judge()
			if err := out.message("pair.status", &report, report.text()); err != nil {
				return err
			}
			if len(report.Wrong) > 0 {
				return errors.New("the pair: " + strings.Join(report.Wrong, "; "))
			}
			return nil
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long each is asked")
	return cmd
}

func newPairPromote() *cobra.Command {
	var (
		args    control.PairPromote
		timeout = pairTry
	)
	cmd := &cobra.Command{
		Use:   "promote ENDPOINT",
		Short: "Make one of a pair the active one",
		Long: `Make a server active because you say so. It is the only way for a backup that has
never heard its primary. While the other one is active and heard it takes --force, and
the other one yields: so work is moved before a server is taken down.`,
		Example: example("tapedeck pair promote tcp://10.1.0.2:7291", "tapedeck pair promote tcp://10.1.0.1:7291 --force"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, at []string) error {
			m := pairMemberState{Endpoint: at[0], PairState: &control.PairState{}}
			if err := askPair(cmd.Context(), at[0], timeout, "promote", args, m.PairState); err != nil {
				return err
			}
			return newOutput(cmd).message("pair.promoted", &m, fmt.Sprintf("%s: %s %s is %s in epoch %d", m.Endpoint, m.Part, m.Role, m.State, m.Epoch))
		},
	}
	cmd.Flags().BoolVar(&args.Force, "force", false, "although the other one is active: it yields")
	cmd.Flags().DurationVar(&timeout, "timeout", timeout, "how long the server is asked")
	return cmd
}

// askPair gives one command to one server of a pair.
func askPair(ctx context.Context, endpoint string, timeout time.Duration, command string, args, result any) error {
	f := busFlags{endpoints: []string{endpoint}, timeout: timeout}
	b, err := f.open(ctx)
	if err != nil {
		return withHint(err, "a server of a pair answers at its --pair-bus")
	}
	err = errors.Join(b.do(ctx, control.ServicePair, command, args, result), b.close())
	if refused := new(control.Error); errors.As(err, &refused) {
		return err
	}
	return withHint(err, "a server of a pair answers at its --pair-bus")
}

// pairReport is what pair status says.
type pairReport struct {
	Members []pairMemberState `json:"members"`
	Wrong   []string          `json:"wrong"` // what an operator should do something about
}

// pairMemberState is how one of them stands; of one that did not answer, why.
type pairMemberState struct {
	Endpoint string `json:"endpoint"`
	Error    string `json:"error,omitempty"`
	*control.PairState
}

// judge finds what is wrong.
func (r *pairReport) judge() {
	r.Wrong = []string{}
	active, answered := 0, 0
	for i := range r.Members {
		m := &r.Members[i]
		switch {
		case m.PairState == nil:
			r.Wrong = append(r.Wrong, m.Endpoint+" does not answer")
			continue
		case m.Silent:
			r.Wrong = append(r.Wrong, m.Endpoint+" does not hear the other one")
		}
		answered++
		if m.State == binarystar.Active.String() {
			active++
		}
	}
	if answered < 2 {
		return
	}
	switch {
	case active == 0:
		r.Wrong = append(r.Wrong, "none is active")
	case active == 2:
		r.Wrong = append(r.Wrong, "both are active")
	}
	if a, b := &r.Members[0], &r.Members[1]; a.Role == b.Role {
		r.Wrong = append(r.Wrong, "both are the "+a.Role)
	} else if a.Part != b.Part {
		r.Wrong = append(r.Wrong, "one serves "+a.Part+", the other "+b.Part)
	}
}

func (r *pairReport) text() string {
	var s strings.Builder
	for i := range r.Members {
		m := &r.Members[i]
		if i > 0 {
			s.WriteByte('\n')
		}
		if m.PairState == nil {
			fmt.Fprintf(&s, "%s  no answer: %s", m.Endpoint, m.Error)
			continue
		}
		fmt.Fprintf(&s, "%s  %s %s: %s in epoch %d for %v", m.Endpoint, m.Part, m.Role, m.State, m.Epoch, time.Duration(m.Since).Round(time.Second))
		if m.Reason != "" {
			fmt.Fprintf(&s, " (%s)", m.Reason)
		}
		heard := "heard"
		if m.Silent {
			heard = "silent"
		}
		fmt.Fprintf(&s, "\n    the other one: %s, %s; takeovers %d, yields %d, fenced %d, votes %d, refused %d",
			m.Peer, heard, m.Promotions, m.Yields, m.Fenced, m.Votes, m.Refused)
	}
	return s.String()
}
