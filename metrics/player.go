package metrics

import (
	"math"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/replay"
)

// Player is a *replay.Player.
type Player interface {
	State() replay.State
	Progress() *replay.Progress
	PacingError() *latency.Histogram
}

// Player shows what is played. Close the scope before the player.
func (sc *Scope) Player(p Player) {
	sc.add(func(e *emitter) {
		st, pr := p.State(), p.Progress()
		rows(e, playerTable, &st)
		e.add(playerBytes, count(pr.Bytes.Load()))
		for phase := range replay.Finished + 1 {
			e.add(playerPhase, truth(phase == st.Phase), phase.String())
		}
		e.durations(pacingError, []*latency.Histogram{p.PacingError()})
	})
}

type state = replay.State

var playerTable = []column[state]{
	{counter("player_records_total", "records", "Records played, over all passes; last values not counted."), func(s *state) float64 { return count(s.Records) }},
	{gauge("player_speed_ratio", "ratio", "The speed; +Inf is as fast as readers take it."), func(s *state) float64 {
		if s.Speed == replay.Max {
			return math.Inf(1)
		}
		return float64(s.Speed)
	}},
	{gauge("player_position_timestamp_seconds", "seconds", "Tape time of the latest record, by the player's clock, since 1970."), func(s *state) float64 { return float64(s.Time) / 1e9 }},
	{gauge("player_position_records", "records", "How many records of the tape lie before the position, in this pass."), func(s *state) float64 { return float64(s.Ordinal) }},
	{gauge("player_pass", "passes", "Passes over the tape that are through."), func(s *state) float64 { return count(s.Pass) }},
	{gauge("player_looping", "", "1 while a loop is set, else 0."), func(s *state) float64 { return truth(s.Looping) }},
	{gauge("player_loop_rounds", "rounds", "Rounds of the loop that are through; 0 without one."), func(s *state) float64 { return count(s.Round) }},
	{counter("player_squeezed_seconds_total", "seconds", "Idle tape time that was left out."), func(s *state) float64 { return s.Squeezed.Seconds() }},
	{counter("player_changes_total", "changes", "Changes of what the player does: commands, seeks, phases."), func(s *state) float64 { return count(s.Version) }},
}

var (
	playerBytes = counter("player_bytes_total", "bytes", "Payload of the records played.")
	playerPhase = gauge("player_phase", "", "1 for what the player is doing, 0 for the rest: waiting, playing, paused, held or finished.", "phase")
	pacingError = histogram("player_pacing_error_seconds", fineBounds, "How long after its due moment each record left that was paced.")
)
