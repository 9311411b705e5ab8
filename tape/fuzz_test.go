package tape

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// readEverything opens and reads a damaged tape in every way. Only panics and
// unbounded work count.
func readEverything(t *testing.T, disk fsys.FS) {
	tp, err := OpenFS(disk, memDir)
	if err != nil {
		return
	}
	defer tp.Close()
	_, _ = tp.Info()
	_, _ = tp.Topics()
	for n := range tp.Blocks() {
		b := tp.Block(n)
		_, _ = tp.Find(ClockEvent, b.Event.Max)
		_, _ = tp.FindSeq(b.Epoch, int(b.Shard), b.Next()-1)
	}
	r := tp.Reader(ReadConfig{Clock: ClockSend, From: 1})
	for {
		if _, err := r.Next(); err == io.EOF {
			break
		}
	}
	r.Close()
	rec := tp.Records(ReadConfig{})
	for rec.Next() {
		_ = rec.At()
	}
	rec.Close()
	if _, err := VerifyFS(context.Background(), disk, memDir, nil); err != nil {
		t.Fatalf("verify could not look: %v", err)
	}
}

// FuzzSegment reads segments of any content, with checksums as they come and
// with checksums made to fit. Recover must leave a tape that opens and has what
// could be read before.
func FuzzSegment(f *testing.F) {
	for _, codec := range codecs {
		f.Add(load(f, memTape(f, codec, 2, 12), segmentName(0)), true)
	}
	f.Fuzz(func(t *testing.T, seg []byte, seal bool) {
		if seal {
			sealHeaders(seg)
		}
		disk := fsys.NewMem()
		if err := disk.Mkdir(memDir); err != nil {
			t.Fatal(err)
		}
		m := manifest{Version: 1, ID: ID{1, 2, 3}, Shards: 2, Codec: CodecS2}
		if err := writeManifest(disk, memDir, &m); err != nil {
			t.Fatal(err)
		}
		store(t, disk, segmentName(0), seg)
		readEverything(t, disk)
		before, err := OpenFS(disk, memDir)
		if err != nil {
			return
		}
		blocks := before.Blocks()
		before.Close()
		if _, err := RecoverFS(disk, memDir); err != nil {
			return
		}
		after, err := OpenFS(disk, memDir)
		if err != nil || after.Blocks() != blocks || after.Recovered().Unclosed {
			t.Fatalf("recovered tape: %v", err)
		}
		after.Close()
	})
}

func FuzzIndex(f *testing.F) {
	f.Add(load(f, memTape(f, CodecPlain, 2, 40), indexName(0)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= indexHeaderSize {
			for at := indexHeaderSize; at+indexEntrySize <= len(b); at += indexEntrySize {
				h := b[at+8:][:BlockHeaderSize]
				binary.LittleEndian.PutUint32(h[blkHeaderCRCOff:], crcWithout(h, blkHeaderCRCOff))
			}
			binary.LittleEndian.PutUint32(b[idxCRCOff:], crcWithout(b, idxCRCOff))
		}
		x, reason := parseIndex(b, ID{1, 2, 3}, 0)
		if reason == "" && !bytes.Equal(encodeIndex(ID{1, 2, 3}, 0, &x), b) {
			t.Fatal("an accepted index encodes differently")
		}
	})
}

func FuzzTopics(f *testing.F) {
	f.Add(load(f, memTape(f, CodecPlain, 2, 40), topicsName))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= topicsHeaderSize {
			binary.LittleEndian.PutUint32(b[topCRCOff:], crcWithout(b, topCRCOff))
		}
		list, reason := parseTopics(b, ID{1, 2, 3})
		if reason == "" && !bytes.Equal(encodeTopics(ID{1, 2, 3}, list), b) {
			t.Fatal("an accepted topics file encodes differently")
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(load(f, memTape(f, CodecPlain, 2, 40), manifestName))
	m := manifest{Version: 1, Shards: 1, Codec: CodecZstd, Encodings: []Encoding{{Format: "dbn", Detail: map[string]string{"version": "3"}}}, Sources: []string{`"checksum": "`}}
	b, err := m.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parseManifest(fitChecksum(b))
		if err != nil {
			return
		}
		again, err := m.encode()
		if err != nil {
			t.Fatal(err)
		}
		if m2, err := parseManifest(again); err != nil {
			t.Fatalf("an accepted manifest does not come back: %v", err)
		} else if third, err := m2.encode(); err != nil || !bytes.Equal(third, again) {
			t.Fatalf("an accepted manifest is not stable: %v", err)
		}
	})
}

// fitChecksum gives manifest text the checksum that belongs to it.
func fitChecksum(b []byte) []byte {
	at := len(b) - len(sealedTail) - len(checksumZero)
	if at < 0 {
		return b
	}
	b = bytes.Clone(b)
	copy(b[at:], checksumZero)
	copy(b[at:], []byte(hex32(checksum(b))))
	return b
}

func hex32(v uint32) string {
	const digits = "0123456789abcdef"
	var out [8]byte
	for i := range out {
		out[i] = digits[v>>(28-4*i)&15]
	}
	return string(out[:])
}

// FuzzCutBatch: whatever bytes are cut, nothing panics; a batch that is whole is
// the same again when its parts are put together.
func FuzzCutBatch(f *testing.F) {
	rec, err := wire.AppendRecord(nil, &wire.Fields{Topic: []byte("T"), Body: []byte("body")})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(append([]byte{}, rec...), rec...), []byte{5}, uint32(2), uint16(30), uint8(1))
	f.Add(rec, []byte{}, uint32(1), uint16(0), uint8(0))
	f.Add([]byte("no record"), []byte{0x80}, uint32(9), uint16(1), uint8(3))
	f.Fuzz(func(t *testing.T, payload, order []byte, count uint32, most uint16, from uint8) {
		if count == 0 {
			return
		}
		b := wire.Batch{Header: wire.Header{Epoch: 1, Shards: 1, FirstSeq: 100, FirstOrdinal: 7, Count: count,
			PayloadSize: uint32(len(payload)), OrderSize: uint32(len(order))}, Payload: payload, Order: order}
		whole := b.Check() == nil && b.PayloadSize >= count*(wire.RecordHeadSize+1)
		var ordinals []wire.Ordinal
		for o, w := b.Ordinals(), b.Records(); w.Next(); {
			ordinals = append(ordinals, o.Next())
		}
		var hint cutPoint
		joined := []byte{}
		for seq := b.FirstSeq + wire.Seq(uint32(from)%count); seq < b.Next(); {
			part, err := cutBatch(&b, seq, b.Next(), int(most), false, &hint)
			if err != nil {
				if whole {
					t.Fatal(err)
				}
				return
			}
			if part.FirstSeq != seq || part.Next() <= seq {
				t.Fatalf("%+v", part.Header)
			}
			if whole {
				if _, err := wire.ParseBatch(wire.AppendHeader(nil, &part.Header), part.Payload, part.Order); err != nil {
					t.Fatal(err)
				}
				for o, w := part.Ordinals(), part.Records(); w.Next(); {
					if o.Next() != ordinals[w.Seq()-b.FirstSeq] {
						t.Fatal("an ordinal changed")
					}
				}
			}
			joined = append(joined, part.Payload...)
			seq = part.Next()
		}
		if whole && !bytes.HasSuffix(payload, joined) {
			t.Fatal("bytes changed")
		}
	})
}
