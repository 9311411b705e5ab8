package tape

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// damage is one row of the corruption table: what is done to a closed plain
// tape of one shard, and what Verify must say. Header fields are changed with
// the checksums made to fit, as a writer with a bug would have them; the flip
// test has the rest.
type damage struct {
	name   string
	file   string
	change func(b []byte) []byte
	reason string // part of a problem's reason; "" where Verify must find nothing
	opens  bool   // Open still works
}

// field returns a change of the n-th block header's field at off.
func field(off int, set func(h []byte)) func(b []byte) []byte {
	return func(b []byte) []byte {
		set(b[SegmentHeaderSize:][:BlockHeaderSize][off:])
		sealHeaders(b)
		return b
	}
}

func add32(h []byte) { binary.LittleEndian.PutUint32(h, binary.LittleEndian.Uint32(h)+1) }
func add64(h []byte) { binary.LittleEndian.PutUint64(h, binary.LittleEndian.Uint64(h)+1) }
func one(h []byte)   { h[0]++ }
func high(h []byte)  { h[7] = 0x7f }

// cut takes the last n bytes away.
func cut(n int) func(b []byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }

// secondBlock is the offset of the second block.
func secondBlock(b []byte) int {
	info := loadBlockInfo(b[SegmentHeaderSize:])
	info.Offset = SegmentHeaderSize
	return int(info.end())
}

// blockDamages are changes of a block.
func blockDamages() []damage {
	seg := segmentName(0)
	return []damage{
		{"block magic", seg, func(b []byte) []byte { b[SegmentHeaderSize]++; return b }, reasonMagic, true},
		{"block version", seg, field(blkVersionOff, one), reasonBlockVersion, true},
		{"block codec", seg, field(blkCodecOff, func(h []byte) { h[0] = 77 }), reasonCodec, true},
		{"block codec, another", seg, field(blkCodecOff, func(h []byte) { h[0] = byte(CodecZstd) }), reasonDecode, true},
		{"block codec, columns", seg, field(blkCodecOff, func(h []byte) { h[0] = byte(CodecColumns) }), reasonDecode, true},
		{"block flags", seg, field(blkFlagsOff, func(h []byte) { h[1] = 0x80 }), reasonReserved, true},
		{"block stored size", seg, field(blkStoredSizeOff, add32), reasonSizes, true},
		{"block stored size, huge", seg, field(blkStoredSizeOff, func(h []byte) { h[3] = 0xff }), reasonSizes, true},
		{"block payload size", seg, field(blkPayloadSizeOff, add32), reasonSizes, true},
		{"block order size", seg, field(blkOrderSizeOff, add32), reasonSizes, true},
		{"block epoch", seg, field(blkEpochOff, add64), "index differs", true},
		{"block epoch zero", seg, field(blkEpochOff, func(h []byte) { clear(h[:8]) }), reasonEpoch, true},
		{"block first sequence", seg, field(blkFirstSeqOff, add64), "sequences go back", true},
		{"block first ordinal", seg, field(blkFirstOrdinalOff, add64), reasonOrdinals, true},
		{"block last ordinal", seg, field(blkLastOrdinalOff, add64), "last ordinal differs", true},
		{"block count", seg, field(blkCountOff, add32), reasonOrdinals, true},
		{"block count zero", seg, field(blkCountOff, func(h []byte) { clear(h[:4]) }), reasonCount, true},
		{"block shard", seg, field(blkShardOff, one), "shard is outside", true},
		{"block reserved", seg, field(blkZeroOff, one), reasonReserved, true},
		{"block least event time", seg, field(blkEventOff, add64), "time range differs", true},
		{"block greatest event time", seg, field(blkEventOff+8, add64), "time range differs", true},
		{"block least receive time", seg, field(blkReceiveOff, high), reasonTimes, true},
		{"block greatest receive time", seg, field(blkReceiveOff+8, add64), "time range differs", true},
		{"block send time", seg, field(blkSendOff+8, add64), "time range differs", true},
		{"block chain hash", seg, field(blkChainOff, one), "chain hash differs", true},
		{"block synced", seg, field(blkSyncedOff, add64), "index differs", true},
		{"record inside", seg, func(b []byte) []byte {
			b[SegmentHeaderSize+BlockHeaderSize+40]++
			sealHeaders(b)
			return b
		}, "chain hash differs", true},
		{"record head inside", seg, func(b []byte) []byte {
			b[SegmentHeaderSize+BlockHeaderSize] = 0
			sealHeaders(b)
			return b
		}, "empty topic", true},
	}
}

