package dbn

import (
	"encoding/binary"
	"math"

	"github.com/tapedeck/tapedeck/wire"
)

// The record head ("RecordHeader" in the DBN specification), little-endian:
//
//	0   u8   length of the whole record in 32-bit words, ts_out included
//	1   u8   rtype
//	2   u16  publisher id
//	4   u32  instrument id
//	8   u64  ts_event, ns; 2^64-1 where undefined
const (
	lengthOff     = 0
	rtypeOff      = 1
	publisherOff  = 2
	instrumentOff = 4
	eventOff      = 8
	headSize      = 16

	wordSize      = 4              // unit of the length byte, bytes
	recordSizeMax = 255 * wordSize // the longest record that a length byte can say
	tsOutSize     = 8              // ts_out behind a record, where the stream has it
	undefinedTime = math.MaxUint64 // UNDEF_TIMESTAMP
	flagSnapshot  = 1 << 5         // F_SNAPSHOT of the flags field
)

// The rtypes. Each also names the schema that it is the record of, but 0x01,
// which is the record of mbp-1 and of tbbo.
const (
	rtypeMBP0       = 0x00
	rtypeMBP1       = 0x01
	rtypeMBP10      = 0x0a
	rtypeOHLCV      = 0x11 // deprecated, without a stated interval
	rtypeStatus     = 0x12
	rtypeDefinition = 0x13
	rtypeImbalance  = 0x14
	rtypeError      = 0x15
	rtypeMapping    = 0x16
	rtypeSystem     = 0x17
	rtypeStatistics = 0x18
	rtypeOHLCV1s    = 0x20
	rtypeOHLCV1m    = 0x21
	rtypeOHLCV1h    = 0x22
	rtypeOHLCV1d    = 0x23
	rtypeOHLCVEOD   = 0x24
	rtypeMBO        = 0xa0
	rtypeCMBP1      = 0xb1
	rtypeCBBO1s     = 0xc0
	rtypeCBBO1m     = 0xc1
	rtypeTCBBO      = 0xc2
	rtypeBBO1s      = 0xc3
	rtypeBBO1m      = 0xc4
)

// layout is one record kind of one or more versions: its size without ts_out,
// and where its fields lie.
type layout struct {
	name      string // the rtype as Databento writes it
	fields    []field
	size      int // bytes
	recvOff   int // of ts_recv, 0 where the kind has none
	flagsOff  int // of the flags, 0 where the kind has none
	symbolOff int // of raw_symbol, 0 where the kind has none
	symbolLen int
	rtype     uint8
	kind      wire.Kind
}

// newLayout lays fields out one behind the other after the record head, as all
// DBN records are: no field is preceded by implicit padding.
func newLayout(rtype uint8, name string, kind wire.Kind, fields []field) *layout {
	l := &layout{name: name, rtype: rtype, kind: kind}
	off := headSize
	for _, f := range fields {
		f.off = off
		off += f.size
		switch f.name {
		case "":
			continue // reserved
		case "ts_recv":
			l.recvOff = f.off
		case "flags":
			l.flagsOff = f.off
		case "raw_symbol":
			l.symbolOff, l.symbolLen = f.off, f.size
		}
		l.fields = append(l.fields, f)
	}
	l.size = off
	return l
}

// opaque stands for the rtypes that this package does not know: they are carried
// with what the record head says.
var opaque = &layout{kind: wire.KindData}

// layouts holds the layouts of each rtype, the newest first. Every length is
// accepted in every version: live gateways are known to send records of an
// older layout into a newer file, and no two lengths of an rtype lie 8 bytes
// apart, so the length alone says which layout it is and whether ts_out follows.
var layouts = func() (t [256][]*layout) {
	for _, l := range allLayouts() {
		t[l.rtype] = append(t[l.rtype], l)
	}
	return t
}()

// findLayout returns the layout of a record by its rtype and its whole size in
// bytes, and whether ts_out follows. It returns opaque for an unknown rtype and
// nil where the size is none that the rtype has.
func findLayout(rtype uint8, size int) (l *layout, tsOut bool) {
	known := layouts[rtype]
	if len(known) == 0 {
		return opaque, false
	}
	for _, l := range known {
		switch size {
		case l.size:
			return l, false
		case l.size + tsOutSize:
			return l, true
		}
	}
	return nil, false
}

// Times that a fragment's records may plausibly have: 1990 to 2100.
const (
	plausibleMin = 631_152_000_000_000_000
	plausibleMax = 4_102_444_800_000_000_000
)

// plausible reports whether b begins with the head of a record of a known kind,
// of a length that kind has, with believable times. Times beyond the end of b
// are not looked at.
func plausible(b []byte) bool {
	if len(b) < headSize {
		return false
	}
	l, _ := findLayout(b[rtypeOff], int(b[lengthOff])*wordSize)
	if l == nil || l == opaque {
		return false
	}
	event := binary.LittleEndian.Uint64(b[eventOff:])
	recv := event
	if l.recvOff != 0 && len(b) >= l.recvOff+8 {
		recv = binary.LittleEndian.Uint64(b[l.recvOff:])
	}
	if event == undefinedTime && recv == undefinedTime {
		return false
	}
	return believable(event) && believable(recv)
}

func believable(t uint64) bool {
	return t == undefinedTime || (t >= plausibleMin && t < plausibleMax)
}

// indexTime is the time that symbol mappings are looked up by, as the DBN
// specification has it: ts_recv where the kind has one, else ts_event.
func indexTime(event, recv uint64) uint64 {
	if recv != undefinedTime {
		return recv
	}
	return event
}
