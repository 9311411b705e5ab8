package metrics

import (
	"slices"

	"github.com/tapedeck/tapedeck/keys"
)

// Door shows who was refused: Stats of a keys.Door. Every reason and channel is there
// from the start, so that the first refusal shows as a rise.
func (sc *Scope) Door(stats func() keys.DoorStats) {
	sc.add(func(e *emitter) {
		s := stats()
		rows(e, doorTable, &s)
		sums := map[keys.Refusals]uint64{}
		for _, r := range s.Refused {
			if !slices.Contains(keys.Channels(), r.Channel) {
				r.Channel = otherChannel
			}
			sums[keys.Refusals{Reason: r.Reason, Channel: r.Channel}] += r.Count
		}
		for _, c := range append(keys.Channels(), otherChannel) {
			for _, why := range keys.AllRefusals() {
				e.add(authRefused, count(sums[keys.Refusals{Reason: why, Channel: c}]), string(why), string(c))
			}
		}
	})
}

// otherChannel is every channel that is none of the program's.
const otherChannel keys.Channel = "other"

var authRefused = counter("auth_refused_total", "refusals", "Connections, subscriptions and commands refused, by reason and by what they were for.", "reason", "channel")

var doorTable = []column[keys.DoorStats]{
	{gauge("auth_allowed_keys", "keys", "Keys that the list allows."), func(s *keys.DoorStats) float64 { return count(s.Allowed) }},
	{gauge("auth_revoked_keys", "keys", "Keys that the list names as allowed no longer."), func(s *keys.DoorStats) float64 { return count(s.Revoked) }},
	{counter("auth_reloads_total", "reloads", "Times that a changed list was taken in."), func(s *keys.DoorStats) float64 { return count(s.Reloads) }},
	{counter("auth_bad_reloads_total", "reloads", "Changed lists that could not be read; the one before goes on."), func(s *keys.DoorStats) float64 { return count(s.Bad) }},
}
