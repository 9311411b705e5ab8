package tape

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// keyTape makes a tape in memory with keyframes in its only segment.
func keyTape(t testing.TB, codec Codec, records int) *fsys.Mem {
	t.Helper()
	disk := fsys.NewMem()
	w, err := Create(memDir, Config{Shards: 2, Codec: codec, BlockSize: 600, SegmentSize: SegmentSizeMin, SyncInterval: -1,
		KeyframeInterval: 700, ID: ID{1, 2, 3}, Created: 1, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	for i := range records {
		f := wire.Fields{Topic: fmt.Appendf(nil, "T%d", i%2), Body: []byte("0123456789 0123456789 0123456789"), Event: wire.Nanos(1000 + i), Receive: wire.Nanos(2000 + i)}
		if err := w.AppendFields(At{Shard: i % 2, Epoch: 7, Seq: wire.Seq(i / 2), Ordinal: wire.Ordinal(i)}, &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

func TestEveryFlippedByteOfKeyframesIsFound(t *testing.T) {
	for _, codec := range codecs {
		disk := keyTape(t, codec, 150)
		if keys := load(t, disk, keyName(0)); len(keys) < keyHeaderSize+2*keyEntrySize {
			t.Fatalf("%v: only %d bytes of keyframes", codec, len(keys))
		}
		for _, name := range []string{keyName(0), manifestName} {
			flipFile(t, disk, name)
		}
	}
}

// A keyframe file that is cut off, longer, or of another segment is found.
func TestDamagedKeyframeFiles(t *testing.T) {
	for what, change := range map[string]func([]byte) []byte{
		"cut":            func(b []byte) []byte { return b[:len(b)-1] },
		"cut to header":  func(b []byte) []byte { return b[:keyHeaderSize] },
		"empty":          func([]byte) []byte { return nil },
		"longer":         func(b []byte) []byte { return append(b, 0) },
		"one more entry": func(b []byte) []byte { return append(b, b[len(b)-keyEntrySize:]...) },
	} {
		disk := keyTape(t, CodecS2, 60)
		store(t, disk, keyName(0), change(load(t, disk, keyName(0))))
		r, err := VerifyFS(context.Background(), disk, memDir, nil)
		if err != nil || len(r.Problems) != 1 || r.Problems[0].File != keyName(0) {
			t.Errorf("%s: %+v, %v", what, r, err)
		}
		lastIsRight(t, disk, what, true)
		if rep, err := RecoverFS(disk, memDir); err != nil || len(rep.Keyframes) != 1 {
			t.Errorf("%s: %+v, %v", what, rep, err)
		}
		lastIsRight(t, disk, what+", repaired", false)
		if r, err := VerifyFS(context.Background(), disk, memDir, nil); err != nil || !r.OK() || len(r.Warnings) != 0 {
			t.Errorf("%s, repaired: %+v, %v", what, r, err)
		}
	}
}

// lastIsRight holds Last at every block against a scan, and whether it says that
// it had to do without a keyframe.
func lastIsRight(t *testing.T, disk fsys.FS, what string, passed bool) {
	t.Helper()
	tp, err := OpenFS(disk, memDir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	all := scanAll(t, tp)
	for n := range tp.Blocks() + 1 {
		l, err := tp.LastBefore(t.Context(), Position{Block: n}, nil)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if n == tp.Blocks() && (len(l.Stats().Passed) > 0) != passed {
			t.Errorf("%s: passed %+v", what, l.Stats().Passed)
		}
		l.stats.Passed = nil
		sameLast(t, what, l, nil, bruteLast(all, func(r *scannedRecord) bool { return r.info.Number < n }))
	}
}

func TestMissingKeyframeFile(t *testing.T) {
	disk := keyTape(t, CodecZstd, 60)
	if err := disk.Remove(memDir + "/" + keyName(0)); err != nil {
		t.Fatal(err)
	}
	r, err := VerifyFS(context.Background(), disk, memDir, nil)
	if err != nil || !r.OK() || len(r.Warnings) != 1 || r.Warnings[0].File != keyName(0) {
		t.Errorf("%+v, %v", r, err)
	}
	lastIsRight(t, disk, "missing", true)
	if rep, err := RecoverFS(disk, memDir); err != nil || len(rep.Keyframes) != 1 {
		t.Errorf("%+v, %v", rep, err)
	}
	lastIsRight(t, disk, "made anew", false)
}

// A keyframe that says something else than the records is found though all its
// checksums fit: one that was changed, and one in the wrong place.
func TestWrongKeyframeIsFound(t *testing.T) {
	disk := keyTape(t, CodecPlain, 60)
	whole := load(t, disk, keyName(0))
	h := whole[:keyHeaderSize]
	le := binary.LittleEndian
	at := int(le.Uint64(h[keyEntriesOff:]))
	seal := func(b []byte) {
		for e := b[at:]; len(e) > 0; e = e[keyEntrySize:] {
			entry, _ := parseKeyEntry(e)
			bytes := b[entry.offset:][:entry.storedSize]
			le.PutUint32(e[kfStoredCRCOff:], checksum(bytes))
			if entry.codec == CodecPlain {
				le.PutUint32(e[kfRawCRCOff:], checksum(bytes))
			}
		}
		le.PutUint32(b[keyCRCOff:], keyCRC(b, b[at:]))
	}
	count := (len(whole) - at) / keyEntrySize
	for name, change := range map[string]func(b []byte){
		"a record's body": func(b []byte) {
			i := strings.LastIndex(string(b[:at]), "0123456789")
			b[i] ^= 1
		},
		"a place":        func(b []byte) { b[at-1]++ },
		"block":          func(b []byte) { b[len(b)-keyEntrySize+kfBlockOff]-- },
		"greatest time":  func(b []byte) { b[len(b)-keyEntrySize+kfUpToOff]++ },
		"greatest send":  func(b []byte) { b[len(b)-keyEntrySize+kfUpToOff+16]++ },
		"not its number": func(b []byte) { b[keyNumberOff]++ },
	} {
		b := append([]byte(nil), whole...)
		last, _ := parseKeyEntry(b[len(b)-keyEntrySize:])
		if last.codec != CodecPlain && strings.HasPrefix(name, "a ") {
			// Compressed: make the last keyframe plain, so that it can be changed.
			raw, reason := decodeKeyframe(b[last.offset:][:last.storedSize], &last)
			if reason != "" {
				t.Fatal(reason)
			}
			b = replaceLast(b, at, &last, raw)
			at := len(b) - count*keyEntrySize
			old := at
			change = map[string]func([]byte){
				"a record's body": func(b []byte) { b[strings.LastIndex(string(b[:old]), "0123456789")] ^= 1 },
				"a place":         func(b []byte) { b[old-1]++ },
			}[name]
			change(b)
			for e := b[at:]; len(e) > 0; e = e[keyEntrySize:] {
				entry, _ := parseKeyEntry(e)
				if entry.codec == CodecPlain {
					crc := checksum(b[entry.offset:][:entry.storedSize])
					le.PutUint32(e[kfStoredCRCOff:], crc)
					le.PutUint32(e[kfRawCRCOff:], crc)
				}
			}
			le.PutUint32(b[keyCRCOff:], keyCRC(b, b[at:]))
		} else {
			change(b)
			seal(b)
		}
		store(t, disk, keyName(0), b)
		r, err := VerifyFS(context.Background(), disk, memDir, nil)
		if err != nil || len(r.Problems) == 0 || r.Problems[0].File != keyName(0) {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
}

// replaceLast puts a keyframe's bytes in plain form in place of the last one of
// a file.
func replaceLast(b []byte, at int, last *keyEntry, raw []byte) []byte {
	entries := append([]byte(nil), b[at:]...)
	out := append(append([]byte(nil), b[:last.offset]...), raw...)
	e := *last
	e.codec, e.storedSize, e.storedCRC = CodecPlain, uint32(len(raw)), e.rawCRC
	entries = appendKeyEntry(entries[:len(entries)-keyEntrySize], &e)
	binary.LittleEndian.PutUint64(out[keyEntriesOff:], uint64(len(out)))
	return append(out, entries...)
}

// The keyframe at the start of a segment is held against the segments before.
func TestWrongKeyframeOfASegmentStartIsFound(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a.tape")
	small(t, dir, CodecPlain, 4000)
	tp := open(t, dir)
	for _, s := range tp.segments {
		list, _ := tp.keyframes(s)
		if len(list) == 0 {
			continue
		}
		raw, reason := tp.loadKeyframe(&keyframe{keyEntry: list[0], segment: s})
		if reason != "" {
			t.Fatal(reason)
		}
		raw[wire.RecordHeadSize-1] ^= 1 // the first record's event time
		name := filepath.Join(dir, keyName(s.number))
		b, err := fsys.ReadFile(fsys.OS{}, name, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) != 1 {
			t.Fatalf("%d keyframes", len(list))
		}
		list[0].rawCRC = checksum(raw)
		b = replaceLast(b, len(b)-keyEntrySize, &list[0], raw)
		binary.LittleEndian.PutUint32(b[keyCRCOff:], keyCRC(b, b[len(b)-keyEntrySize:]))
		if err := fsys.WriteFile(fsys.OS{}, dir, keyName(s.number), b); err != nil {
			t.Fatal(err)
		}
		r := verify(t, dir)
		if len(r.Problems) == 0 || r.Problems[0].File != keyName(s.number) {
			t.Fatalf("%+v", r)
		}
		return
	}
	t.Fatal("no segment begins with a keyframe")
}

// Without room for keyframes the writer says so, and what was synced stays.
func TestKeyframesTakeABoundedPart(t *testing.T) {
	tp := mixedTape(t, Config{KeyframeInterval: 1, SyncInterval: -1}, 60_000, 2, true)
	keys, stored := int64(0), int64(0)
	for _, s := range tp.segments {
		stored += s.index.segmentSize
		if size, err := tp.sizeOf(keyName(s.number)); err == nil {
			keys += size
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if keys == 0 || keys > stored/8 {
		t.Errorf("%d bytes of keyframes to %d bytes of segments", keys, stored)
	}
}

func TestNoKeyframesWanted(t *testing.T) {
	disk := fsys.NewMem()
	w, err := Create(memDir, Config{Shards: 2, BlockSize: 600, SegmentSize: SegmentSizeMin, SyncInterval: -1, KeyframeInterval: -1, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, newGenerated(2, 3), 3000)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	entries, err := disk.List(memDir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if strings.Contains(e.Name, keySuffix) {
			t.Errorf("%s is there", e.Name)
		}
	}
	lastIsRight(t, disk, "no keyframes", false)
}

// FuzzKeyframes reads keyframe files of any content, with checksums made to fit.
func FuzzKeyframes(f *testing.F) {
	for _, codec := range codecs {
		f.Add(load(f, keyTape(f, codec, 60), keyName(0)), false)
		f.Add(load(f, keyTape(f, codec, 60), keyName(0)), true)
	}
	base := keyTape(f, CodecPlain, 60)
	f.Fuzz(func(t *testing.T, b []byte, plain bool) {
		fitKeyframes(b, plain)
		store(t, base, keyName(0), b)
		tp, err := OpenFS(base, memDir)
		if err != nil {
			t.Fatal(err)
		}
		defer tp.Close()
		for n := 0; n <= tp.Blocks(); n++ {
			if _, err := tp.LastBefore(t.Context(), Position{Block: n}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := VerifyFS(t.Context(), base, memDir, nil); err != nil {
			t.Fatal(err)
		}
	})
}

// fitKeyframes makes the checksums of a keyframe file fit as far as it has the
// shape of one.
func fitKeyframes(b []byte, plain bool) {
	le := binary.LittleEndian
	if len(b) < keyHeaderSize {
		return
	}
	at := le.Uint64(b[keyEntriesOff:])
	if at > uint64(len(b)) {
		return
	}
	for e := b[at:]; len(e) >= keyEntrySize; e = e[keyEntrySize:] {
		off, size := le.Uint64(e[kfOffsetOff:]), uint64(le.Uint32(e[kfStoredSizeOff:]))
		if off > uint64(len(b)) || size > uint64(len(b))-off {
			continue
		}
		stored := b[off:][:size]
		if plain {
			e[kfCodecOff] = byte(CodecPlain)
			le.PutUint32(e[kfRawCRCOff:], checksum(stored))
		}
		le.PutUint32(e[kfStoredCRCOff:], checksum(stored))
	}
	le.PutUint32(b[keyCRCOff:], keyCRC(b, b[at:]))
}

// The parts of a keyframe come back as they were.
func TestKeyEntryRoundTrip(t *testing.T) {
	e := keyEntry{block: 5, offset: 64, storedSize: 90, recordsSize: 100, placesSize: 20, topics: 2, storedCRC: 1, rawCRC: 2,
		codec: CodecS2, upTo: [len(clockNames)]wire.Nanos{-1, 2, 3}}
	b := appendKeyEntry(nil, &e)
	got, reason := parseKeyEntry(b)
	if len(b) != keyEntrySize || reason != "" || got != e {
		t.Errorf("%d bytes, %q: %+v", len(b), reason, got)
	}
	topics := []*liveTopic{
		{place: place{epoch: 9, seq: 1, ordinal: 1 << 60, shard: 1}}, {place: place{epoch: 1 << 63, seq: 1 << 62, ordinal: 3}},
		{place: place{epoch: 9, seq: 2, ordinal: 5, shard: 1}},
	}
	w := newPlaceWalk(appendPlaces(nil, topics), 3, 2)
	for i, topic := range topics {
		if p := w.next(); w.bad || p != topic.place {
			t.Errorf("place %d: %+v, want %+v", i, p, topic.place)
		}
	}
	if len(w.rest) != 0 {
		t.Errorf("%d bytes left", len(w.rest))
	}
}
