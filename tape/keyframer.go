package tape

import (
	"context"
	"errors"
	"io/fs"
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// How much of a tape keyframes may take. A keyframe is due after the interval,
// but not before keyframeApart times its size has come since the last one, as
// payload, nor keyframeStored times what the last one took on disk, as stored.
const (
	keyframeApart  = 8
	keyframeStored = 12
	// placeSizeAbout is what a record's place takes in a keyframe, bytes.
	placeSizeAbout = 12
)

// keyframer takes a tape's keyframes while its blocks pass. What is slow
// (compressing, writing, syncing) it does behind its owner's back, one thing at
// a time.
type keyframer struct {
	fs       fsys.FS
	dir      string
	id       ID
	codec    Codec
	interval uint64 // payload bytes; 0 takes no keyframes
	always   bool   // at the start of every segment, whatever it costs
	head     bool   // at the start of the next segment in any case
	live     *liveTopics

	payload    uint64 // bytes since the last keyframe
	stored     uint64 // the same, as stored
	lastStored uint64 // what the last one took on disk
	upTo       [len(clockNames)]wire.Nanos
	sorted     []*liveTopic // of live.list the first so many, by name
	ordered    int          // how many those are

	enc     *encoder
	file    fsys.File // of the current segment; nil before its first keyframe
	number  int       // of that segment
	first   int       // of its blocks
	size    int64     // bytes written to the file
	entries []byte
	raw     []byte // of the keyframe under way; reused
	packed  []byte // the same, compressed
	result  chan error
	busy    bool // result will come
}

func newKeyframer(fsx fsys.FS, dir string, id ID, codec Codec, interval int64, always bool) *keyframer {
	k := &keyframer{fs: fsx, dir: dir, id: id, codec: keyCodec(codec), interval: uint64(max(interval, 0)), always: always,
		result: make(chan error, 1)}
	k.live = newLiveTopics(k.interval > 0)
	for i := range k.upTo {
		k.upTo[i] = wire.NanosMin
	}
	return k
}

// add takes in a block that was written.
func (k *keyframer) add(b *BlockInfo) {
	k.payload += uint64(b.PayloadSize)
	k.stored += BlockHeaderSize + uint64(b.StoredSize)
	for c := range k.upTo {
		k.upTo[c] = max(k.upTo[c], b.span(Clock(c)).Max)
	}
}

// before makes a keyframe of the state before a block where one is due. fresh is
// set for the first block of a segment.
func (k *keyframer) before(segment, first, block int, fresh bool) error {
	if k.interval == 0 || len(k.live.list) == 0 {
		return nil
	}
	size := uint64(k.live.bytes + placeSizeAbout*len(k.live.list))
	if size > KeyframeSizeMax-placeSizeAbout*uint64(len(k.live.list)) {
		k.interval = 0
		k.live.forget()
		return nil
	}
	always := fresh && (k.always || k.head)
	if !always {
		if k.payload < keyframeApart*size || !fresh && k.payload < k.interval {
			return nil
		}
	}
	if err := k.wait(); err != nil {
		return err
	}
	if k.stored < keyframeStored*k.lastStored && !always {
		return nil
	}
	k.head = false
	return k.take(segment, first, block)
}

// take makes a keyframe of the state now.
func (k *keyframer) take(segment, first, block int) error {
	if k.file == nil {
		if err := k.begin(segment, first); err != nil {
			return err
		}
	}
	k.sort()
	k.raw = k.raw[:0]
	for _, t := range k.sorted {
		k.raw = append(k.raw, t.last...)
	}
	e := keyEntry{block: block, recordsSize: uint32(len(k.raw)), topics: uint32(len(k.sorted)), upTo: k.upTo}
	k.raw = appendPlaces(k.raw, k.sorted)
	e.placesSize = uint32(len(k.raw)) - e.recordsSize
	k.payload, k.stored = 0, 0
	k.behind(func() error { return k.write(&e) })
	return nil
}

// sort brings the topics that are new since the last keyframe into the sorted
// list.
func (k *keyframer) sort() {
	byName := func(a, b *liveTopic) int { return strings.Compare(a.name, b.name) }
	fresh := slices.Clone(k.live.list[k.ordered:])
	k.ordered = len(k.live.list)
	if len(fresh) == 0 {
		return
	}
	slices.SortFunc(fresh, byName)
	if len(k.sorted) == 0 {
		k.sorted = fresh
		return
	}
	old := k.sorted
	k.sorted = make([]*liveTopic, 0, len(old)+len(fresh))
	for len(old) > 0 && len(fresh) > 0 {
		if byName(old[0], fresh[0]) < 0 {
			k.sorted, old = append(k.sorted, old[0]), old[1:]
		} else {
			k.sorted, fresh = append(k.sorted, fresh[0]), fresh[1:]
		}
	}
	k.sorted = append(append(k.sorted, old...), fresh...)
}

// begin opens a segment's keyframe file under the name that it has until it is
// whole.
func (k *keyframer) begin(segment, first int) error {
	k.number, k.first, k.size, k.entries = segment, first, keyHeaderSize, k.entries[:0]
	if err := k.fs.Remove(k.temporary()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return k.failed(err)
	}
	f, err := k.fs.Open(k.temporary(), fsys.Create)
	if err != nil {
		return k.failed(err)
	}
	k.file = f
	return nil
}

func (k *keyframer) temporary() string { return k.dir + "/" + keyName(k.number) + fsys.TemporarySuffix }

func (k *keyframer) failed(err error) error {
	return &WriteError{File: k.temporary(), Offset: k.size, Err: err}
}

// behind runs f in the background; wait returns its error.
func (k *keyframer) behind(f func() error) {
	k.busy = true
	go func() { k.result <- f() }()
}

// wait returns when nothing runs in the background any more.
func (k *keyframer) wait() error {
	if !k.busy {
		return nil
	}
	k.busy = false
	return <-k.result
}

// write compresses and writes the keyframe in k.raw.
func (k *keyframer) write(e *keyEntry) error {
	if k.enc == nil {
		enc, err := newEncoder(k.codec)
		if err != nil {
			return err
		}
		k.enc = enc
	}
	e.rawCRC = checksum(k.raw)
	k.packed, e.codec = k.enc.encode(k.packed[:0], k.raw, len(k.raw), k.codec)
	bytes := k.packed
	if len(bytes) >= len(k.raw) {
		e.codec, bytes = CodecPlain, k.raw
	}
	e.offset, e.storedSize, e.storedCRC = k.size, uint32(len(bytes)), checksum(bytes)
	if _, err := k.file.WriteAt(bytes, k.size); err != nil {
		return k.failed(err)
	}
	k.size += int64(len(bytes))
	k.lastStored = uint64(len(bytes))
	k.entries = appendKeyEntry(k.entries, e)
	return nil
}

// finish begins to complete the segment's keyframe file, where it has one, and
// returns how many keyframes are in it. The file is whole once wait returns.
func (k *keyframer) finish() (int, error) {
	if err := k.wait(); err != nil || k.file == nil {
		return 0, err
	}
	k.behind(k.complete)
	return len(k.entries) / keyEntrySize, nil
}

func (k *keyframer) complete() error {
	f := k.file
	k.file = nil
	tail := make([]byte, keyHeaderSize)
	putKeyHeader(tail, k.id, k.number, k.first, k.size, k.entries)
	_, err := f.WriteAt(k.entries, k.size)
	if err == nil {
		_, err = f.WriteAt(tail, 0)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return k.failed(err)
	}
	if err := k.fs.Rename(k.temporary(), k.dir+"/"+keyName(k.number)); err != nil {
		return k.failed(err)
	}
	return nil
}

// headed reports whether the segment that was finished last begins with a
// keyframe; first is its first block.
func (k *keyframer) headed(first int) bool {
	if k.first != first || len(k.entries) == 0 {
		return false
	}
	e, _ := parseKeyEntry(k.entries)
	return e.block == first
}

// abort lets go of a file that will not be completed.
func (k *keyframer) abort() {
	_ = k.wait()
	if k.file != nil {
		_ = k.file.Close()
		_ = k.fs.Remove(k.temporary()) // of no use without its segment's end
		k.file = nil
	}
}

// resume takes over how things stand before a block of a tape: the last records,
// and how far back the last keyframe lies. It reports whether that is known: of
// a tape that is damaged there it is not, and no keyframes are taken then.
func (k *keyframer) resume(t *Tape, block int) (bool, error) {
	if k.interval == 0 {
		return false, nil
	}
	last, err := t.LastBefore(context.Background(), Position{Block: block}, nil)
	var damage *CorruptError
	if err != nil && !errors.As(err, &damage) {
		return false, err
	}
	if err == nil {
		for last.Next() {
			k.live.seedLast(last.Record(), last.list[last.i-1].place)
		}
	}
	_, reason := t.headKeyframe()
	if err != nil || reason != "" || last.Len() != len(k.live.list) {
		k.interval = 0
		k.live.forget()
		return false, nil
	}
	for n := max(last.stats.Keyframe, 0); n < block; n++ {
		b := t.Block(n)
		k.add(&b)
	}
	k.lastStored = uint64(last.stats.KeyframeBytes)
	k.upTo = t.greatest(block)
	return true, nil
}

// greatest returns the greatest times before a block, by clock, with those of
// segments that were removed.
func (t *Tape) greatest(block int) (upTo [len(clockNames)]wire.Nanos) {
	for c := range upTo {
		upTo[c] = wire.NanosMin
	}
	if head, _ := t.headKeyframe(); head != nil {
		upTo = head.upTo
	}
	for n := range block {
		s := t.segmentOf(n)
		for c := range upTo {
			upTo[c] = max(upTo[c], s.index.span(n-s.index.first, Clock(c)).Max)
		}
	}
	return upTo
}

// headKeyframe returns the keyframe that stands for segments that were removed,
// or why there is none; of a tape that has all its segments neither.
func (t *Tape) headKeyframe() (*keyEntry, string) {
	if t.base == 0 || len(t.segments) == 0 {
		return nil, ""
	}
	list, reason := t.keyframes(t.segments[0])
	if len(list) > 0 && list[0].block == 0 {
		return &list[0], ""
	}
	if reason == "" {
		reason = "keyframe of what was removed is missing"
	}
	return nil, reason
}