// fileDamages are changes of a file as a whole, or of what ties files together.
func fileDamages() []damage {
	seg, idx := segmentName(0), indexName(0)
	return []damage{
		{"segment cut by a byte", seg, cut(1), reasonStoredCut, false},
		{"segment cut to its header", seg, func(b []byte) []byte { return b[:SegmentHeaderSize] }, "shorter than its index", false},
		{"segment empty", seg, func(b []byte) []byte { return nil }, "cut off", false},
		{"segment longer", seg, func(b []byte) []byte { return append(b, 0, 0, 0, 0, 0, 0, 0, 0) }, reasonHeaderCut, false},
		{"segment longer by junk", seg, func(b []byte) []byte { return append(b, make([]byte, 800)...) }, reasonMagic, false},
		{"segment of another number", seg, func(b []byte) []byte { b[segNumberOff]++; sealHeaders(b); return b }, "another number", true},
		{"segment of another tape", seg, func(b []byte) []byte { b[segIDOff]++; sealHeaders(b); return b }, "another tape", true},
		{"segment version", seg, func(b []byte) []byte { b[segVersionOff]++; sealHeaders(b); return b }, "unknown segment version", true},
		{"segment first block", seg, func(b []byte) []byte { b[segFirstOff]++; sealHeaders(b); return b }, "block numbers do not follow", true},
		{"block removed", seg, func(b []byte) []byte {
			at := secondBlock(b)
			return append(b[:SegmentHeaderSize:SegmentHeaderSize], b[at:]...)
		}, "chain hash differs", false},
		{"blocks swapped", seg, func(b []byte) []byte {
			first := b[SegmentHeaderSize:secondBlock(b)]
			info := loadBlockInfo(b[secondBlock(b):])
			info.Offset = int64(secondBlock(b))
			second := b[secondBlock(b):info.end()]
			out := append([]byte(nil), b[:SegmentHeaderSize]...)
			out = append(append(out, second...), first...)
			return append(out, b[info.end():]...)
		}, "chain hash differs", true},
		{"index cut", idx, cut(1), "index checksum differs", true},
		{"index empty", idx, func(b []byte) []byte { return nil }, "index is cut off", true},
		{"topics cut", topicsName, cut(1), "topics checksum differs", true},
		{"topics of other records", topicsName, func(b []byte) []byte {
			list, _ := parseTopics(b, ID{1, 2, 3})
			list[0].Records++
			return encodeTopics(ID{1, 2, 3}, list)
		}, "topics differ", true},
		{"manifest cut", manifestName, cut(1), "does not end in the checksum", false},
		{"manifest text", manifestName, func(b []byte) []byte { return []byte(strings.Replace(string(b), "test", "tess", 1)) }, "checksum differs", false},
		{"manifest totals", manifestName, func(b []byte) []byte {
			return fitChecksum([]byte(strings.Replace(string(b), `"records": 60`, `"records": 61`, 1)))
		}, "totals or digest differ", true},
		{"manifest digest", manifestName, func(b []byte) []byte {
			at := strings.Index(string(b), `"digest": "`) + len(`"digest": "`)
			b[at] = b[at]%2 + '0'
			b[at+1] = '0'
			b[at+2] = '0'
			return fitChecksum(b)
		}, "totals or digest differ", true},
		{"nothing", seg, func(b []byte) []byte { return b }, "", true},
	}
}

func TestCorruptionTable(t *testing.T) {
	for _, d := range slices.Concat(blockDamages(), fileDamages()) {
		t.Run(d.name, func(t *testing.T) {
			disk := memTape(t, CodecPlain, 1, 60)
			store(t, disk, d.file, d.change(load(t, disk, d.file)))
			r, err := VerifyFS(context.Background(), disk, memDir, nil)
			if err != nil {
				t.Fatal(err)
			}
			if d.reason == "" && !r.OK() || d.reason != "" && !hasReason(&r, d.reason) {
				t.Errorf("want %q, have %+v", d.reason, r.Problems)
			}
			readAll(disk)
			tp, err := OpenFS(disk, memDir)
			if (err == nil) != d.opens {
				t.Errorf("open: %v", err)
			}
			if err == nil {
				tp.Close()
			}
			var corrupt *CorruptError
			if err != nil && !errors.As(err, &corrupt) {
				t.Errorf("open: %v is no *CorruptError", err)
			}
		})
	}
}

func hasReason(r *Report, reason string) bool {
	for _, p := range r.Problems {
		if strings.Contains(p.Reason, reason) && p.File != "" && p.Affected != "" {
			return true
		}
	}
	return false
}

