package tape

import (
	"fmt"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// joiner puts the segments together: what only shows from one to the next.
type joiner struct {
	v       *verifier
	shards  map[uint16]*shardCheck
	damages int      // places without a known block so far
	damage  *Problem // the latest of them
	chain   Digest
	known   bool // chain is that of the block before
	removed bool // retention has removed what came before the first block
	number  int  // of the next block
	totals  Totals
	edges   []shardEdges
	epochs  []wire.Epoch
	keys    keyJoin
}

// join walks over all segments and holds the sums against the manifest.
func (v *verifier) join() {
	start := v.tape.meta.start()
	j := &joiner{v: v, shards: map[uint16]*shardCheck{}, known: v.trusted || start.Segment == 0, chain: start.Digest, number: start.Blocks, removed: start.Blocks > 0, keys: newKeyJoin(),
		edges: make([]shardEdges, v.tape.meta.Shards)}
	for i, s := range v.segments {
		if i > 0 && v.segments[i-1].number+1 != s.number || i == 0 && s.number > start.Segment {
			// The jump that a missing segment leaves is no gap of the recording.
			j.damages, j.damage, j.known = j.damages+1, &Problem{}, false
		}
		j.segment(s)
	}
	for _, s := range v.segments {
		for _, p := range s.problems {
			v.problem(*p)
		}
		v.report.Bytes += s.size
		v.report.Warnings = append(v.report.Warnings, s.warnings...)
		if s.torn != nil && s.torn.Bytes > 0 {
			v.report.Torn = s.torn
		}
	}
	j.totals.setEdges(j.edges, j.epochs)
	v.report.Blocks, v.report.Records, v.report.Digest = j.totals.Blocks, j.totals.Records, j.chain
	v.sums(&j.totals)
}

func (j *joiner) segment(s *checkedSegment) {
	if s.first >= 0 && s.first != j.number && j.damages == 0 {
		s.add(Problem{File: segmentName(s.number), Offset: segFirstOff, Reason: "block numbers do not follow the segment before",
			Affected: "every record of the segment"})
	}
	if len(s.blocks) > 0 && s.blocks[0].whole && j.known && nextChain(j.chain, &s.blocks[0]) != s.blocks[0].info.Chain {
		s.add(chainProblem(&s.blocks[0].info))
	}
	for i := range s.blocks {
		b := &s.blocks[i]
		j.chain, j.known = b.info.Chain, b.known
		if !b.whole {
			j.damaged(s, b)
			continue
		}
		j.follow(s, &b.info)
		j.totals.add(&b.info)
		j.edges[b.info.Shard].add(b.first, b.last)
		j.epochs = appendEpoch(j.epochs, b.info.Epoch)
	}
	j.number += len(s.blocks)
	j.keys.segment(s)
	j.v.endSegment(s, j.chain)
}

// endSegment holds a segment against its line in the manifest.
func (v *verifier) endSegment(s *checkedSegment, chain Digest) {
	if !v.tape.meta.Closed || len(s.problems) > 0 {
		return
	}
	m := v.tape.meta.segment(s.number)
	got := manifestSegment{Name: m.Name, Size: s.size, Blocks: len(s.blocks), Keyframes: m.Keyframes, Digest: chain}
	for i := range s.blocks {
		if i == 0 {
			got.FirstOrdinal = s.blocks[0].info.FirstOrdinal
		}
		got.Records += uint64(s.blocks[i].info.Count)
	}
	if got != *m {
		s.add(Problem{File: segmentName(s.number), Offset: min(s.size, m.Size),
			Reason:   fmt.Sprintf("segment differs from the manifest: %d bytes, %d blocks, %d records against %d, %d, %d", got.Size, got.Blocks, got.Records, m.Size, m.Blocks, m.Records),
			Affected: "records that were removed or added"})
	}
}

// shardCheck is where one shard stands.
type shardCheck struct {
	epoch   wire.Epoch
	next    wire.Seq
	ordinal wire.Ordinal
	seen    []wire.Epoch
	damages int // of joiner.damages, how many lie before its last block
}

func (j *joiner) shard(n uint16) *shardCheck {
	c := j.shards[n]
	if c == nil {
		c = &shardCheck{}
		j.shards[n] = c
	}
	return c
}

// damaged notes a damaged block, so that the jump it leaves is not taken for a
// gap of the recording.
func (j *joiner) damaged(s *checkedSegment, b *checkedBlock) {
	if !b.known {
		j.damages, j.damage = j.damages+1, s.problems[b.problem]
		return
	}
	c := j.shard(b.info.Shard)
	if c.epoch == 0 || c.epoch == b.info.Epoch && c.next <= b.info.FirstSeq {
		c.epoch, c.next, c.ordinal = b.info.Epoch, b.info.Next(), b.info.LastOrdinal
	}
}

// follow checks a block against the one before it on its shard.
func (j *joiner) follow(s *checkedSegment, b *BlockInfo) {
	c, reason := j.shard(b.Shard), ""
	switch {
	case c.epoch == 0 && j.removed:
	case c.epoch == 0:
		j.started(b)
	case c.epoch != b.Epoch && slices.Contains(c.seen, b.Epoch):
		reason = "an epoch that was over comes back"
	case c.epoch != b.Epoch:
		c.seen = append(c.seen, c.epoch)
		j.started(b)
	case b.FirstSeq < c.next:
		reason = "sequences go back"
	case b.FirstOrdinal <= c.ordinal:
		reason = "ordinals go back"
	case b.FirstSeq > c.next && c.damages < j.damages:
		j.damage.Affected += fmt.Sprintf("; shard %d, epoch %d, sequences %d to %d", b.Shard, uint64(b.Epoch), c.next, b.FirstSeq-1)
	case b.FirstSeq > c.next && b.LastValues:
		j.v.report.LastValues = append(j.v.report.LastValues, Gap{Epoch: b.Epoch, Shard: int(b.Shard), From: c.next, To: b.FirstSeq})
	case b.FirstSeq > c.next:
		j.v.report.Gaps = append(j.v.report.Gaps, Gap{Epoch: b.Epoch, Shard: int(b.Shard), From: c.next, To: b.FirstSeq})
	}
	if reason != "" {
		info := *b
		s.add(Problem{File: segmentName(b.Segment), Offset: b.Offset, Bytes: b.end() - b.Offset, Reason: reason, Affected: b.affected(), Block: &info})
	}
	c.epoch, c.next, c.ordinal, c.damages = b.Epoch, b.Next(), b.LastOrdinal, j.damages
}

// started notes that an epoch begins, on a shard, with last values.
func (j *joiner) started(b *BlockInfo) {
	if b.LastValues && b.FirstSeq > 0 {
		j.v.report.LastValues = append(j.v.report.LastValues, Gap{Epoch: b.Epoch, Shard: int(b.Shard), To: b.FirstSeq})
	}
}

// sums holds the whole against manifest and topics file. With damaged blocks
// they cannot agree, and say nothing new.
func (v *verifier) sums(totals *Totals) {
	m := v.tape.meta
	undamaged := len(v.report.Problems) == 0
	table := newTopicTable()
	for _, t := range v.tables {
		table.merge(t)
	}
	if m.Closed || !v.trusted {
		v.topicsFile(table, undamaged)
	}
	if !m.Closed || !undamaged {
		return
	}
	totals.Topics = v.topics
	want := m.Totals.totals()
	got := *totals
	if got != want || *m.Digest != v.report.Digest {
		v.problem(Problem{File: manifestName, Reason: "totals or digest differ from the segments",
			Affected: fmt.Sprintf("the tape as a whole: %d records where the manifest says %d", got.Records, want.Records)})
	}
}

func (v *verifier) topicsFile(table *topicTable, undamaged bool) {
	bad := func(reason string) {
		v.problem(Problem{File: topicsName, Reason: reason, Affected: "no record; the topics are counted anew from the blocks"})
	}
	data, err := fsys.ReadFile(v.tape.fs, v.tape.path(topicsName), topicsSizeMax)
	if err != nil {
		if v.trusted {
			bad("topics file cannot be read: " + err.Error())
		}
		return
	}
	list, reason := parseTopics(data, v.tape.meta.ID)
	switch {
	case reason != "":
		bad(reason)
	case undamaged && !v.topicsAgree(list, table):
		bad("topics differ from the records")
	}
	v.topics = len(list)
}

func (v *verifier) strayReason(name string) string {
	switch {
	case v.beforeStart(name):
		return reasonRemoved
	case name == topicsName:
		return "left over from before the tape was opened again"
	case strings.Contains(name, segmentSuffix+tornInfix):
		return "tail that a recovery cut off and kept"
	}
	return "not a file of this tape"
}

// beforeStart reports whether a file belongs to a segment that retention has
// removed.
func (v *verifier) beforeStart(name string) bool {
	for _, suffix := range []string{indexSuffix, keySuffix} {
		if n, ok := segmentNumber(name, suffix); ok && n < v.tape.meta.firstSegment() {
			return true
		}
	}
	return false
}

// topicsAgree reports whether the topics file says what the records say. Where
// segments were removed, it may count what was in them, too.
func (v *verifier) topicsAgree(list []TopicInfo, table *topicTable) bool {
	base := v.tape.meta.start().Blocks
	if base == 0 {
		return slices.Equal(list, table.sorted())
	}
	found, surplus := 0, uint64(0)
	for i := range list {
		got := &list[i]
		want := table.stats[got.Topic]
		if want == nil {
			if got.LastBlock >= base || got.Records == 0 {
				return false
			}
			surplus += got.Records
			continue
		}
		found++
		same := got.FirstBlock == want.FirstBlock && got.FirstOrdinal == want.FirstOrdinal && got.Records == want.Records
		before := got.FirstBlock < base && got.Records > want.Records
		if !same && !before || got.LastBlock != want.LastBlock || got.LastOrdinal != want.LastOrdinal ||
			got.LastTopicSeq != want.LastTopicSeq || got.LastIndex != want.LastIndex {
			return false
		}
		surplus += got.Records - want.Records
	}
	return found == len(table.stats) && surplus <= v.tape.meta.start().Records
}
