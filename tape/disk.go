package tape

import (
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// disk is the half of a Writer that owns the files. Its fields belong to the
// disk goroutine, and to Close once that has ended.
type disk struct {
	w *Writer

	file      fsys.File // the open segment, or nil
	number    int       // of the open segment, or of the next one
	size      int64     // used bytes of the open segment
	allocated int64     // its length on disk
	synced    int64     // bytes of it known to last
	index     index     // of the open segment
	records   uint64    // in the open segment
	ordinal   wire.Ordinal

	chain    Digest
	segments []manifestSegment // closed ones
	totals   Totals
	edges    []shardEdges
	epochs   []wire.Epoch // in order of appearance
	blocks   int          // written so far
	keys     *keyframer   // its goroutine works while disk does not touch it

	begun   time.Time         // of the open segment
	payload uint64            // bytes in the open segment
	stored  uint64            // the same, as stored
	kept    []retainedSegment // closed segments, oldest first
}

// allocateStep is how far ahead of the last block a segment is allocated,
// bytes. Small tapes stay small, and a full disk shows before it is hit.
const allocateStep = 16 << 20

// run writes jobs in order until no more come. After an error it only hands the
// buffers back.
func (d *disk) run() {
	w := d.w
	for j := range w.queue {
		if j.dump != nil {
			j.dump.done <- d.dump(j.dump)
			continue
		}
		if j.sync != nil || j.soft {
			err := w.failed()
			if err == nil {
				if err = d.sync(); err != nil {
					w.fail(err)
				}
			}
			if j.sync != nil {
				j.sync <- err
			}
			continue
		}
		<-j.done
		if w.failed() == nil {
			if err := d.put(j); err != nil {
				w.fail(err)
			}
		}
		if w.failed() != nil {
			w.live.catalog.lost(j)
		}
		w.recycle(j)
	}
}

// recycle hands a block's buffers back, or lets go of them where a large record
// made them grow or readers have them.
func (w *Writer) recycle(j *job) {
	if j.lent || cap(j.raw) > 4*(w.cfg.BlockSize+BlockHeaderSize) {
		j = nil
	}
	w.free <- j
}

// put writes one block.
func (d *disk) put(j *job) error {
	b := &j.info
	need := alignUp(BlockHeaderSize + int64(b.StoredSize))
	if d.file != nil && d.index.blocks() > 0 && (d.size+need > d.w.cfg.SegmentSize || d.late()) {
		if err := d.seal(); err != nil {
			return err
		}
		d.retain()
	}
	fresh := d.file == nil
	if fresh {
		if err := d.begin(); err != nil {
			return err
		}
	}
	if err := d.keys.before(d.number, d.index.first, d.blocks, fresh); err != nil {
		return err
	}
	if err := d.allocate(d.size + need); err != nil {
		return err
	}
	d.chain.extend(b.Shard, b.Count, &j.raws)
	b.Chain, b.Offset, b.Synced = d.chain, d.size, uint64(d.synced)
	image := j.image()
	putBlockHeader(image, b)
	image = append(image, zeros[:need-int64(len(image))]...)
	j.setImage(image)
	if _, err := d.file.WriteAt(image, d.size); err != nil {
		return d.failed(err)
	}
	d.index.entries = appendIndexEntry(d.index.entries, d.size, image)
	if d.index.blocks() == 1 {
		d.ordinal = b.FirstOrdinal
	}
	d.size += need
	d.account(j)
	d.w.live.catalog.wrote(j, d.index.entries, d.size)
	return nil
}

// account takes a written block into the sums.
func (d *disk) account(j *job) {
	d.records += uint64(j.info.Count)
	d.payload += uint64(j.info.PayloadSize)
	d.stored += uint64(j.info.StoredSize)
	d.blocks++
	d.totals.add(&j.info)
	d.epochs = appendEpoch(d.epochs, j.info.Epoch)
	d.edges[j.info.Shard].add(j.first, j.last)
	d.keys.live.apply(&j.info, j.topics, j.raw[BlockHeaderSize:])
	d.keys.add(&j.info)
	d.w.stats.wrote(&j.info)
}

// begin starts the next segment. Its name and header last before the first
// block is written.
func (d *disk) begin() error {
	fsx, name := d.w.cfg.FS, d.path(segmentName(d.number))
	f, err := fsx.Open(name, fsys.Create)
	if err != nil {
		return &WriteError{File: name, Err: err}
	}
	d.file, d.size, d.allocated, d.synced, d.records = f, 0, 0, 0, 0
	d.payload, d.stored, d.begun = 0, 0, time.Now()
	// Readers of the last segment may have its entries.
	d.index = index{entries: make([]byte, 0, len(d.index.entries)), first: d.blocks}
	d.w.live.catalog.begin(d.number, d.blocks)
	if err := d.allocate(SegmentHeaderSize); err != nil {
		return err
	}
	var header [SegmentHeaderSize]byte
	putSegmentHeader(header[:], d.w.meta.ID, d.number, d.blocks)
	if _, err := f.WriteAt(header[:], 0); err != nil {
		return d.failed(err)
	}
	d.size = SegmentHeaderSize
	if d.w.cfg.SyncInterval < 0 {
		return nil // an import is made to last as a whole
	}
	if err := d.sync(); err != nil {
		return err
	}
	return d.w.syncDir()
}

func (w *Writer) syncDir() error {
	if err := w.cfg.FS.SyncDir(w.work); err != nil {
		return &WriteError{File: w.work, Err: err}
	}
	return nil
}

// allocate makes sure that the segment has size bytes on disk.
func (d *disk) allocate(size int64) error {
	if size <= d.allocated {
		return nil
	}
	ahead := max(min(size+allocateStep, d.w.cfg.SegmentSize), size)
	if err := d.file.Allocate(ahead); err != nil {
		return d.failed(err)
	}
	d.allocated = ahead
	return nil
}

// sync makes everything written last.
func (d *disk) sync() error {
	if d.file == nil || d.synced == d.size {
		return nil
	}
	start := time.Now()
	if err := d.file.Sync(); err != nil {
		return d.failed(err)
	}
	d.synced = d.size
	d.w.stats.synced(time.Since(start))
	return nil
}

// seal closes the open segment: cut to its size, synced, with its keyframes and
// its index.
func (d *disk) seal() error {
	if d.file == nil {
		return nil
	}
	keyframes, err := d.keys.finish()
	if err != nil {
		return err
	}
	if err := d.file.Truncate(d.size); err != nil {
		return d.failed(err)
	}
	d.synced = -1 // the new length, too
	if err := d.sync(); err != nil {
		return err
	}
	err = d.file.Close()
	d.file = nil
	if err != nil {
		return d.failed(err)
	}
	// The index comes last: a segment that has one is whole in every respect.
	if err := d.keys.wait(); err != nil {
		return err
	}
	d.index.segmentSize = d.size
	content := encodeIndex(d.w.meta.ID, d.number, &d.index)
	if err := fsys.WriteFile(d.w.cfg.FS, d.w.work, indexName(d.number), content); err != nil {
		return &WriteError{File: d.path(indexName(d.number)), Err: err}
	}
	d.segments = append(d.segments, manifestSegment{
		Name: segmentName(d.number), Size: d.size, Blocks: d.index.blocks(),
		Records: d.records, FirstOrdinal: d.ordinal, Keyframes: keyframes, Digest: d.chain,
	})
	d.note()
	d.w.live.catalog.seal()
	d.number++
	return nil
}

func (d *disk) path(name string) string { return d.w.work + "/" + name }

// failed wraps an error of the open segment.
func (d *disk) failed(err error) error {
	return &WriteError{File: d.path(segmentName(d.number)), Offset: d.size, Err: err}
}
