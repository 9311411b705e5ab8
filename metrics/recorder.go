package metrics

import (
	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/tape"
)

// Writer is a *tape.Writer.
type Writer interface {
	Stats() tape.Stats
	SyncTimes() *latency.Histogram
}

// Recorder shows what is written to a tape.
func (sc *Scope) Recorder(w Writer) {
	sc.add(func(e *emitter) {
		st := w.Stats()
		rows(e, recorderTable, &st)
		e.durations(recorderSync, []*latency.Histogram{w.SyncTimes()})
	})
}

type written = tape.Stats

var recorderTable = []column[written]{
	{counter("recorder_records_total", "records", "Records written to the tape; what is in an open block is not counted yet."), func(s *written) float64 { return count(s.Records) }},
	{counter("recorder_synced_records_total", "records", "Records written that last through a crash."), func(s *written) float64 { return count(s.SyncedRecords) }},
	{counter("recorder_blocks_total", "blocks", "Blocks written."), func(s *written) float64 { return count(s.Blocks) }},
	{counter("recorder_payload_bytes_total", "bytes", "Payload of the blocks, as records travel."), func(s *written) float64 { return count(s.PayloadBytes) }},
	{counter("recorder_stored_bytes_total", "bytes", "Payload of the blocks, as it is stored."), func(s *written) float64 { return count(s.StoredBytes) }},
	{counter("recorder_removed_segments_total", "segments", "Segments that retention removed."), func(s *written) float64 { return count(s.RemovedSegments) }},
	{counter("recorder_removed_bytes_total", "bytes", "Bytes of the segments that retention removed."), func(s *written) float64 { return count(s.RemovedBytes) }},
	{counter("recorder_removed_records_total", "records", "Records in the segments that retention removed."), func(s *written) float64 { return count(s.RemovedRecords) }},
	{gauge("recorder_retention_held", "", "1 where segments stay that should have gone, because somebody has the tape open, else 0."), func(s *written) float64 { return truth(s.RetainHeld != "") }},
	{gauge("recorder_retention_failed", "", "1 where segments could not be removed the last time, else 0."), func(s *written) float64 { return truth(s.RetainErr != nil) }},
}

var recorderSync = histogram("recorder_sync_seconds", coarseBounds, "How long each sync of a segment to the disk took.")
