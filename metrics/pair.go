package metrics

import "github.com/tapedeck/tapedeck/control/binarystar"

// Pair is a *binarystar.Pair.
type Pair interface {
	Status() binarystar.Status
}

// Pair shows one server's half of a pair. part is what the server serves: lvc, deck or
// broker, a word of the program.
func (sc *Scope) Pair(part string, p Pair) {
	sc.add(func(e *emitter) {
		st := p.Status()
		for i := range pairTable {
			e.add(pairTable[i].family, pairTable[i].of(&st), part)
		}
		for _, is := range pairStates {
			e.add(pairState, truth(st.State == is), part, is)
		}
	})
}

var pairStates = []string{"waiting", "active", "passive"}

var pairState = gauge("pair_state", "", "1 for the state that this server of a pair is in, else 0.", "part", "state")

type paired = binarystar.Status

var pairTable = []column[paired]{
	{gauge("pair_primary", "", "1 where this server of a pair is the primary, 0 where it is the backup.", "part"), func(s *paired) float64 { return truth(s.Role == binarystar.Primary.String()) }},
	{gauge("pair_epoch", "", "Greatest epoch of the pair that is known: this server's own while it is active.", "part"), func(s *paired) float64 { return count(s.Epoch) }},
	{gauge("pair_state_seconds", "seconds", "How long this server has been in its state.", "part"), func(s *paired) float64 { return float64(s.Since) / 1e9 }},
	{gauge("pair_peer_silent", "", "1 where the other one has said nothing for longer than it may, else 0.", "part"), func(s *paired) float64 { return truth(s.Silent) }},
	{gauge("pair_peer_active", "", "1 where the other one said last that it is active, else 0.", "part"), func(s *paired) float64 { return truth(s.Peer == binarystar.Active.String()) }},
	{counter("pair_takeovers_total", "times", "Times that this server became active.", "part"), func(s *paired) float64 { return count(s.Promotions) }},
	{counter("pair_yields_total", "times", "Times that this server gave way to one that is active in a later epoch.", "part"), func(s *paired) float64 { return count(s.Yields) }},
	{counter("pair_failbacks_total", "times", "Times that this server gave the work back to the primary.", "part"), func(s *paired) float64 { return count(s.Failbacks) }},
	{counter("pair_heard_announcements_total", "announcements", "Announcements of the other one that counted.", "part"), func(s *paired) float64 { return count(s.Heard) }},
	{counter("pair_fenced_announcements_total", "announcements", "Announcements that did not count, of an active one of an earlier epoch.", "part"), func(s *paired) float64 { return count(s.Fenced) }},
	{counter("pair_same_role_announcements_total", "announcements", "Announcements of another one with the same role, which is a mistake of configuration.", "part"), func(s *paired) float64 { return count(s.SameRole) }},
	{counter("pair_malformed_announcements_total", "announcements", "Messages on the pair's link that are no announcements.", "part"), func(s *paired) float64 { return count(s.Malformed) }},
	{counter("pair_missed_announcements_total", "announcements", "Announcements that came faster than they were taken.", "part"), func(s *paired) float64 { return count(s.Missed) }},
	{counter("pair_accepted_requests_total", "requests", "Requests that were let through, as this server was active.", "part"), func(s *paired) float64 { return count(s.Accepted) }},
	{counter("pair_refused_requests_total", "requests", "Requests that were refused, as this server was not active.", "part"), func(s *paired) float64 { return count(s.Refused) }},
	{counter("pair_votes_total", "votes", "Requests of this server's own over the way that clients take, while the other one was silent.", "part"), func(s *paired) float64 { return count(s.Votes) }},
}
