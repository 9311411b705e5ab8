package wire

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
)

// field is one row of an offset table in docs/WIRE.md.
type field struct {
	name    string
	typ     string
	got     int // the offset in this package
	off     int // the offset in the format, for ever
	size    int
	pattern uint64 // the value that TestLayoutBytes writes
}

var headerFields = []field{
	{"signature", "bytes", 0, 0, 4, 0x4b445054},
	{"version", "u8", hdrVersionOff, 4, 1, 1},
	{"header size", "u8", hdrSizeOff, 5, 1, 80},
	{"flags", "u16", hdrFlagsOff, 6, 2, 0x0008},
	{"shard", "u16", hdrShardOff, 8, 2, 0x1112},
	{"shards", "u16", hdrShardsOff, 10, 2, 0x2122},
	{"count", "u32", hdrCountOff, 12, 4, 0x31323334},
	{"epoch", "u64", hdrEpochOff, 16, 8, 0x4142434445464748},
	{"first sequence", "u64", hdrFirstSeqOff, 24, 8, 0x5152535455565758},
	{"first ordinal", "u64", hdrFirstOrdinalOff, 32, 8, 0x6162636465666768},
	{"send time", "i64", hdrSendOff, 40, 8, 0x7172737475767778},
	{"due time", "i64", hdrDueOff, 48, 8, 0x8182838485868788},
	{"payload size", "u32", hdrPayloadSizeOff, 56, 4, 0x91929394},
	{"order size", "u32", hdrOrderSizeOff, 60, 4, 0xa1a2a3a4},
	{"checksum", "u32", hdrCRCOff, 64, 4, 0xb1b2b3b4},
	{"zero", "u32", hdrZeroOff, 68, 4, 0},
	{"hash", "u64", hdrHashOff, 72, 8, 0xc1c2c3c4c5c6c7c8},
}

var recordFields = []field{
	{"topic length", "u8", recLengthsOff, 0, 1, 2},
	{"body length", "u24", recLengthsOff + 1, 1, 3, 3},
	{"kind", "u8", recKindOff, 4, 1, 0x91},
	{"flags", "u8", recFlagsOff, 5, 1, 0x07},
	{"time difference", "i48", recDeltaOff, 6, 6, 0xa1a2a3a4a5a6},
	{"topic sequence", "u32", recTopicSeqOff, 12, 4, 0xb1b2b3b4},
	{"event time", "i64", recEventOff, 16, 8, 0xc1c2c3c4c5c6c7c8},
}

// TestLayout pins the offsets: they are the wire format.
func TestLayout(t *testing.T) {
	for name, table := range map[string][]field{"header": headerFields, "record": recordFields} {
		end := 0
		for _, f := range table {
			if f.got != f.off || f.off != end {
				t.Errorf("%s: %s is at %d, want %d, after %d", name, f.name, f.got, f.off, end)
			}
			end = f.off + f.size
		}
		if want := map[string]int{"header": HeaderSize, "record": RecordHeadSize}[name]; end != want {
			t.Errorf("%s ends at %d, want %d", name, end, want)
		}
	}
	if HeaderSize != 80 || RecordHeadSize != 24 || Version != 1 || Signature != "TPDK" {
		t.Error("a size, the version or the signature has changed")
	}
	flags := []int{int(FlagEnd), int(FlagHeartbeat), int(FlagHello), int(FlagSnapshotBatch), int(FlagEarly),
		int(FlagReference), int(FlagCopy), int(FlagNotice),
		int(FlagNoEventTime), int(FlagNoReceiveTime), int(FlagSnapshot), int(FlagWide)}
	for i, want := range []int{1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 128} {
		if flags[i] != want {
			t.Errorf("flag %d of the list has value %d, want %d", i, flags[i], want)
		}
	}
}

// layoutBytes writes the patterns of a table where the format wants them.
func layoutBytes(table []field) []byte {
	var b []byte
	for _, f := range table {
		for i := range f.size {
			b = append(b, byte(f.pattern>>(8*i)))
		}
	}
	return b
}

// TestLayoutBytes compares the encoders with bytes that were put together from
// the tables alone.
func TestLayoutBytes(t *testing.T) {
	h := Header{
		Flags: FlagSnapshotBatch, Shard: 0x1112, Shards: 0x2122, Count: 0x31323334,
		Epoch: 0x4142434445464748, FirstSeq: 0x5152535455565758, FirstOrdinal: 0x6162636465666768,
		Send: 0x7172737475767778, Due: -0x7e7d7c7b7a797878, PayloadSize: 0x91929394,
		OrderSize: 0xa1a2a3a4, CRC: 0xb1b2b3b4, Hash: 0xc1c2c3c4c5c6c7c8,
	}
	if got, want := AppendHeader(nil, &h), layoutBytes(headerFields); !bytes.Equal(got, want) {
		t.Errorf("header\n got %x\nwant %x", got, want)
	}
	event := Nanos(-0x3e3d3c3b3a393838)
	f := Fields{
		Topic: []byte("tt"), Body: []byte("bbb"), Kind: 0x91, Flags: 0x07, TopicSeq: 0xb1b2b3b4,
		Event: event, Receive: event - 0x5e5d5c5b5a5a, // 0xa1a2a3a4a5a6 as 48-bit two's complement
	}
	got, err := AppendRecord(nil, &f)
	want := append(layoutBytes(recordFields), "ttbbb"...)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("record (%v)\n got %x\nwant %x", err, got, want)
	}
}

// TestDocTables holds docs/WIRE.md to the tables.
func TestDocTables(t *testing.T) {
	doc, err := os.ReadFile("../docs/WIRE.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range [][]field{headerFields, recordFields} {
		for _, f := range table {
			row := fmt.Sprintf("| %d | %d | %s | %s |", f.off, f.size, f.typ, f.name)
			if !strings.Contains(string(doc), row) {
				t.Errorf("docs/WIRE.md has no row %q", row)
			}
		}
	}
}
