package metrics

import (
	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/resync"
)

// Healer is a *resync.Healer.
type Healer interface {
	Stats() resync.HealerStats
	HealTimes() *latency.Histogram
}

// Healer shows what fills the gaps of a stream. While its handler stands still it does
// not answer, and that shows.
func (sc *Scope) Healer(h Healer) {
	// A part of its own: it must not be missing with the rest.
	sc.add(func(e *emitter) { e.durations(healTime, []*latency.Histogram{h.HealTimes()}) })
	sc.add(func(e *emitter) {
		st := h.Stats()
		rows(e, healTable, &st)
		for r := resync.ReasonNoServer; r <= resync.ReasonBad; r++ {
			e.add(healLost, count(st.LostBy[r]), reasonLabels[r])
		}
	})
}

// reasonLabels are the reasons as a label has them.
var reasonLabels = map[resync.Reason]string{
	resync.ReasonNoServer: "no_server", resync.ReasonGone: "gone", resync.ReasonUnknown: "unknown_epoch",
	resync.ReasonNotYet: "not_yet", resync.ReasonNoAnswer: "no_answer", resync.ReasonSlow: "slow",
	resync.ReasonFailed: "failed", resync.ReasonRefused: "refused", resync.ReasonShort: "short", resync.ReasonBad: "bad",
}

type healed = resync.HealerStats

var healTable = []column[healed]{
	{counter("heal_gaps_total", "gaps", "Times that something was found missing."), func(s *healed) float64 { return count(s.Gaps) }},
	{counter("heal_healed_gaps_total", "gaps", "Times that something was found missing, and all of it was had."), func(s *healed) float64 { return count(s.Healed) }},
	{counter("heal_given_up_gaps_total", "gaps", "Times that what was missing was given up."), func(s *healed) float64 { return count(s.GaveUp) }},
	{counter("heal_refilled_records_total", "records", "Records that were asked for and handed over."), func(s *healed) float64 { return count(s.Refilled) }},
	{counter("heal_refilled_bytes_total", "bytes", "Payload and order of the batches that refilled records came in."), func(s *healed) float64 { return count(s.RefillBytes) }},
	{counter("heal_requests_total", "requests", "Refills asked for."), func(s *healed) float64 { return count(s.Requests) }},
	{counter("heal_retries_total", "requests", "Refills asked for again, because the one before failed or brought nothing."), func(s *healed) float64 { return count(s.Retries) }},
	{counter("heal_evicted_records_total", "records", "Records dropped for want of room while something before them was missing; they are asked for, too."), func(s *healed) float64 { return count(s.Evicted) }},
	{counter("heal_repeated_records_total", "records", "Records that came again and were dropped."), func(s *healed) float64 { return count(s.Repeated) }},
	{counter("heal_broken_epochs_total", "epochs", "Epochs whose end nobody knows."), func(s *healed) float64 { return count(s.Broken) }},
	{counter("heal_diverged_total", "times", "Times that the rolling hash, a refill's digest or the end of an epoch was contradicted."), func(s *healed) float64 { return count(s.Diverged + s.Contradicted) }},
	{gauge("heal_held_bytes", "bytes", "Bytes held while something before them is missing."), func(s *healed) float64 { return count(s.HeldBytes) }},
	{gauge("heal_missing_shards", "shards", "Shards that miss something now, or wait to begin."), func(s *healed) float64 { return count(s.Missing) }},
}

var (
	healLost = counter("heal_lost_records_total", "records", "Records given up, by reason: these stay missing.", "reason")
	healTime = histogram("heal_seconds", coarseBounds, "How long it took until everything of a gap was handed over, of gaps that were healed.")
)

// ResyncClient shows what asks servers for what is missing: the Stats method of a
// *resync.Client.
func (sc *Scope) ResyncClient(stats func() resync.ClientStats) {
	sc.add(func(e *emitter) {
		st := stats()
		rows(e, resyncClientTable, &st)
	})
}

type clientStats = resync.ClientStats

