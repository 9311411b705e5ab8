package metrics

import (
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/resync/chp"
	"github.com/tapedeck/tapedeck/snail"
)

// Proxy is a *lvc.Proxy.
type Proxy interface {
	Stats() lvc.Stats
	Totals() snail.Totals
	AnswerTimes() *latency.Histogram
}

// LVC shows a last-value proxy and its plain readers.
func (sc *Scope) LVC(p Proxy) {
	sc.add(func(e *emitter) {
		st := p.Stats()
		rows(e, lvcTable, &st)
		e.durations(lvcAnswer, []*latency.Histogram{p.AnswerTimes()})
		x := p.Totals()
		readers(e, &x)
	})
}

var lvcTable = []column[lvc.Stats]{
	{counter("lvc_records_total", "records", "Records taken in."), func(s *lvc.Stats) float64 { return count(s.Records) }},
	{counter("lvc_batches_total", "batches", "Batches taken in."), func(s *lvc.Stats) float64 { return count(s.Batches) }},
	{counter("lvc_bytes_total", "bytes", "Bytes of the records taken in."), func(s *lvc.Stats) float64 { return count(s.Bytes) }},
	{counter("lvc_gaps_total", "gaps", "Times that records did not reach the proxy, and nobody had them."), func(s *lvc.Stats) float64 { return count(s.Gaps) }},
	{counter("lvc_lost_records_total", "records", "Records that did not reach the proxy, and nobody had them."), func(s *lvc.Stats) float64 { return count(s.Lost) }},
	{counter("lvc_seeks_total", "seeks", "Times that the publisher went elsewhere in its source."), func(s *lvc.Stats) float64 { return count(s.Seeks) }},
	{gauge("lvc_topics", "topics", "Topics that have a last value."), func(s *lvc.Stats) float64 { return count(s.Topics) }},
	{gauge("lvc_table_bytes", "bytes", "Memory of last values."), func(s *lvc.Stats) float64 { return count(s.TableBytes) }},
	{gauge("lvc_kept_bytes", "bytes", "Memory set aside for answers under way."), func(s *lvc.Stats) float64 { return count(s.KeptBytes) }},
	{counter("lvc_deleted_topics_total", "topics", "Topics whose last value was deleted."), func(s *lvc.Stats) float64 { return count(s.Deleted) }},
	{counter("lvc_refused_records_total", "records", "Records of new topics that the table had no room for."), func(s *lvc.Stats) float64 { return count(s.RefusedByFull) }},
	{counter("lvc_evicted_topics_total", "topics", "Topics whose value did not fit the table any more."), func(s *lvc.Stats) float64 { return count(s.EvictedByFull) }},
	{gauge("lvc_full", "", "1 where last values are missing because the table is full, else 0."), func(s *lvc.Stats) float64 { return truth(s.Full) }},
	{gauge("lvc_partial", "", "1 where last values may be missing or old, because not all of the stream came, else 0."), func(s *lvc.Stats) float64 { return truth(s.Partial) }},
	{counter("lvc_subscriptions_total", "subscriptions", "Subscriptions answered."), func(s *lvc.Stats) float64 { return count(s.Subscriptions) }},
	{counter("lvc_readers_joined_total", "readers", "Plain readers that came."), func(s *lvc.Stats) float64 { return count(s.Joined) }},
	{counter("lvc_readers_left_total", "readers", "Plain readers that went."), func(s *lvc.Stats) float64 { return count(s.Left) }},
	{counter("lvc_refused_connections_total", "connections", "Connections refused: no ZMTP 3, no SUB socket, no right, or too many."), func(s *lvc.Stats) float64 { return count(s.Refused) }},
	{counter("lvc_refused_subscriptions_total", "subscriptions", "Subscriptions that can match nothing, or were too many."), func(s *lvc.Stats) float64 { return count(s.TooLong) }},
	{counter("lvc_unauthorized_subscriptions_total", "subscriptions", "Subscriptions that their reader has no right to."), func(s *lvc.Stats) float64 { return count(s.NoRight) }},
	{counter("lvc_foreign_messages_total", "messages", "Messages of readers that mean nothing."), func(s *lvc.Stats) float64 { return count(s.Foreign) }},
	{counter("lvc_dropped_records_total", "records", "Records dropped for readers whose queue was full."), func(s *lvc.Stats) float64 { return count(s.Dropped) }},
	{counter("lvc_caught_up_total", "times", "Times that a reader whose queue had been full was given last values anew."), func(s *lvc.Stats) float64 { return count(s.CaughtUp) }},
	{counter("lvc_lost_answers_total", "readers", "Readers cut off since what their answer needed took too much memory."), func(s *lvc.Stats) float64 { return count(s.LostAnswers) }},
	{counter("lvc_stalled_readers_total", "readers", "Readers cut off since they did not take their answer."), func(s *lvc.Stats) float64 { return count(s.Stalled) }},
	{counter("lvc_squawks_total", "squawks", "Times that a plain reader's verdict changed."), func(s *lvc.Stats) float64 { return count(s.Squawks) }},
	{counter("lvc_activations_total", "times", "Times that a proxy of a pair began to send."), func(s *lvc.Stats) float64 { return count(s.Activations) }},
	{counter("lvc_sent_again_messages_total", "messages", "Messages from before a takeover that were sent with it, as not all readers were known to have them."), func(s *lvc.Stats) float64 { return count(s.SentAgain) }},
	{counter("lvc_had_messages_total", "messages", "Messages that a passive proxy did not keep, as all readers had them from the active one."), func(s *lvc.Stats) float64 { return count(s.RingHad) }},
	{counter("lvc_short_messages_total", "messages", "Messages that a passive proxy had no room to keep for long enough."), func(s *lvc.Stats) float64 { return count(s.RingShort) }},
	{counter("lvc_young_takeovers_total", "times", "Times that a proxy took over before it had kept for long enough."), func(s *lvc.Stats) float64 { return count(s.RingYoung) }},
	{counter("lvc_missing_messages_total", "messages", "Messages that a proxy did not have any more when it took over, and that not all readers were known to have."), func(s *lvc.Stats) float64 { return count(s.RingMissing) }},
	{counter("lvc_left_behind_readers_total", "readers", "Readers that were further behind, at a takeover, than messages were sent again for, as the proxy that went had said."), func(s *lvc.Stats) float64 { return count(s.LeftBehind) }},
	{counter("lvc_too_far_readers_total", "readers", "Times that a reader was behind by more than a passive proxy keeps, and was not waited for."), func(s *lvc.Stats) float64 { return count(s.TooFar) }},
	{counter("lvc_tap_dropped_messages_total", "messages", "Messages that the tap's rate did not let through."), func(s *lvc.Stats) float64 { return count(s.TapDropped) }},
}

