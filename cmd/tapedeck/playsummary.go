package main

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/feed/publisher/faults"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/snail"
)

// playSummary is the last line of play.
type playSummary struct {
	Records   uint64  `json:"records"`
	Bytes     uint64  `json:"bytes"`
	Batches   uint64  `json:"batches"`
	Filtered  uint64  `json:"filtered"`
	Passes    int     `json:"passes"`
	Rounds    int     `json:"rounds,omitempty"`
	Squeezed  int64   `json:"squeezed_ns,omitempty"`
	Speed     string  `json:"speed"`
	Seconds   float64 `json:"seconds"`
	PerSecond float64 `json:"records_per_second"`
	Readers   int     `json:"readers"`
	Finished  int     `json:"readers_finished"`
	Left      int     `json:"readers_left"`
	Stalled   float64 `json:"stalled_seconds"`
	Awaited   float64 `json:"awaited_seconds,omitempty"`
	Foreign   uint64  `json:"foreign_frames"`
	Referred  uint64  `json:"referred_batches"`
	Pacing    *pacing `json:"pacing_error,omitempty"`

	Faults *faults.Counts `json:"faults,omitempty"`

	List   []snail.Reader `json:"reader_list,omitempty"` // all that were there, as they were seen last
	Untold uint64         `json:"untold,omitempty"`      // squawks that were not written, for want of room
	Served *serveSummary  `json:"served,omitempty"`
}

// pacing is how late records left, after the moment their time and the speed
// gave them.
type pacing struct {
	P50  int64 `json:"p50_ns"`
	P90  int64 `json:"p90_ns"`
	P99  int64 `json:"p99_ns"`
	P999 int64 `json:"p999_ns"`
	Max  int64 `json:"max_ns"`
}

func newPlaySummary(rep *replay.Report, st *publisher.Stats, speed replay.Speed) *playSummary {
	s := &playSummary{
		Records: rep.Records, Bytes: rep.Bytes, Batches: rep.Batches, Filtered: rep.Filtered, Passes: rep.Passes,
		Rounds: rep.Rounds, Squeezed: int64(rep.Squeezed),
		Speed: speed.String(), Seconds: rep.Elapsed.Seconds(),
		PerSecond: float64(rep.Records) / max(rep.Elapsed.Seconds(), 1e-9),
		Readers:   st.Joined, Finished: st.Finished, Left: st.Left, Stalled: st.Stalled.Seconds(), Foreign: st.Foreign,
		Awaited:  st.Awaited.Seconds(),
		Referred: st.Referred,
	}
	if h := rep.Late; h != nil && h.TotalCount() > 0 {
		s.Pacing = &pacing{h.ValueAtQuantile(50), h.ValueAtQuantile(90), h.ValueAtQuantile(99), h.ValueAtQuantile(99.9), h.Max()}
	}
	return s
}

func (s *playSummary) text() string {
	text := fmt.Sprintf("played %s records in %.2f s (%s records/s)", thousands(s.Records), s.Seconds, thousands(uint64(s.PerSecond)))
	if s.Pacing != nil {
		text += fmt.Sprintf(", pacing error p50 %v p99 %v max %v",
			round(s.Pacing.P50), round(s.Pacing.P99), round(s.Pacing.Max))
	}
	if s.Rounds > 0 {
		text += ", " + count(uint64(s.Rounds), "round") + " of the loop"
	}
	if s.Squeezed > 0 {
		text += fmt.Sprintf(", %v of idle time left out", round(s.Squeezed))
	}
	if s.Awaited > 0 {
		text += fmt.Sprintf(", %v spent waiting in lock-step", round(int64(s.Awaited*1e9)))
	}
	text += faultsText(s.Faults)
	text += fmt.Sprintf(", %d of %d subscribers confirmed the end", s.Finished, s.Readers)
	if s.Left > 0 {
		text += fmt.Sprintf(", %d left early", s.Left)
	}
	for i := range s.List {
		if r := &s.List[i]; r.Verdict != snail.OK {
			text += "; " + readerText(r)
		}
	}
	return text + s.Served.after()
}

// round shortens a duration for people.
func round(ns int64) time.Duration {
	d := time.Duration(ns)
	switch {
	case d > time.Second:
		return d.Round(time.Millisecond)
	case d > time.Millisecond:
		return d.Round(10 * time.Microsecond)
	}
	return d.Round(100 * time.Nanosecond)
}
