package metrics

import (
	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/feed/publisher/faults"
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/snail"
)

// Publisher is a *publisher.Publisher.
type Publisher interface {
	Stats() publisher.Stats
	Totals() snail.Totals
	JoinTimes() *latency.Histogram
}

// Publisher shows what is published and who reads it. Close the scope before the
// publisher.
func (sc *Scope) Publisher(p Publisher) {
	sc.add(func(e *emitter) {
		st := p.Stats()
		rows(e, publisherTable, &st)
		for _, x := range faultKinds {
			e.add(publisherFaults, count(x.of(&st.Faults)), x.name)
		}
		e.durations(publisherJoin, []*latency.Histogram{p.JoinTimes()})
		x := p.Totals()
		readers(e, &x)
	})
}

type stats = publisher.Stats

var publisherTable = []column[stats]{
	{counter("publisher_records_total", "records", "Records sent, once however many readers there are."), func(s *stats) float64 { return count(s.Records) }},
	{counter("publisher_batches_total", "batches", "Batches sent."), func(s *stats) float64 { return count(s.Batches) }},
	{counter("publisher_bytes_total", "bytes", "Payload and order of the batches sent, once however many readers there are."), func(s *stats) float64 { return count(s.Bytes) }},
	{counter("publisher_referred_batches_total", "batches", "Batches that went out as references to a tape, alone or beside their bytes."), func(s *stats) float64 { return count(s.Referred) }},
	{counter("publisher_notices_total", "notices", "Notices sent."), func(s *stats) float64 { return count(s.Notices) }},
	{counter("publisher_dropped_notices_total", "notices", "Notices dropped for want of room."), func(s *stats) float64 { return count(s.Unsaid) }},
	{counter("publisher_stalled_seconds_total", "seconds", "Lossless: time spent waiting for the slowest reader, all shards together; it goes on while a shard waits."), func(s *stats) float64 { return s.Stalled.Seconds() }},
	{gauge("publisher_stalled_shards", "shards", "Lossless: shards that wait for their slowest reader now."), func(s *stats) float64 { return count(s.Waiting) }},
	{counter("publisher_awaited_seconds_total", "seconds", "Lock-step: time spent waiting until readers had handled what was sent."), func(s *stats) float64 { return s.Awaited.Seconds() }},
	{counter("publisher_fault_missing_records_total", "records", "Records that a reader that asks for nothing misses by the faults that were carried out."), func(s *stats) float64 { return count(s.Faults.Missing) }},
	{counter("publisher_fault_repeated_records_total", "records", "Records that come again, or too late, by the faults that were carried out."), func(s *stats) float64 { return count(s.Faults.Repeated) }},
	{gauge("publisher_lent_bytes", "bytes", "Bytes of batches that libzmq holds now without a copy: they wait for the slowest reader."), func(s *stats) float64 { return count(s.Lent) }},
	{counter("publisher_reader_reports_total", "reports", "Reports that readers made of how they fare."), func(s *stats) float64 { return count(s.Reports) }},
	{counter("publisher_unlisted_readers_total", "reports", "Connections and reports of readers that are on no list: it is full, or they never said who they are."), func(s *stats) float64 { return count(s.Unlisted) }},
	{counter("publisher_foreign_frames_total", "frames", "Frames of peers that are no subscriptions."), func(s *stats) float64 { return count(s.Foreign) }},
	{counter("publisher_excess_subscriptions_total", "subscriptions", "Subscriptions beyond what one connection may have; it was ended."), func(s *stats) float64 { return count(s.Excess) }},
	{counter("publisher_refused_frames_total", "frames", "Words of readers that made no sense."), func(s *stats) float64 { return count(s.Refused) }},
	{counter("publisher_readers_joined_total", "readers", "Readers that said they receive on at least one shard."), func(s *stats) float64 { return count(s.Joined) }},
	{counter("publisher_readers_left_total", "readers", "Readers that went before the end."), func(s *stats) float64 { return count(s.Left) }},
	{counter("publisher_readers_finished_total", "readers", "Readers that confirmed the end of every shard."), func(s *stats) float64 { return count(s.Finished) }},
}

var publisherFaults = counter("publisher_faults_total", "messages", "Messages that fared as on a bad network, as was asked for, by fault; marks are those with any fault.", "fault")

var faultKinds = []struct {
	name string
	of   func(*faults.Counts) uint64
}{
	{"drop", func(c *faults.Counts) uint64 { return c.Dropped }},
	{"corrupt", func(c *faults.Counts) uint64 { return c.Corrupted }},
	{"dup", func(c *faults.Counts) uint64 { return c.Duplicated }},
	{"reorder", func(c *faults.Counts) uint64 { return c.Reordered }},
	{"delay", func(c *faults.Counts) uint64 { return c.Delayed }},
	{"marks", func(c *faults.Counts) uint64 { return c.Marks }},
}

var publisherJoin = histogram("publisher_join_seconds", fineBounds, "How long readers took to be there, from the first shard that one receives on to the last.")

var (
	readersByVerdict  = gauge("readers", "readers", "Who reads now, by how they fare: ok, lagging, snail or stuck.", "verdict")
	readerConnections = gauge("reader_connections", "connections", "Connections of readers, one per shard each.")
	readersLagMax     = gauge("readers_max_lag_seconds", "seconds", "The greatest lag that a reader reports.")
	readersLost       = gauge("readers_lost_records", "records", "Records that the readers here now report missing, all together.")
	readersQueue      = gauge("readers_queue_bytes", "bytes", "Bytes that wait in the queues of all readers' connections.")
	readersQueueMax   = gauge("readers_max_queue_bytes", "bytes", "Bytes that wait in the queue of the connection with the most.")
	readersStalledMax = gauge("readers_max_stalled_seconds", "seconds", "How long the connection that stands longest has taken nothing though bytes wait.")
)

// readers takes how readers fare.
func readers(e *emitter, x *snail.Totals) {
	for v, n := range x.Verdicts {
		e.add(readersByVerdict, count(n), snail.Verdict(v).String())
	}
	e.add(readerConnections, count(x.Connections))
	e.add(readersLagMax, x.LagMax.Seconds())
	e.add(readersLost, count(x.Lost))
	e.add(readersQueue, count(x.Queued))
	e.add(readersQueueMax, count(x.QueuedMax))
	e.add(readersStalledMax, x.StalledMax.Seconds())
}
