package tape

import (
	"encoding/binary"
	"errors"
	"hash/maphash"
	"io/fs"
	"math"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// keyCheck checks one segment's keyframes against its records. What a keyframe
// has from before the segment is summed up in claims, for joinKeys to check.
// Topics and records are kept as hashes: it is software that is checked here;
// what was done to bytes the checksums show.
type keyCheck struct {
	c       *segmentChecker
	s       *checkedSegment
	list    []keyEntry // still to come
	file    fsys.File
	live    *liveTopics // names only
	scan    *topicScan
	deltas  []topicDelta
	claimed map[uint64]uint64 // by topic: what the first keyframe has from before the segment
	sums    *keySums
}

// keySums is what a segment's keyframes leave to check against the segments
// before it, and what its records do to the state behind it.
type keySums struct {
	keyframes []keyEntry
	touched   map[uint64]uint64 // by topic: the last record in the segment
	before    []uint64          // topics that the segment has before its first keyframe
	claims    uint64            // sum over what that keyframe has from before the segment
	count     int               // how many topics that are
	head      map[uint64]uint64 // the same one by one, of the tape's first segment
}

// startKeys begins with a segment.
func (c *segmentChecker) startKeys(s *checkedSegment) *keyCheck {
	k := &keyCheck{c: c, s: s, live: newLiveTopics(false), sums: &keySums{touched: map[uint64]uint64{}}}
	k.scan = newTopicScan(k.live)
	s.keys = k.sums
	k.list = k.open()
	k.sums.keyframes = k.list
	return k
}

// open loads header and entries, and says what is wrong with them.
func (k *keyCheck) open() []keyEntry {
	t := k.c.v.tape
	f, err := t.fs.Open(t.path(keyName(k.s.number)), fsys.Read)
	if errors.Is(err, fs.ErrNotExist) {
		if t.meta.Closed && k.c.v.trusted && t.meta.segment(k.s.number).Keyframes > 0 {
			k.s.warnings = append(k.s.warnings, keyProblem(k.s.number, "keyframe file is missing"))
		}
		return nil
	}
	var list []keyEntry
	reason := ""
	if err == nil {
		k.file = f
		list, reason, err = readKeys(f, t.meta.ID, k.s.number, max(k.s.first, 0), math.MaxInt32)
	}
	if err != nil {
		reason = err.Error()
	}
	if reason != "" {
		k.s.add(keyProblem(k.s.number, reason))
		return nil
	}
	return list
}

// close ends with the segment.
func (k *keyCheck) close() {
	if len(k.list) > 0 && len(k.s.problems) == 0 {
		k.s.add(keyProblem(k.s.number, "keyframe is of a block outside its segment"))
	}
	if k.file != nil {
		_ = k.file.Close()
	}
}

// before checks the keyframe of the state before a block, if there is one.
func (k *keyCheck) before(block int) {
	if len(k.list) == 0 || k.list[0].block != block {
		return
	}
	e := &k.list[0]
	k.list = k.list[1:]
	stored := make([]byte, e.storedSize)
	reason := ""
	if err := readAt(k.file, stored, e.offset, e.offset+int64(e.storedSize)); err != nil {
		reason = err.Error()
	}
	var raw []byte
	if reason == "" {
		raw, reason = decodeKeyframe(stored, e)
	}
	if reason == "" {
		reason = k.content(e, raw)
	}
	if reason != "" {
		p := keyProblem(k.s.number, reason)
		p.Offset, p.Bytes = e.offset, int64(e.storedSize)
		k.s.add(p)
		k.list = nil
	}
}

// content holds a keyframe against the records of the segment before it.
func (k *keyCheck) content(e *keyEntry, raw []byte) string {
	first := k.claimed == nil
	if first {
		k.claimed = map[uint64]uint64{}
		k.sums.before = make([]uint64, 0, len(k.sums.touched))
		for topic := range k.sums.touched {
			k.sums.before = append(k.sums.before, topic)
		}
	}
	touched, claimed, wrong := 0, 0, 0
	reason := e.walk(raw, k.c.v.tape.meta.Shards, func(rec wire.Record, p place) {
		topic, sum := maphash.Bytes(keySeed, rec.Topic()), recordSum(rec, &p)
		if want, ok := k.sums.touched[topic]; ok {
			touched++
			if want != sum {
				wrong++
			}
			return
		}
		claimed++
		if first {
			k.claimed[topic] = sum
			k.sums.claims += mix(topic, sum)
		} else if k.claimed[topic] != sum {
			wrong++
		}
	})
	if first {
		k.sums.count = claimed
		if k.s.number == k.c.v.tape.meta.firstSegment() {
			k.sums.head = k.claimed
		}
	}
	untouched := 0
	for topic := range k.claimed {
		if _, ok := k.sums.touched[topic]; !ok {
			untouched++
		}
	}
	switch {
	case reason != "":
		return reason
	case k.c.v.bad.Load():
		return "" // the damaged block is what the keyframe has and the segment lacks
	case wrong > 0 || touched != len(k.sums.touched) || claimed != untouched:
		return "keyframe differs from the records before it"
	}
	return ""
}

// add takes in a block. Of a tape that has no keyframes at all there is nothing
// to hold against it.
func (k *keyCheck) add(b *BlockInfo, batch *wire.Batch) {
	if k.c.v.keyless {
		return
	}
	k.deltas = k.scan.block(k.deltas[:0], b.Number, batch)
	for i := range k.deltas {
		d := &k.deltas[i]
		p := place{epoch: b.Epoch, seq: b.FirstSeq + wire.Seq(d.lastIndex), ordinal: d.lastOrdinal, shard: b.Shard}
		k.sums.touched[maphash.String(keySeed, d.topic.name)] = recordSum(wire.Record(batch.Payload[d.offset:][:d.size]), &p)
	}
}

var keySeed = maphash.MakeSeed()

// recordSum sums up a record and its place.
func recordSum(rec wire.Record, p *place) uint64 {
	var b [34]byte
	le := binary.LittleEndian
	le.PutUint64(b[:], maphash.Bytes(keySeed, rec))
	le.PutUint64(b[8:], uint64(p.epoch))
	le.PutUint64(b[16:], uint64(p.seq))
	le.PutUint64(b[24:], uint64(p.ordinal))
	le.PutUint16(b[32:], p.shard)
	return maphash.Bytes(keySeed, b[:])
}

// mix makes one number of two, so that sums over many pairs differ where a pair
// differs.
func mix(a, b uint64) uint64 {
	var buf [16]byte
	binary.LittleEndian.PutUint64(buf[:], a)
	binary.LittleEndian.PutUint64(buf[8:], b)
	return maphash.Bytes(keySeed, buf[:])
}

// keyJoin is the state behind the segments so far.
type keyJoin struct {
	last map[uint64]uint64 // by topic
	sum  uint64
	upTo [len(clockNames)]wire.Nanos
	lost bool // something before is damaged, so that nothing can be said
}

func newKeyJoin() keyJoin {
	j := keyJoin{last: map[uint64]uint64{}}
	for c := range j.upTo {
		j.upTo[c] = wire.NanosMin
	}
	return j
}

// segment holds a segment's first keyframe against the segments before it, and
// moves on behind the segment.
func (j *keyJoin) segment(s *checkedSegment) {
	for i := range s.blocks {
		j.lost = j.lost || !s.blocks[i].whole
	}
	k := s.keys
	j.lost = j.lost || k == nil
	if j.lost {
		return
	}
	if k.head != nil && len(k.keyframes) > 0 {
		j.begin(k)
	}
	if len(k.keyframes) > 0 && !j.claimed(k) {
		s.add(keyProblem(s.number, "keyframe differs from the records before its segment"))
	}
	upTo, entries := j.upTo, k.keyframes
	for i := range s.blocks {
		b := &s.blocks[i].info
		if len(entries) > 0 && entries[0].block == b.Number {
			if entries[0].upTo != upTo {
				s.add(keyProblem(s.number, "keyframe's greatest times differ from those of the records before it"))
			}
			entries = entries[1:]
		}
		for c := range upTo {
			upTo[c] = max(upTo[c], b.span(Clock(c)).Max)
		}
	}
	j.upTo = upTo
	for topic, sum := range k.touched {
		if old, ok := j.last[topic]; ok {
			j.sum -= mix(topic, old)
		}
		j.last[topic] = sum
		j.sum += mix(topic, sum)
	}
	s.keys = nil // large
}

// begin takes the keyframe at the head of the tape for what was removed.
func (j *keyJoin) begin(k *keySums) {
	for topic, sum := range k.head {
		j.last[topic] = sum
		j.sum += mix(topic, sum)
	}
	if len(k.before) == 0 {
		j.upTo = k.keyframes[0].upTo
	}
}

// claimed reports whether a segment's first keyframe has exactly what the
// segments before have left.
func (j *keyJoin) claimed(k *keySums) bool {
	sum, count := j.sum, len(j.last)
	for _, topic := range k.before {
		if old, ok := j.last[topic]; ok {
			sum, count = sum-mix(topic, old), count-1
		}
	}
	return sum == k.claims && count == k.count
}