var lvcAnswer = histogram("lvc_answer_seconds", fineBounds, "How long subscriptions took to be answered with last values: until the answer was in the reader's queue or, where it is long, written.")

// Clones shows servers of the Clone pattern (CHP), all together.
func (sc *Scope) Clones(stats ...func() chp.Stats) {
	sc.add(func(e *emitter) {
		var all [len(cloneFields)]float64
		for _, f := range stats {
			st := f()
			for i := range cloneFields {
				all[i] += cloneFields[i].of(&st)
			}
		}
		for i := range cloneFields {
			e.add(cloneFields[i].family, all[i])
		}
	})
}

var cloneFields = [...]column[chp.Stats]{
	{counter("clone_updates_total", "updates", "Updates published to Clone clients."), func(s *chp.Stats) float64 { return count(s.Updates) }},
	{counter("clone_sets_total", "changes", "Changes of Clone clients that were made."), func(s *chp.Stats) float64 { return count(s.Sets) }},
	{counter("clone_expired_total", "values", "Values removed because their time to live was over."), func(s *chp.Stats) float64 { return count(s.Expired) }},
	{counter("clone_refused_sets_total", "changes", "Changes of Clone clients that were refused: read-only, bad, or no room."), func(s *chp.Stats) float64 { return count(s.SetsReadOnly + s.SetsBad + s.SetsFull) }},
	{counter("clone_excess_subscriptions_total", "subscriptions", "Subscriptions beyond what one connection may have; it was ended."), func(s *chp.Stats) float64 { return count(s.Excess) }},
	{counter("clone_dropped_updates_total", "updates", "Updates not published because too many waited, or because they have no form in CHP."), func(s *chp.Stats) float64 { return count(s.UpdatesFull + s.UpdatesBad) }},
	{counter("clone_requests_total", "requests", "Requests for snapshots."), func(s *chp.Stats) float64 { return count(s.Requests) }},
	{counter("clone_refused_requests_total", "requests", "Requests for snapshots that were none, or were refused because too many waited."), func(s *chp.Stats) float64 { return count(s.RequestsBad + s.RequestsBusy) }},
	{counter("clone_snapshots_total", "snapshots", "Snapshots that were sent to their end."), func(s *chp.Stats) float64 { return count(s.Served) }},
	{counter("clone_failed_snapshots_total", "snapshots", "Snapshots given up: the requester was too slow or gone, or the store failed."), func(s *chp.Stats) float64 { return count(s.Dropped + s.Gone + s.Failed) }},
	{counter("clone_entries_total", "entries", "Entries sent in snapshots."), func(s *chp.Stats) float64 { return count(s.Entries) }},
	{gauge("clone_table_entries", "entries", "Entries in the server's own table."), func(s *chp.Stats) float64 { return count(s.TableEntries) }},
	{gauge("clone_table_bytes", "bytes", "Bytes of the entries in the server's own table."), func(s *chp.Stats) float64 { return count(s.TableBytes) }},
}
