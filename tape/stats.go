package tape

import (
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/latency"
)

// Stats are a writer's counters so far.
type Stats struct {
	Records       uint64        // written to the segment
	Blocks        uint64        // the same, blocks
	PayloadBytes  uint64        // as the records travel
	StoredBytes   uint64        // as stored, headers and padding left out
	SyncedRecords uint64        // of Records, how many last through a crash
	Syncs         uint64        // syncs of a segment
	SyncTotal     time.Duration // time spent in them
	SyncMax       time.Duration // the longest
	SyncLast      time.Duration // the latest

	RemovedSegments int    // by retention
	RemovedBytes    int64  // of their files
	RemovedRecords  uint64 // in them
	// RetainHeld says why segments are still there that should have gone, or ""; a
	// reader that has the tape open is the usual reason. It is no error.
	RetainHeld string
	RetainErr  error // of the last try, or nil
}

type statsBox struct {
	mu    sync.Mutex
	s     Stats
	syncs latency.Histogram
}

func (b *statsBox) wrote(info *BlockInfo) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.Records += uint64(info.Count)
	b.s.Blocks++
	b.s.PayloadBytes += uint64(info.PayloadSize)
	b.s.StoredBytes += uint64(info.StoredSize)
}

func (b *statsBox) synced(took time.Duration) {
	b.syncs.Record(int64(took))
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.SyncedRecords = b.s.Records
	b.s.Syncs++
	b.s.SyncTotal += took
	b.s.SyncMax = max(b.s.SyncMax, took)
	b.s.SyncLast = took
}

func (b *statsBox) retained(r *RetainReport, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.s.RemovedSegments += r.Segments
	b.s.RemovedBytes += r.Bytes
	b.s.RemovedRecords += r.Records
	b.s.RetainHeld, b.s.RetainErr = r.Held, err
}

// Stats returns the counters of what this writer has written so far.
func (w *Writer) Stats() Stats {
	w.stats.mu.Lock()
	defer w.stats.mu.Unlock()
	return w.stats.s
}

// SyncTimes counts how long each sync of a segment took. It may be read at any time.
func (w *Writer) SyncTimes() *latency.Histogram { return &w.stats.syncs }