var resyncClientTable = []column[clientStats]{
	{counter("resync_client_requests_total", "requests", "Requests sent, repetitions included."), func(s *clientStats) float64 { return count(s.Requests) }},
	{counter("resync_client_bytes_total", "bytes", "Bytes received of refills and snapshots."), func(s *clientStats) float64 { return count(s.Bytes) }},
	{counter("resync_client_refused_messages_total", "messages", "Messages that were not of the protocol."), func(s *clientStats) float64 { return count(s.Refused) }},
	{counter("resync_client_stray_messages_total", "messages", "Messages of requests that were over."), func(s *clientStats) float64 { return count(s.Stray) }},
	{counter("resync_client_no_answer_total", "times", "Times that a server was taken for gone."), func(s *clientStats) float64 { return count(s.NoAnswer) }},
	{counter("resync_client_forgotten_total", "requests", "Requests that a server had lost."), func(s *clientStats) float64 { return count(s.Forgotten) }},
	{counter("resync_client_server_restarts_total", "times", "Times that a server turned out to have started again."), func(s *clientStats) float64 { return count(s.Restarts) }},
}

// ResyncServers shows how each server fares that is asked for what is missing: the
// ServerStats method of a *resync.Client, and the Refilled method of a *resync.Healer,
// nil where there is none.
func (sc *Scope) ResyncServers(stats func() []resync.ServerStats, refilled func() []uint64) {
	sc.add(func(e *emitter) {
		for _, s := range stats() {
			for i := range askedTable {
				e.add(askedTable[i].family, askedTable[i].of(&s), s.Endpoint)
			}
		}
	})
	if refilled == nil {
		return
	}
	// A part of its own, as the healer is.
	sc.add(func(e *emitter) {
		by := refilled()
		for i, s := range stats() {
			e.add(askedRefilled, count(by[i]), s.Endpoint)
		}
	})
}

type askedServer = resync.ServerStats

var askedRefilled = counter("heal_server_refilled_records_total", "records", "Records that were handed over from refills of a server.", "server")

var askedTable = []column[askedServer]{
	{gauge("resync_client_server_alive", "", "1 where a server has spoken of late, else 0; known only while something is asked of one.", "server"), func(s *askedServer) float64 { return truth(s.Alive) }},
	{gauge("resync_client_server_resting", "", "1 where a server has failed and is left alone for a while, else 0.", "server"), func(s *askedServer) float64 { return truth(s.Resting) }},
	{counter("resync_client_server_requests_total", "requests", "Requests sent to a server.", "server"), func(s *askedServer) float64 { return count(s.Requests) }},
	{counter("resync_client_server_bytes_total", "bytes", "Bytes received of a server's refills and snapshots.", "server"), func(s *askedServer) float64 { return count(s.Bytes) }},
	{counter("resync_client_server_lacked_requests_total", "requests", "Requests that a server answered with not having what was asked for.", "server"), func(s *askedServer) float64 { return count(s.Lacked) }},
	{counter("resync_client_server_failures_total", "times", "Times that a server did not answer, brought nothing, or failed.", "server"), func(s *askedServer) float64 { return count(s.Failed) }},
}

// ResyncServer is a *resync.Server.
type ResyncServer interface {
	Counters() resync.ServerCounters
	State() resync.ServerState
	RequestTimes(resync.Command) *latency.Histogram
	Pool() (pirate.QueueCounters, pirate.QueueState)
}

// ResyncServer shows a server of refills and snapshots, and its tape readers.
func (sc *Scope) ResyncServer(s ResyncServer) {
	sc.add(func(e *emitter) {
		c := s.Counters()
		rows(e, serverTable, &c)
		for _, x := range serverCommands {
			e.add(serverRequests, count(x.taken(&c)), x.name)
			e.durations(serverTime, []*latency.Histogram{s.RequestTimes(x.command)}, x.name)
		}
		for _, x := range serverCodes {
			e.add(serverErrors, count(x.of(&c.Errors)), x.name)
		}
		st := s.State()
		rows(e, serverHolds, &st)
		pc, ps := s.Pool()
		rows(e, poolTable, &pc)
		rows(e, poolHolds, &ps)
	})
}

