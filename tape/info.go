package tape

import (
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// Info is what a tape says about itself.
type Info struct {
	ID           ID
	Created      wire.Nanos
	Generator    string
	Shards       int
	Codec        Codec // asked for; a block that did not shrink is plain
	SyncInterval time.Duration
	Encodings    []Encoding
	Sources      []string
	Closed       bool
	Totals       Totals
	Digest       Digest // of all blocks
	Segments     []SegmentInfo
	Removed      Removed
}

// Removed is what retention has taken from the start of a tape.
type Removed struct {
	Segments     int
	Blocks       int
	Records      uint64
	PayloadBytes uint64
	StoredBytes  uint64
}

// SegmentInfo is what is known of one segment.
type SegmentInfo struct {
	Name   string
	Size   int64 // bytes
	Blocks int
	Digest Digest // at its end
	Sealed bool   // complete, with an index
}

// Info returns what the tape says about itself. Of a closed tape it costs
// nothing; of an unclosed one the first call reads every block.
func (t *Tape) Info() (Info, error) {
	totals, err := t.sums()
	if err != nil {
		return Info{}, err
	}
	m := t.meta
	info := Info{
		ID: m.ID, Created: wire.Nanos(m.Created), Generator: m.Generator, Shards: m.Shards, Codec: m.Codec,
		SyncInterval: time.Duration(m.SyncIntervalNs), Encodings: m.Encodings, Sources: m.Sources,
		Closed: m.Closed, Totals: totals,
	}
	start := m.start()
	info.Digest = start.Digest
	info.Removed = Removed{Segments: start.Segment, Blocks: start.Blocks, Records: start.Records, PayloadBytes: start.PayloadBytes, StoredBytes: start.StoredBytes}
	for _, s := range t.segments {
		info.Segments = append(info.Segments, SegmentInfo{
			Name: segmentName(s.number), Size: s.index.segmentSize, Blocks: s.index.blocks(),
			Digest: s.digest, Sealed: s.sealed,
		})
		info.Digest = s.digest
	}
	return info, nil
}

// Dir is the directory that the tape was opened in.
func (t *Tape) Dir() string { return t.dir }

// Shards is the number of shards.
func (t *Tape) Shards() int { return t.meta.Shards }

// Codec is what the tape was written with; a block that did not shrink is plain
// all the same, and a tape that was appended to may hold blocks of others.
func (t *Tape) Codec() Codec { return t.meta.Codec }

// Encodings say how the bodies are to be read.
func (t *Tape) Encodings() []Encoding { return t.meta.Encodings }

// Topics returns the topics in bytewise order. Of a closed tape it reads the
// topics file; of an unclosed one the first call reads every block. Where
// retention has removed the tape's first segments, the topics of a closed tape
// still count what was in them.
func (t *Tape) Topics() ([]TopicInfo, error) {
	list, err := t.allTopics()
	if err != nil || t.base == 0 {
		return list, err
	}
	list = slices.Clone(list)
	for i := range list {
		list[i].FirstBlock = max(list[i].FirstBlock-t.base, -1)
		list[i].LastBlock = max(list[i].LastBlock-t.base, -1)
	}
	return list, nil
}

// allTopics returns the topics with blocks counted over the whole recording.
func (t *Tape) allTopics() ([]TopicInfo, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.topicsLocked()
}

func (t *Tape) topicsLocked() ([]TopicInfo, error) {
	if t.topics != nil {
		return t.topics, nil
	}
	if list := t.readTopicsLocked(); list != nil {
		return list, nil
	}
	// Missing or damaged: the blocks have it all. Verify reports it.
	list, err := t.scanTopics()
	t.topics = list
	return list, err
}

// readTopicsLocked returns what the topics file of a closed tape has, or nil.
func (t *Tape) readTopicsLocked() []TopicInfo {
	if !t.meta.Closed {
		return nil
	}
	data, err := fsys.ReadFile(t.fs, t.path(topicsName), topicsSizeMax)
	if err != nil {
		return nil
	}
	if list, reason := parseTopics(data, t.meta.ID); reason == "" {
		t.topics = list
	}
	return t.topics
}

// listedTopics returns the topics with blocks counted over the whole recording,
// where they can be had without looking for them in the blocks, or nil.
func (t *Tape) listedTopics() []TopicInfo {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.topics == nil {
		return t.readTopicsLocked()
	}
	return t.topics
}

// scanTopics computes the topics from the blocks.
func (t *Tape) scanTopics() ([]TopicInfo, error) {
	table := newTopicTable()
	for n := range t.blocks {
		b, err := t.ReadBlock(n, false)
		if err != nil {
			return nil, err
		}
		table.add(t.base+n, &b.Batch)
		b.Release()
	}
	return table.sorted(), nil
}

// sums returns the totals: the manifest's, or computed from the blocks.
func (t *Tape) sums() (Totals, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.totals != nil {
		return *t.totals, nil
	}
	topics, err := t.topicsLocked()
	if err != nil {
		return Totals{}, err
	}
	totals, err := t.computeTotals()
	if err != nil {
		return Totals{}, err
	}
	totals.Topics = len(topics)
	t.totals = &totals
	return totals, nil
}

// computeTotals sums up the block headers and looks into the blocks at the edges.
func (t *Tape) computeTotals() (Totals, error) {
	var totals Totals
	for n := range t.blocks {
		b := t.Block(n)
		totals.add(&b)
	}
	edges, err := t.edges()
	if err == nil {
		totals.setEdges(edges, t.shards().epochs)
	}
	return totals, err
}

// edges returns each shard's first and last record.
func (t *Tape) edges() ([]shardEdges, error) {
	tables := t.shards()
	edges := make([]shardEdges, len(tables.shards))
	for i := range tables.shards {
		list := tables.shards[i].blocks
		if len(list) == 0 {
			continue
		}
		for _, n := range []int{list[0], list[len(list)-1]} {
			first, last, err := t.blockEdges(n)
			if err != nil {
				return nil, err
			}
			edges[i].add(first, last)
		}
	}
	return edges, nil
}

func (t *Tape) blockEdges(n int) (first, last edge, err error) {
	b, err := t.ReadBlock(n, false)
	if err != nil {
		return first, last, err
	}
	defer b.Release()
	first, last = b.Info.edges(&b.Batch)
	return first, last, nil
}

// edges returns the first and the last record of a block.
func (b *BlockInfo) edges(batch *wire.Batch) (first, last edge) {
	for w := batch.Records(); w.Next(); {
		last = edge{epoch: b.Epoch, event: w.Record().Event(), receive: w.Record().Receive()}
		if w.Seq() == b.FirstSeq {
			first = last
		}
	}
	first.ordinal, last.ordinal = b.FirstOrdinal, b.LastOrdinal
	return first, last
}
