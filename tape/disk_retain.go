package tape

import (
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// late reports whether the open segment has been written to for long enough.
func (d *disk) late() bool {
	most := d.w.cfg.SegmentDuration
	return most > 0 && time.Since(d.begun) >= most
}

// note takes note of a segment that was sealed, for retention and dumps.
func (d *disk) note() {
	d.kept = append(d.kept, retainedSegment{
		manifestSegment: d.segments[len(d.segments)-1], number: d.number, payload: d.payload, stored: d.stored,
		size: segmentFiles(d.w.cfg.FS, d.w.work, d.number), ended: wire.NanosOf(time.Now()), head: d.keys.headed(d.index.first),
	})
}

// retain removes old segments. A failure does not stop the recording: it shows in
// Stats, and is tried again with the next segment.
func (d *disk) retain() {
	w := d.w
	if !w.cfg.Retain.on() {
		return
	}
	w.metaMu.Lock()
	defer w.metaMu.Unlock()
	r := retainer{fs: w.cfg.FS, dir: w.work, meta: &w.meta, list: d.kept,
		removing: func(first int) { w.live.forget(w.live.catalog.retain(first)) }}
	n := r.surplus(&w.cfg.Retain, min(w.cfg.SegmentSize, w.cfg.Retain.Size/4), wire.NanosOf(time.Now()))
	report, err := r.drop(n)
	d.kept = r.list
	d.segments = d.segments[len(d.segments)-len(d.kept):]
	for i := range d.kept {
		d.segments[i].Keyframes = d.kept[i].Keyframes
	}
	w.stats.retained(&report, err)
}