var (
	serverRequests = counter("resync_server_requests_total", "requests", "Requests taken in: refill, find or snapshot.", "command")
	serverErrors   = counter("resync_server_errors_total", "requests", "Requests answered with an error, by code.", "code")
	serverTime     = histogram("resync_server_request_seconds", coarseBounds, "How long requests took that were answered whole, the client's pauses included: refill, find or snapshot.", "command")
)

var serverCommands = []struct {
	name    string
	command resync.Command
	taken   func(*resync.ServerCounters) uint64
}{
	{"refill", resync.CommandRefill, func(c *resync.ServerCounters) uint64 { return c.Refills }},
	{"find", resync.CommandFind, func(c *resync.ServerCounters) uint64 { return c.Finds }},
	{"snapshot", resync.CommandSnapshot, func(c *resync.ServerCounters) uint64 { return c.Snapshots }},
}

var serverCodes = []struct {
	name string
	of   func(*resync.ErrorCounters) uint64
}{
	{"bad_request", func(c *resync.ErrorCounters) uint64 { return c.BadRequest }},
	{"version", func(c *resync.ErrorCounters) uint64 { return c.Version }},
	{"unknown_epoch", func(c *resync.ErrorCounters) uint64 { return c.UnknownEpoch }},
	{"gone", func(c *resync.ErrorCounters) uint64 { return c.Gone }},
	{"not_yet", func(c *resync.ErrorCounters) uint64 { return c.NotYet }},
	{"deadline", func(c *resync.ErrorCounters) uint64 { return c.Deadline }},
	{"busy", func(c *resync.ErrorCounters) uint64 { return c.Busy }},
	{"not_served", func(c *resync.ErrorCounters) uint64 { return c.NotServed }},
	{"failed", func(c *resync.ErrorCounters) uint64 { return c.Failed }},
	{"stopping", func(c *resync.ErrorCounters) uint64 { return c.Stopping }},
}

type served = resync.ServerCounters

var serverTable = []column[served]{
	{counter("resync_server_ended_requests_total", "requests", "Requests that ended with all that was asked for."), func(c *served) float64 { return count(c.Ended) }},
	{counter("resync_server_cancelled_requests_total", "requests", "Requests that the client cancelled."), func(c *served) float64 { return count(c.Cancelled) }},
	{counter("resync_server_unreachable_requests_total", "requests", "Requests whose client was gone."), func(c *served) float64 { return count(c.Unreachable) }},
	{counter("resync_server_records_total", "records", "Records sent, of refills and snapshots."), func(c *served) float64 { return count(c.Records) }},
	{counter("resync_server_bytes_total", "bytes", "Bytes sent, of refills and snapshots."), func(c *served) float64 { return count(c.Bytes) }},
	{counter("resync_server_chunks_total", "messages", "Messages that the records sent were in."), func(c *served) float64 { return count(c.Chunks) }},
	{counter("resync_server_reads_total", "reads", "Reads asked of the tape readers."), func(c *served) float64 { return count(c.Reads) }},
	{counter("resync_server_failed_reads_total", "reads", "Reads that failed, or whose answer made no sense."), func(c *served) float64 { return count(c.Unread + c.BadReads) }},
	{counter("resync_server_throttled_total", "times", "Times that the I/O budget made something wait."), func(c *served) float64 { return count(c.Throttled) }},
	{counter("resync_server_captures_total", "snapshots", "Snapshots taken; several requests can share one."), func(c *served) float64 { return count(c.Captures) }},
	{counter("resync_server_foreign_messages_total", "messages", "Messages of no protocol that is served here."), func(c *served) float64 { return count(c.Foreign) }},
	{counter("resync_server_malformed_messages_total", "messages", "Messages of this protocol that break it."), func(c *served) float64 { return count(c.Malformed) }},
	{counter("resync_server_dropped_messages_total", "messages", "Errors and pongs that a client did not read."), func(c *served) float64 { return count(c.Dropped) }},
	{counter("resync_server_full_total", "times", "Times that a client's queue was full though it had given credit."), func(c *served) float64 { return count(c.Full) }},
}

