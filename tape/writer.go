package tape

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// Writer writes a tape. Append, AppendFields, AppendBatch, Sync and Stats may be
// called from any number of goroutines; the records of one shard must come in
// order. Locks nest in one order: flush, a builder's mu, enqueue, the catalog's.
type Writer struct {
	cfg   Config
	dir   string // where the tape is to be
	work  string // where it is written
	lock  io.Closer
	meta  manifest // guarded by metaMu
	shard []builder

	queue   chan *job // in tape order, to the disk goroutine
	encode  chan *job // to the encoders
	free    chan *job // blocks to fill
	enqueue sync.Mutex
	number  int  // of the next block; guarded by enqueue
	stopped bool // no more jobs; guarded by enqueue

	timer *time.Timer
	armed atomic.Bool // the timer runs; records wait for a sync
	flush sync.Mutex  // held while the timer's function runs
	err   atomic.Pointer[error]

	encoders sync.WaitGroup
	disk     sync.WaitGroup
	out      disk // owned by the disk goroutine
	live     *Live
	stats    statsBox

	metaMu sync.Mutex

	closing  sync.Mutex
	marks    []Mark // for Close to write; guarded by closing
	closed   bool
	closeErr error
}

// Create makes a new tape. The directory must not exist, or be empty. The caller
// must Close or Abort the writer.
func Create(dir string, cfg Config) (*Writer, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if entries, err := cfg.FS.List(dir); err == nil && len(entries) > 0 {
		return nil, fmt.Errorf("%s: %w", dir, ErrExists)
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("tape: create %s: %w", dir, err)
	}
	work := dir
	if cfg.Temporary {
		work = dir + TemporarySuffix
	}
	lock, err := makeDir(cfg.FS, work, cfg.Temporary)
	if err != nil {
		return nil, fmt.Errorf("tape: create %s: %w", dir, err)
	}
	w := newWriter(dir, work, cfg, lock)
	w.meta = newManifest(&cfg)
	err = w.follow(cfg.Follow)
	if err == nil {
		err = writeManifest(cfg.FS, work, &w.meta)
	}
	if err == nil {
		err = w.syncParent()
	}
	if err == nil {
		err = w.start()
	}
	if err != nil {
		// The directory was empty; what is in it now is half a tape.
		return nil, errors.Join(err, fsys.RemoveAll(cfg.FS, work), lock.Close())
	}
	return w, nil
}

// makeDir makes and locks the directory to write in. With stale set, what an
// earlier import left there is removed, unless that import still runs.
func makeDir(fsx fsys.FS, dir string, stale bool) (io.Closer, error) {
	if err := fsx.Mkdir(dir); err != nil {
		return nil, err
	}
	lock, err := fsx.Lock(dir)
	if errors.Is(err, fsys.ErrLocked) {
		return nil, ErrLocked
	}
	if err != nil {
		return nil, err
	}
	entries, err := fsx.List(dir)
	if err != nil {
		// Remove takes only an empty directory.
		return nil, errors.Join(err, fsx.Remove(dir), lock.Close())
	}
	for _, e := range entries {
		if !stale {
			err = ErrExists // another writer was faster
			break
		}
		if err = fsx.Remove(dir + "/" + e.Name); err != nil {
			break
		}
	}
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func newManifest(cfg *Config) manifest {
	id, created := cfg.ID, cfg.Created
	if id == (ID{}) {
		id = newID()
	}
	if created == 0 {
		created = wire.NanosOf(time.Now())
	}
	return manifest{
		Version: formatVersion, ID: id, Created: stamp(created), Generator: cfg.Generator,
		Shards: cfg.Shards, Codec: cfg.Codec, SyncIntervalNs: max(0, int64(cfg.SyncInterval)),
		KeyInterval: max(0, cfg.KeyframeInterval), Encodings: cfg.Encodings, Sources: cfg.Sources,
	}
}

func newWriter(dir, work string, cfg Config, lock io.Closer) *Writer {
	w := &Writer{cfg: cfg, dir: dir, work: work, lock: lock, shard: make([]builder, cfg.Shards)}
	w.out = disk{w: w, edges: make([]shardEdges, cfg.Shards)}
	w.live = newLive(w, cfg.FS, work, cfg.Shards)
	return w
}

// start makes the buffers and starts the goroutines.
func (w *Writer) start() error {
	if w.out.keys == nil {
		w.out.keys = w.newKeyframer()
	}
	encoders := min(max(1, runtime.GOMAXPROCS(0)), 8)
	w.live.view.meta = &manifest{ID: w.meta.ID, Shards: w.meta.Shards}
	// Every shard may hold one open block; as many again may be under way, so
	// that no append waits for a block that nobody will finish.
	jobs := len(w.shard) + 2*encoders + 2
	w.queue, w.encode, w.free = make(chan *job, 2*jobs), make(chan *job, jobs), make(chan *job, jobs)
	for range jobs {
		w.free <- nil // made when first used
	}
	for range encoders {
		e, err := newEncoder(w.cfg.Codec)
		if err != nil {
			return err
		}
		w.encoders.Go(func() { w.runEncoder(e) })
	}
	w.disk.Go(w.out.run)
	w.timer = time.AfterFunc(time.Hour, w.onTimer)
	w.timer.Stop()
	return nil
}

func (w *Writer) newKeyframer() *keyframer {
	return newKeyframer(w.cfg.FS, w.work, w.meta.ID, w.cfg.Codec, w.cfg.KeyframeInterval,
		w.cfg.Retain.on() || w.cfg.SegmentDuration > 0)
}

// Append adds one encoded record, copying it. The error is an *OrderError where
// the record does not follow its shard's last one, a *wire.FormatError where it
// is not a record (the writer stays usable after both), or what stopped the
// writer.
func (w *Writer) Append(at At, rec wire.Record) error {
	if r, err := wire.ParseRecord(rec); err != nil {
		return err
	} else if len(r) != len(rec) {
		return errTrailing
	}
	b, err := w.lockShard(at.Shard)
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	j, err := w.room(b, &at, len(rec))
	if err != nil {
		return err
	}
	j.raw = append(j.raw, rec...)
	w.added(b, j, &at, rec.Event(), rec.Receive())
	return nil
}

var errTrailing = errors.New("tape: bytes after the record")

// AppendFields adds one record, encoding it straight into the block. Errors are
// those of Append and of wire.AppendRecord.
func (w *Writer) AppendFields(at At, f *wire.Fields) error {
	b, err := w.lockShard(at.Shard)
	if err != nil {
		return err
	}
	defer b.mu.Unlock()
	j, err := w.room(b, &at, f.EncodedSize())
	if err != nil {
		return err
	}
	raw, err := wire.AppendRecord(j.raw, f)
	if err != nil {
		w.unused(b)
		return err
	}
	j.raw = raw
	w.added(b, j, &at, f.Event, f.Receive)
	return nil
}

// Describe adds to what the manifest says of the records: how their bodies are
// to be read and where they come from. It is for writers that learn it on the
// way. A tape written in place has it at once, so that it can be read after a
// crash; a temporary one gets it in Close.
func (w *Writer) Describe(encodings []Encoding, sources []string) error {
	w.closing.Lock()
	defer w.closing.Unlock()
	w.metaMu.Lock()
	defer w.metaMu.Unlock()
	w.meta.describe(encodings, sources)
	if w.cfg.Temporary || w.closed {
		return nil
	}
	return writeManifest(w.cfg.FS, w.work, &w.meta)
}

// lockShard returns a shard's builder, locked.
func (w *Writer) lockShard(shard int) (*builder, error) {
	if uint(shard) >= uint(len(w.shard)) {
		return nil, ErrShard
	}
	if p := w.err.Load(); p != nil {
		return nil, *p
	}
	b := &w.shard[shard]
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil, ErrClosed
	}
	return b, nil
}