func TestMissingAndStrayFiles(t *testing.T) {
	disk := memTape(t, CodecPlain, 1, 60)
	for _, name := range []string{segmentName(7), "notes.txt", "00000000.seg.torn-99"} {
		store(t, disk, name, []byte("x"))
	}
	if err := disk.Remove(memDir + "/" + indexName(0)); err != nil {
		t.Fatal(err)
	}
	r, err := VerifyFS(context.Background(), disk, memDir, nil)
	if err != nil || !hasReason(&r, "not in the manifest") || len(r.Problems) != 1 || len(r.Warnings) != 3 {
		t.Errorf("%+v, %v", r, err)
	}
	tp, err := OpenFS(disk, memDir)
	if err != nil || len(tp.Recovered().Rebuilt) != 1 {
		t.Fatalf("index was not rebuilt: %v", err)
	}
	tp.Close()
	// Recover puts it back.
	if report, err := RecoverFS(disk, memDir); err != nil || len(report.Indexes) != 1 || !report.WasClosed {
		t.Errorf("%+v, %v", report, err)
	}
	if err := disk.Remove(memDir + "/" + segmentName(0)); err != nil {
		t.Fatal(err)
	}
	if r, err = VerifyFS(context.Background(), disk, memDir, nil); err != nil || !hasReason(&r, "segment is missing") {
		t.Errorf("%+v, %v", r, err)
	}
}

// In an unclosed segment, a bad block before one that was written after it had
// been synced is damage: reported, and nothing is cut.
func TestDamageInUnclosedTapeIsNotCut(t *testing.T) {
	disk := fsys.NewMem()
	w, err := Create(memDir, Config{Codec: CodecPlain, BlockSize: 600, FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	g := newGenerated(1, 1)
	for range 3 {
		write(t, w, g, 20)
		if err := w.Sync(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	whole := load(t, disk, segmentName(0))
	damaged := append([]byte(nil), whole...)
	damaged[SegmentHeaderSize+BlockHeaderSize+10]++
	store(t, disk, segmentName(0), damaged)
	var corrupt *CorruptError
	if _, err := RecoverFS(disk, memDir); !errors.As(err, &corrupt) || corrupt.Offset != SegmentHeaderSize {
		t.Errorf("recover: %v", err)
	}
	if string(load(t, disk, segmentName(0))) != string(damaged) {
		t.Error("recover changed a damaged segment")
	}
	r, err := VerifyFS(context.Background(), disk, memDir, nil)
	if err != nil || len(r.Problems) != 1 || r.Torn != nil || r.Problems[0].Block == nil {
		t.Errorf("%+v, %v", r, err)
	}
	// The same byte in the last block is the tail of a writer that died.
	last := len(whole)
	for last > 0 && whole[last-1] == 0 {
		last--
	}
	torn := append([]byte(nil), whole...)
	torn[last-1]++
	store(t, disk, segmentName(0), torn)
	if r, err = VerifyFS(context.Background(), disk, memDir, nil); err != nil || !r.OK() || r.Torn == nil {
		t.Errorf("%+v, %v", r, err)
	}
	report, err := RecoverFS(disk, memDir)
	if err != nil || report.Torn == nil || report.Kept == "" {
		t.Fatalf("%+v, %v", report, err)
	}
	at := report.Torn.Offset
	if got := load(t, disk, report.Kept); string(got) != string(torn[at:at+report.Torn.Bytes]) {
		t.Error("what was cut is not what was kept")
	}
}

// A damaged block gives an error with its place, and reading goes on behind it.
func TestReadingGoesOnBehindDamage(t *testing.T) {
	for _, codec := range codecs {
		disk := memTape(t, codec, 1, 60)
		seg := load(t, disk, segmentName(0))
		seg[secondBlock(seg)+BlockHeaderSize+20]++
		store(t, disk, segmentName(0), seg)
		tp, err := OpenFS(disk, memDir)
		if err != nil {
			t.Fatal(err)
		}
		r := tp.Reader(ReadConfig{})
		blocks, damaged := 0, 0
		for {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			var corrupt *CorruptError
			switch {
			case errors.As(err, &corrupt):
				damaged++
				if corrupt.File != segmentName(0) || corrupt.Offset != int64(secondBlock(seg)) {
					t.Errorf("%v: damage is at %v", codec, corrupt)
				}
			case err != nil:
				t.Fatal(err)
			default:
				blocks++
				if reason := b.Info.checkRecords(append(append([]byte(nil), b.Payload...), b.Order...)); reason != "" {
					t.Errorf("%v: block %d: %s", codec, b.Info.Number, reason)
				}
			}
		}
		if damaged != 1 || blocks != tp.Blocks()-1 {
			t.Errorf("%v: %d damaged, %d whole of %d blocks", codec, damaged, blocks, tp.Blocks())
		}
		tp.Close()
	}
}
