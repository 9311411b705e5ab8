package tape

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// OpenAppend opens a tape to go on writing in a new segment. An unclosed tape is
// recovered first, as Recover does it. Of cfg a zero Shards, Codec or
// KeyframeInterval means the tape's own; another number of shards is refused. Encodings and Sources that
// the tape does not have yet are added. ID, Created and Temporary must be zero.
func OpenAppend(dir string, cfg Config) (*Writer, error) {
	if cfg.ID != (ID{}) || cfg.Created != 0 || cfg.Temporary {
		return nil, fmt.Errorf("%w: ID, Created and Temporary are not for appending", ErrConfig)
	}
	fsx := cfg.FS
	if fsx == nil {
		fsx = fsys.OS{}
	}
	lock, err := lockTape(fsx, dir)
	if err != nil {
		return nil, err
	}
	w, err := openAppendLocked(fsx, dir, cfg, lock)
	if err != nil {
		return nil, errors.Join(err, lock.Close())
	}
	return w, nil
}

func openAppendLocked(fsx fsys.FS, dir string, cfg Config, lock io.Closer) (*Writer, error) {
	t, _, err := recoverLocked(fsx, dir)
	if t != nil {
		defer t.Close()
	}
	if err != nil {
		return nil, err
	}
	if cfg.Shards != 0 && cfg.Shards != t.meta.Shards {
		return nil, fmt.Errorf("%w: the tape has %d shards, not %d", ErrConfig, t.meta.Shards, cfg.Shards)
	}
	cfg.Shards = t.meta.Shards
	if cfg.Codec == 0 {
		cfg.Codec = t.meta.Codec
	}
	if cfg.KeyframeInterval == 0 {
		cfg.KeyframeInterval = t.meta.keyInterval()
	}
	cfg, err = cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	w := newWriter(dir, dir, cfg, lock)
	if err := w.resume(t, &cfg); err != nil {
		return nil, err
	}
	if err := w.start(); err != nil {
		return nil, err
	}
	return w, nil
}

// resume takes over where a closed tape ends, and marks it unclosed.
func (w *Writer) resume(t *Tape, cfg *Config) error {
	topics, err := t.allTopics()
	if err != nil {
		return err
	}
	d := &w.out
	if d.totals, err = t.sums(); err != nil {
		return err
	}
	if d.edges, err = t.edges(); err != nil {
		return err
	}
	d.epochs = slices.Clone(t.Epochs())
	d.kept = t.retained()
	d.segments, d.number = t.meta.Segments, t.first+len(t.meta.Segments)
	d.chain, d.blocks, w.number = *t.meta.Digest, t.base+t.blocks, t.base+t.blocks
	w.live.catalog.seed(t)
	for i := range w.shard {
		w.shard[i].resume(t, &t.shards().shards[i])
	}
	w.meta = *t.meta
	w.meta.extend(cfg)
	d.keys = w.newKeyframer()
	for i := range topics {
		d.keys.live.seed(&topics[i])
	}
	if _, err := d.keys.resume(t, t.blocks); err != nil {
		return err
	}
	if err := writeManifest(w.cfg.FS, w.work, &w.meta); err != nil {
		return err
	}
	if err := w.cfg.FS.Remove(d.path(topicsName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return &WriteError{File: d.path(topicsName), Err: err}
	}
	return nil
}

// follow makes a new tape begin where another one does.
func (w *Writer) follow(t *Tape) error {
	if t == nil || t.base == 0 {
		return nil
	}
	start, d := t.meta.start(), &w.out
	w.meta.Start = &start
	d.number, d.chain, d.blocks, w.number = start.Segment, start.Digest, start.Blocks, start.Blocks
	d.keys = w.newKeyframer()
	var err error
	d.keys.head, err = d.keys.resume(t, 0)
	return err
}

// resume sets a shard's position to the end of its blocks.
func (b *builder) resume(t *Tape, s *shardBlocks) {
	if len(s.blocks) == 0 {
		return
	}
	last := t.Block(s.blocks[len(s.blocks)-1])
	b.epoch, b.next, b.ordinal = last.Epoch, last.Next(), last.LastOrdinal
	for _, r := range s.runs[:len(s.runs)-1] {
		b.seen = append(b.seen, r.epoch)
	}
}

// extend turns the manifest of a closed tape into that of one being written.
func (m *manifest) extend(cfg *Config) {
	m.Closed, m.Totals, m.Digest, m.Segments = false, nil, nil, nil
	m.Codec, m.SyncIntervalNs = cfg.Codec, max(0, int64(cfg.SyncInterval))
	m.KeyInterval = max(0, cfg.KeyframeInterval)
	if cfg.Generator != "" {
		m.Generator = cfg.Generator
	}
	m.describe(cfg.Encodings, cfg.Sources)
}
