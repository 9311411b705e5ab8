package tape

import (
	"encoding/binary"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

const memDir = "t.tape"

// memTape makes a closed tape in memory.
func memTape(t testing.TB, codec Codec, shards, records int) *fsys.Mem {
	t.Helper()
	disk := fsys.NewMem()
	w, err := Create(memDir, Config{Shards: shards, Codec: codec, BlockSize: 600, SegmentSize: SegmentSizeMin,
		SyncInterval: -1, Generator: "test", ID: ID{1, 2, 3}, Created: 1, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	write(t, w, newGenerated(shards, 3), records)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

func load(t testing.TB, disk fsys.FS, name string) []byte {
	t.Helper()
	data, err := fsys.ReadFile(disk, memDir+"/"+name, 1<<30)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func store(t testing.TB, disk fsys.FS, name string, data []byte) {
	t.Helper()
	if err := fsys.WriteFile(disk, memDir, name, data); err != nil {
		t.Fatal(err)
	}
}

// sealHeaders recomputes the checksums of a segment that was changed, as a
// writer with a bug, or somebody with intent, would have them.
func sealHeaders(seg []byte) {
	if len(seg) >= SegmentHeaderSize {
		h := seg[:SegmentHeaderSize]
		binary.LittleEndian.PutUint32(h[segCRCOff:], crcWithout(h, segCRCOff))
	}
	for at := SegmentHeaderSize; at+BlockHeaderSize <= len(seg); at += blockAlign {
		h := seg[at:][:BlockHeaderSize]
		if string(h[:4]) != blockMagic {
			continue
		}
		size := int(binary.LittleEndian.Uint32(h[blkStoredSizeOff:]))
		if rest := seg[at+BlockHeaderSize:]; size <= len(rest) {
			crc := checksum(rest[:size])
			binary.LittleEndian.PutUint32(h[blkStoredCRCOff:], crc)
			if Codec(h[blkCodecOff]) == CodecPlain {
				binary.LittleEndian.PutUint32(h[blkRawCRCOff:], crc)
			}
		}
		binary.LittleEndian.PutUint32(h[blkHeaderCRCOff:], crcWithout(h, blkHeaderCRCOff))
	}
}