// room returns the block that a record of size bytes goes into, sealing the
// open one where it does not fit.
func (w *Writer) room(b *builder, at *At, size int) (*job, error) {
	if err := b.follows(at); err != nil {
		return nil, err
	}
	if b.job != nil && !b.fits(at, size, w.cfg.BlockSize) {
		w.push(b.finish())
	}
	if b.job == nil {
		j := <-w.free
		if j == nil {
			j = newJob(w.cfg.BlockSize)
		}
		if p := w.err.Load(); p != nil {
			w.free <- j
			return nil, *p
		}
		j.begin(at)
		j.info.LastValues = b.explained(at)
		b.job = j
		w.arm()
	}
	return b.job, nil
}

// unused takes back a block that room opened for a record which then failed.
func (w *Writer) unused(b *builder) {
	if b.job.info.Count == 0 {
		w.free <- b.job
		b.job = nil
	}
}

// added completes the addition of one record.
func (w *Writer) added(b *builder, j *job, at *At, event, receive wire.Nanos) {
	if j.info.Count > 0 {
		j.order.step(b.ordinal, at.Ordinal)
	}
	j.note(event, receive)
	b.advance(at, 1, at.Ordinal)
	w.full(b)
}

// full seals the open block where no record fits any more, so that a block of
// exactly the full size does not wait for the next record.
func (w *Writer) full(b *builder) {
	if b.job.payloadSize() >= w.cfg.BlockSize {
		w.push(b.finish())
	}
}

// push sends a block on its way.
func (w *Writer) push(j *job) {
	w.enqueue.Lock()
	defer w.enqueue.Unlock()
	j.info.Number = w.number
	w.number++
	w.live.catalog.push(j)
	w.queue <- j
	w.encode <- j
}

// Sync returns when every record appended before the call has been written and
// synced.
func (w *Writer) Sync(ctx context.Context) error {
	done := make(chan error, 1)
	if err := w.barrier(&job{sync: done}); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// barrier seals all open blocks and queues a sync behind them.
func (w *Writer) barrier(j *job) error {
	for i := range w.shard {
		b := &w.shard[i]
		b.mu.Lock()
		if b.job != nil {
			w.push(b.finish())
		}
		b.mu.Unlock()
	}
	w.enqueue.Lock()
	defer w.enqueue.Unlock()
	if w.stopped {
		return ErrClosed
	}
	w.queue <- j
	return nil
}

// arm starts the clock for the first record after a sync.
func (w *Writer) arm() {
	if w.cfg.SyncInterval > 0 && !w.armed.Load() && w.armed.CompareAndSwap(false, true) {
		w.timer.Reset(w.cfg.SyncInterval)
	}
}

// onTimer runs when the oldest record that is not synced is SyncInterval old.
func (w *Writer) onTimer() {
	w.flush.Lock()
	defer w.flush.Unlock()
	// First: a record that comes from now on starts the clock anew.
	w.armed.Store(false)
	_ = w.barrier(&job{soft: true}) // closed: Close syncs
}

// fail remembers the first error; every later call returns it.
func (w *Writer) fail(err error) {
	w.err.CompareAndSwap(nil, &err)
}

func (w *Writer) failed() error {
	if p := w.err.Load(); p != nil {
		return *p
	}
	return nil
}
