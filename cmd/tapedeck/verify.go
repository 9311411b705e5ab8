package main

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/tape"
)

func newVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify TAPE",
		Short: "Check every byte of a tape",
		Long: `Read every byte of a tape and check it: manifest, indexes, block headers,
checksums, the hash chain, each record, sequences, topics and totals.

Each problem is named with file, offset, and what it affects. The exit code is 0
for a sound tape and 3 for a damaged one. Gaps that the recorded stream had, and
the torn tail of a tape whose writer was killed, are reported and are no damage.`,
		Example: example("tapedeck verify es.tape", "tapedeck verify --json es.tape"),
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return runVerify(cmd, args[0]) },
	}
}

// verifyProblem is one line of damage, or one warning.
type verifyProblem struct {
	File       string  `json:"file"`
	Offset     int64   `json:"offset"`
	Bytes      int64   `json:"bytes,omitempty"`
	Reason     string  `json:"reason"`
	Affected   string  `json:"affected,omitempty"`
	Block      *int    `json:"block,omitempty"`
	Shard      *int    `json:"shard,omitempty"`
	FirstSeq   *uint64 `json:"first_seq,omitempty"`
	NextSeq    *uint64 `json:"next_seq,omitempty"`
	MinReceive *int64  `json:"min_receive_time,omitempty"`
	MaxReceive *int64  `json:"max_receive_time,omitempty"`
}

func newVerifyProblem(p *tape.Problem) *verifyProblem {
	v := &verifyProblem{File: p.File, Offset: p.Offset, Bytes: p.Bytes, Reason: p.Reason, Affected: p.Affected}
	if b := p.Block; b != nil {
		shard, first, next := int(b.Shard), uint64(b.FirstSeq), uint64(b.Next())
		low, high := int64(b.Receive.Min), int64(b.Receive.Max)
		v.Block, v.Shard, v.FirstSeq, v.NextSeq, v.MinReceive, v.MaxReceive = &b.Number, &shard, &first, &next, &low, &high
	}
	return v
}

// gapLine is a range of sequences that is not there.
type gapLine struct {
	Shard int    `json:"shard"`
	Epoch uint64 `json:"epoch"`
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
}

// verifySummary is the last line of verify.
type verifySummary struct {
	Tape     string     `json:"tape"`
	OK       bool       `json:"ok"`
	Closed   bool       `json:"closed"`
	Records  uint64     `json:"records"`
	Blocks   int        `json:"blocks"`
	Bytes    int64      `json:"bytes"`
	Problems int        `json:"problems"`
	Warnings int        `json:"warnings"`
	Gaps     int        `json:"gaps"`
	Digest   string     `json:"digest"`
	Torn     *tape.Torn `json:"torn,omitempty"`
}

func runVerify(cmd *cobra.Command, dir string) error {
	out := newOutput(cmd)
	var done, total atomic.Int64
	stop := progressBar(cmd.Context(), out, "verify", 1000, func() int64 {
		return done.Load() * 1000 / max(total.Load(), 1)
	})
	rep, err := tape.Verify(cmd.Context(), dir, func(d, t int64) { done.Store(d); total.Store(t) })
	stop()
	if err != nil {
		var corrupt *tape.CorruptError
		if errors.As(err, &corrupt) {
			return damagedError{err}
		}
		return err
	}
	if err := printReport(out, &rep); err != nil {
		return err
	}
	sum := &verifySummary{
		Tape: dir, OK: rep.OK(), Closed: rep.Closed, Records: rep.Records, Blocks: rep.Blocks, Bytes: rep.Bytes,
		Problems: len(rep.Problems), Warnings: len(rep.Warnings), Gaps: len(rep.Gaps), Digest: rep.Digest.String(), Torn: rep.Torn,
	}
	if err := out.message("verify.summary", sum, sum.text()); err != nil {
		return err
	}
	if !rep.OK() {
		return withHint(damagedf("%s is damaged in %d places", dir, len(rep.Problems)), "tapedeck repair "+dir+" -o NEW saves what can be read")
	}
	return nil
}

func printReport(out *output, rep *tape.Report) error {
	for i := range rep.Problems {
		p := &rep.Problems[i]
		if err := out.message("verify.problem", newVerifyProblem(p), "damage: "+p.String()); err != nil {
			return err
		}
	}
	for i := range rep.Warnings {
		p := &rep.Warnings[i]
		if err := out.message("verify.warning", newVerifyProblem(p), "warning: "+p.String()); err != nil {
			return err
		}
	}
	for i := range rep.Gaps {
		g := &rep.Gaps[i]
		err := out.message("verify.gap", gapLine{g.Shard, uint64(g.Epoch), uint64(g.From), uint64(g.To)},
			fmt.Sprintf("gap: shard %d, epoch %d: sequences [%d, %d) are not in the recording, %d records", g.Shard, uint64(g.Epoch), g.From, g.To, g.To-g.From))
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *verifySummary) text() string {
	state := "sound"
	if !s.OK {
		state = "DAMAGED"
	}
	text := fmt.Sprintf("%s: %s, %s records in %d blocks, %s, digest %s", s.Tape, state, thousands(s.Records), s.Blocks, size(uint64(s.Bytes)), s.Digest)
	if !s.Closed {
		text += "\nnot closed: its writer is running, or was killed; tapedeck repair closes it"
	}
	if s.Torn != nil {
		text += fmt.Sprintf("\ntorn tail: %d bytes of %s from offset %d (%s)", s.Torn.Bytes, s.Torn.Segment, s.Torn.Offset, s.Torn.Reason)
	}
	return text
}