type holds = resync.ServerState

var serverHolds = []column[holds]{
	{gauge("resync_server_clients", "clients", "Clients with requests."), func(s *holds) float64 { return count(s.Clients) }},
	{gauge("resync_server_requests", "requests", "Requests that are being served."), func(s *holds) float64 { return count(s.Requests) }},
	{gauge("resync_server_reads", "reads", "Reads that are with the tape readers."), func(s *holds) float64 { return count(s.Reading) }},
	{gauge("resync_server_held_bytes", "bytes", "Bytes read or captured, and not sent."), func(s *holds) float64 { return count(s.Bytes) }},
}

var poolTable = []column[pirate.QueueCounters]{
	{counter("resync_pool_requests_total", "requests", "Reads that the queue in front of the tape readers took in."), func(c *pirate.QueueCounters) float64 { return count(c.Requests) }},
	{counter("resync_pool_requeued_total", "requests", "Reads that were given to another tape reader, because the first one died or hung."), func(c *pirate.QueueCounters) float64 { return count(c.Requeued) }},
	{counter("resync_pool_failed_total", "requests", "Reads that the queue failed: no reader, too late, or no room."), func(c *pirate.QueueCounters) float64 { return count(c.Failed()) }},
	{counter("resync_pool_readers_joined_total", "readers", "Tape readers that registered."), func(c *pirate.QueueCounters) float64 { return count(c.Joined) }},
	{counter("resync_pool_readers_expired_total", "readers", "Tape readers that fell silent or could not be reached."), func(c *pirate.QueueCounters) float64 { return count(c.Expired) }},
}

var poolHolds = []column[pirate.QueueState]{
	{gauge("resync_pool_readers", "readers", "Tape readers that are registered."), func(s *pirate.QueueState) float64 { return count(s.Workers) }},
	{gauge("resync_pool_ready_readers", "readers", "Tape readers that are registered and have nothing to do."), func(s *pirate.QueueState) float64 { return count(s.Ready) }},
	{gauge("resync_pool_waiting_requests", "requests", "Reads that no tape reader has taken yet."), func(s *pirate.QueueState) float64 { return count(s.Waiting) }},
}

// TapeReaders shows tape readers of this process that read for a server in another
// one, all together: the Counters methods of their workers.
func (sc *Scope) TapeReaders(counters func() []pirate.WorkerCounters) {
	sc.add(func(e *emitter) {
		var all pirate.WorkerCounters
		list := counters()
		for i := range list {
			c := &list[i]
			all.Requests += c.Requests
			all.Connected += c.Connected
			all.Lost += c.Lost
			all.Dismissed += c.Dismissed
			all.Malformed += c.Malformed
			all.Unsent += c.Unsent
			all.Overdue += c.Overdue
		}
		rows(e, tapeReaderTable, &all)
		e.add(tapeReaders, count(len(list)))
	})
}

var tapeReaders = gauge("tape_readers", "readers", "Tape readers in this process.")

var tapeReaderTable = []column[pirate.WorkerCounters]{
	{counter("tape_reader_requests_total", "reads", "Reads done."), func(c *pirate.WorkerCounters) float64 { return count(c.Requests) }},
	{counter("tape_reader_connects_total", "times", "Times that a reader offered itself to its server."), func(c *pirate.WorkerCounters) float64 { return count(c.Connected) }},
	{counter("tape_reader_server_lost_total", "times", "Times that the server fell silent, or sent a reader away."), func(c *pirate.WorkerCounters) float64 { return count(c.Lost + c.Dismissed) }},
	{counter("tape_reader_malformed_messages_total", "messages", "Messages that are none of the protocol."), func(c *pirate.WorkerCounters) float64 { return count(c.Malformed) }},
	{counter("tape_reader_unsent_replies_total", "replies", "Replies that the server would not take."), func(c *pirate.WorkerCounters) float64 { return count(c.Unsent) }},
	{counter("tape_reader_overdue_reads_total", "reads", "Reads that took longer than they may."), func(c *pirate.WorkerCounters) float64 { return count(c.Overdue) }},
}
