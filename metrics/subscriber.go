package metrics

import (
	"strconv"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/snail"
	"github.com/tapedeck/tapedeck/subscriber"
)

// Subscriber shows what is received, as summary tells it: the Summary method of a
// *subscriber.Subscriber, say. Gaps that something behind it fills are gaps here.
func (sc *Scope) Subscriber(summary func() subscriber.Summary) {
	sc.add(func(e *emitter) {
		s := summary()
		rows(e, subscriberTable, &s)
	})
}

type summary = subscriber.Summary

var subscriberTable = []column[summary]{
	{counter("subscriber_records_total", "records", "Records received."), func(s *summary) float64 { return count(s.Records) }},
	{counter("subscriber_batches_total", "batches", "Batches received."), func(s *summary) float64 { return count(s.Batches) }},
	{counter("subscriber_bytes_total", "bytes", "Payload and order of the batches received."), func(s *summary) float64 { return count(s.Bytes) }},
	{counter("subscriber_gaps_total", "gaps", "Times that sequences were missing in what came."), func(s *summary) float64 { return count(s.Gaps) }},
	{counter("subscriber_lost_records_total", "records", "Records in the gaps; what is refilled is not taken off."), func(s *summary) float64 { return count(s.Lost) }},
	{counter("subscriber_repeated_records_total", "records", "Records that came twice and were dropped."), func(s *summary) float64 { return count(s.Repeated) }},
	{counter("subscriber_refused_messages_total", "messages", "Messages that were not of this stream."), func(s *summary) float64 { return count(s.Refused) }},
	{counter("subscriber_corrupt_batches_total", "batches", "Batches whose payload did not match its checksum, and were dropped."), func(s *summary) float64 { return count(s.Corrupt) }},
	{counter("subscriber_referred_batches_total", "batches", "Batches that came by reference to a tape."), func(s *summary) float64 { return count(s.Referred) }},
	{counter("subscriber_reference_fallbacks_total", "fallbacks", "Times that references did not lead to bytes, and bytes were taken instead."), func(s *summary) float64 { return count(s.Fallbacks) }},
	{counter("subscriber_notices_total", "notices", "Messages by which the publisher spoke about itself."), func(s *summary) float64 { return count(s.Notices) }},
	{counter("subscriber_epochs_total", "epochs", "Epochs seen, of the shard that saw most."), func(s *summary) float64 { return count(s.Epochs) }},
	{counter("subscriber_broken_epochs_total", "epochs", "Epochs that were followed by another without an end mark or a word of the same publisher."), func(s *summary) float64 { return count(s.Broken) }},
	{counter("subscriber_diverged_total", "times", "Times that the rolling hash differed from the publisher's though nothing was missing."), func(s *summary) float64 { return count(s.Diverged) }},
	{gauge("subscriber_ended", "", "1 where every shard's last epoch has ended, else 0."), func(s *summary) float64 { return truth(s.Ended) }},
	{gauge("subscriber_quiet_seconds", "seconds", "For how long the quietest shard has said nothing, heartbeats included."), func(s *summary) float64 { return s.Quiet.Seconds() }},
	{gauge("subscriber_last_send_timestamp_seconds", "seconds", "When the publisher sent the latest batch that came, by its clock, since 1970."), func(s *summary) float64 { return float64(s.LastSend) / 1e9 }},
}

// Lag shows how long after the publisher sent them this process took the records, by
// the clocks of the two: what subscriber.Config.Lag counted.
func (sc *Scope) Lag(counted ...*latency.Histogram) {
	sc.add(func(e *emitter) { e.durations(subscriberLag, counted) })
}

var subscriberLag = histogram("subscriber_lag_seconds", fineBounds, "How long after the publisher sent them records were taken, by the clocks of the two; of what came live.")

// Workers shows what workers behind the receive loops do.
func (sc *Scope) Workers(summary func() subscriber.WorkersSummary) {
	sc.add(func(e *emitter) {
		s := summary()
		rows(e, workersTable, &s)
		for i, w := range s.Workers {
			e.add(workerRecords, count(w.Records), strconv.Itoa(i))
			e.add(workerBatches, count(w.Batches), strconv.Itoa(i))
		}
	})
}

type workers = subscriber.WorkersSummary

var workersTable = []column[workers]{
	{counter("workers_discarded_batches_total", "batches", "Batches that were received and not handled, because the run was ended."), func(s *workers) float64 { return count(s.Discarded) }},
	{counter("workers_pool_waits_total", "waits", "Times that a receive loop waited for workers."), func(s *workers) float64 { return count(s.PoolWaits) }},
	{counter("workers_pool_waited_seconds_total", "seconds", "How long receive loops waited for workers, all together."), func(s *workers) float64 { return s.PoolWaited.Seconds() }},
}

var (
	workerRecords = counter("workers_records_total", "records", "Records that each worker handled.", "worker")
	workerBatches = counter("workers_batches_total", "batches", "Batches of which each worker handled a share.", "worker")
)

// PolicyStats are what a reader that minds whether it is too slow has seen and done.
type PolicyStats struct {
	Verdicts    [snail.Gone]int // shards, by verdict
	LagSeconds  float64         // the greatest of a shard, without the clocks' skew
	SkewSeconds float64         // how far the clock here is ahead of the publisher's
	Squawks     uint64
	Conflated   uint64 // records handed over as the latest of their topic
	Skipped     uint64 // records replaced by a later one of their topic
	Dropped     uint64 // records that there was no room for
	Waiting     int    // records that wait to be handed over
	Discarded   uint64 // records that a fresh snapshot stood in for
	Snapshots   uint64 // taken
}

// Policy shows how a reader fares, and what its policy does about it.
func (sc *Scope) Policy(stats func() PolicyStats) {
	sc.add(func(e *emitter) {
		s := stats()
		rows(e, policyTable, &s)
		for v, n := range s.Verdicts {
			e.add(policyShards, count(n), snail.Verdict(v).String())
		}
	})
}

var policyTable = []column[PolicyStats]{
	{gauge("policy_lag_seconds", "seconds", "How late this reader is, on the shard where it is latest, without the clocks' skew."), func(s *PolicyStats) float64 { return s.LagSeconds }},
	{gauge("policy_clock_skew_seconds", "seconds", "How far the clock here seems ahead of the publisher's, the shortest way between them included."), func(s *PolicyStats) float64 { return s.SkewSeconds }},
	{counter("policy_squawks_total", "squawks", "Times that a verdict changed."), func(s *PolicyStats) float64 { return count(s.Squawks) }},
	{counter("policy_conflated_records_total", "records", "Records handed over as the latest of their topic."), func(s *PolicyStats) float64 { return count(s.Conflated) }},
	{counter("policy_skipped_records_total", "records", "Records left out because a later one of their topic had come."), func(s *PolicyStats) float64 { return count(s.Skipped) }},
	{counter("policy_dropped_records_total", "records", "Records that conflation had no room for."), func(s *PolicyStats) float64 { return count(s.Dropped) }},
	{gauge("policy_waiting_records", "records", "Records that conflation holds now."), func(s *PolicyStats) float64 { return count(s.Waiting) }},
	{counter("policy_discarded_records_total", "records", "Records left out because a fresh snapshot stands in for them."), func(s *PolicyStats) float64 { return count(s.Discarded) }},
	{counter("policy_snapshots_total", "snapshots", "Snapshots taken to go on behind."), func(s *PolicyStats) float64 { return count(s.Snapshots) }},
}

var policyShards = gauge("policy_shards", "shards", "Shards by how this reader fares on them: ok, lagging, snail or stuck.", "verdict")
