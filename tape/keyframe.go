package tape

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/wire"
)

// Keyframe file, little-endian: header, the keyframes' stored bytes one after
// the other, then one entry for each of them.
//
//	0   4    magic "TPKF"
//	4   u8   version, 1
//	5   u8   zero
//	6   u16  entry size, 72
//	8   u32  CRC32C of this header with this field zero, then the entries
//	12  u32  segment number
//	16  16   tape id
//	32  u64  number of keyframes
//	40  u64  offset of the entries
//	48  u64  number of the segment's first block
//	56  u64  zero
const (
	keyVersionOff   = 4
	keyZeroOff      = 5
	keyEntrySizeOff = 6
	keyCRCOff       = 8
	keyNumberOff    = 12
	keyIDOff        = 16
	keyCountOff     = 32
	keyEntriesOff   = 40
	keyFirstOff     = 48
	keyZero2Off     = 56

	keyHeaderSize = 64
	keyMagic      = "TPKF"
	keyVersion    = 1
	keySuffix     = ".key"
)

// Keyframe entry.
//
//	0   u64  block: the keyframe has the last records before it
//	8   u64  offset of the stored bytes
//	16  u32  stored size, bytes
//	20  u32  size of the records, bytes
//	24  u32  size of the places, bytes
//	28  u32  number of topics
//	32  u32  CRC32C of the stored bytes
//	36  u32  CRC32C of records, then places
//	40  u8   codec
//	41  7    zero
//	48  i64  greatest event time of any record before the block
//	56  i64  greatest receive time
//	64  i64  greatest send time
const (
	kfBlockOff       = 0
	kfOffsetOff      = 8
	kfStoredSizeOff  = 16
	kfRecordsSizeOff = 20
	kfPlacesSizeOff  = 24
	kfTopicsOff      = 28
	kfStoredCRCOff   = 32
	kfRawCRCOff      = 36
	kfCodecOff       = 40
	kfZeroOff        = 41
	kfUpToOff        = 48

	keyEntrySize = 72

	// KeyframeSizeMax is the largest keyframe before compression, bytes. A tape
	// whose topics' last records are larger together gets no further keyframes.
	KeyframeSizeMax = 512 << 20
)

func keyName(number int) string { return fmt.Sprintf("%08d%s", number, keySuffix) }

// keyEntry is one keyframe of a keyframe file.
type keyEntry struct {
	block       int
	offset      int64
	storedSize  uint32
	recordsSize uint32
	placesSize  uint32
	topics      uint32
	storedCRC   uint32
	rawCRC      uint32
	codec       Codec
	upTo        [len(clockNames)]wire.Nanos // by Clock
}

func (e *keyEntry) rawSize() int { return int(e.recordsSize) + int(e.placesSize) }

// keyClocks is the order of the clocks in an entry.
var keyClocks = [...]Clock{ClockEvent, ClockReceive, ClockSend}

func appendKeyEntry(dst []byte, e *keyEntry) []byte {
	le := binary.LittleEndian
	dst = le.AppendUint64(dst, uint64(e.block))
	dst = le.AppendUint64(dst, uint64(e.offset))
	for _, v := range [...]uint32{e.storedSize, e.recordsSize, e.placesSize, e.topics, e.storedCRC, e.rawCRC} {
		dst = le.AppendUint32(dst, v)
	}
	dst = append(dst, byte(e.codec), 0, 0, 0, 0, 0, 0, 0)
	for _, c := range keyClocks {
		dst = le.AppendUint64(dst, uint64(e.upTo[c]))
	}
	return dst
}

// parseKeyEntry takes an entry apart and checks what can be checked without the
// keyframe's bytes.
func parseKeyEntry(b []byte) (e keyEntry, reason string) {
	b = b[:keyEntrySize]
	le := binary.LittleEndian
	e = keyEntry{
		block: int(min(le.Uint64(b[kfBlockOff:]), 1<<41)), offset: int64(le.Uint64(b[kfOffsetOff:])),
		storedSize: le.Uint32(b[kfStoredSizeOff:]), recordsSize: le.Uint32(b[kfRecordsSizeOff:]),
		placesSize: le.Uint32(b[kfPlacesSizeOff:]), topics: le.Uint32(b[kfTopicsOff:]),
		storedCRC: le.Uint32(b[kfStoredCRCOff:]), rawCRC: le.Uint32(b[kfRawCRCOff:]), codec: Codec(b[kfCodecOff]),
	}
	for i, c := range keyClocks {
		e.upTo[c] = wire.Nanos(le.Uint64(b[kfUpToOff+8*i:]))
	}
	raw := uint64(e.recordsSize) + uint64(e.placesSize)
	switch {
	case !allZero(b[kfZeroOff:kfUpToOff]):
		return e, reasonReserved
	case e.codec != CodecPlain && e.codec != CodecS2 && e.codec != CodecZstd:
		return e, reasonCodec
	case raw > KeyframeSizeMax || uint64(e.storedSize) > raw:
		return e, "keyframe sizes contradict each other"
	case e.codec == CodecPlain && (uint64(e.storedSize) != raw || e.storedCRC != e.rawCRC):
		return e, "keyframe sizes contradict each other"
	case e.topics == 0 || uint64(e.topics)*(wire.RecordHeadSize+1) > uint64(e.recordsSize) || uint64(e.topics)*4 > uint64(e.placesSize):
		return e, "number of topics does not fit the keyframe"
	}
	return e, ""
}

// putKeyHeader writes the header of a keyframe file of that many keyframes.
func putKeyHeader(h []byte, id ID, number, first int, entriesOff int64, entries []byte) {
	h = h[:keyHeaderSize]
	clear(h)
	le := binary.LittleEndian
	copy(h, keyMagic)
	h[keyVersionOff] = keyVersion
	le.PutUint16(h[keyEntrySizeOff:], keyEntrySize)
	le.PutUint32(h[keyNumberOff:], uint32(number))
	copy(h[keyIDOff:], id[:])
	le.PutUint64(h[keyCountOff:], uint64(len(entries)/keyEntrySize))
	le.PutUint64(h[keyEntriesOff:], uint64(entriesOff))
	le.PutUint64(h[keyFirstOff:], uint64(first))
	le.PutUint32(h[keyCRCOff:], keyCRC(h, entries))
}

func keyCRC(h, entries []byte) uint32 {
	return crcJoin(crcWithout(h[:keyHeaderSize], keyCRCOff), entries)
}

// checkKeyHeader returns why h is not the header of that segment's keyframe file
// of size bytes, or "".
func checkKeyHeader(h []byte, size int64, id ID, number, first int) string {
	le := binary.LittleEndian
	if size < keyHeaderSize || len(h) < keyHeaderSize {
		return "keyframe file is cut off"
	}
	count, entriesOff := le.Uint64(h[keyCountOff:]), le.Uint64(h[keyEntriesOff:])
	switch {
	case string(h[:len(keyMagic)]) != keyMagic:
		return "not a keyframe file (magic)"
	case h[keyVersionOff] != keyVersion:
		return "unknown keyframe version"
	case le.Uint16(h[keyEntrySizeOff:]) != keyEntrySize:
		return "unknown keyframe entry size"
	case h[keyZeroOff] != 0 || le.Uint64(h[keyZero2Off:]) != 0:
		return reasonReserved
	case ID(h[keyIDOff:keyIDOff+16]) != id || le.Uint32(h[keyNumberOff:]) != uint32(number) || le.Uint64(h[keyFirstOff:]) != uint64(first):
		return "keyframe file is of another segment"
	case entriesOff < keyHeaderSize || entriesOff > uint64(size) || (uint64(size)-entriesOff)%keyEntrySize != 0 ||
		(uint64(size)-entriesOff)/keyEntrySize != count:
		return "keyframe file's size differs from its header"
	}
	return ""
}

// parseKeyEntries checks header and entries of a keyframe file and returns the
// keyframes. They are of the blocks [first, first+blocks) and lie one behind the
// other, so that every byte of the file belongs to one.
func parseKeyEntries(h, entries []byte, first, blocks int) (list []keyEntry, reason string) {
	le := binary.LittleEndian
	if le.Uint32(h[keyCRCOff:]) != keyCRC(h, entries) {
		return nil, "keyframe entries' checksum differs"
	}
	at, last := int64(keyHeaderSize), first-1
	for ; len(entries) >= keyEntrySize; entries = entries[keyEntrySize:] {
		e, reason := parseKeyEntry(entries)
		switch {
		case reason != "":
			return nil, reason
		case e.offset != at:
			return nil, "keyframes leave holes in their file"
		case e.block <= last || e.block == 0 || e.block >= first+blocks:
			return nil, "keyframe is of a block outside its segment"
		}
		at, last = at+int64(e.storedSize), e.block
		list = append(list, e)
	}
	if at != int64(le.Uint64(h[keyEntriesOff:])) {
		return nil, "keyframes do not fill their file"
	}
	return list, ""
}

// appendPlaces appends the places of a keyframe's records: the epochs that occur
// (count, then u64 each), then for each record shard, number of its epoch in
// that list, sequence and ordinal, as unsigned LEB128 varints.
func appendPlaces(dst []byte, topics []*liveTopic) []byte {
	var epochs []wire.Epoch
	for _, t := range topics {
		epochs = appendEpoch(epochs, t.place.epoch)
	}
	dst = binary.AppendUvarint(dst, uint64(len(epochs)))
	for _, e := range epochs {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(e))
	}
	latest := 0
	for _, t := range topics {
		p := &t.place
		if epochs[latest] != p.epoch {
			latest = slices.Index(epochs, p.epoch)
		}
		dst = binary.AppendUvarint(dst, uint64(p.shard))
		dst = binary.AppendUvarint(dst, uint64(latest))
		dst = binary.AppendUvarint(dst, uint64(p.seq))
		dst = binary.AppendUvarint(dst, uint64(p.ordinal))
	}
	return dst
}

// placeWalk reads what appendPlaces wrote.
type placeWalk struct {
	rest   []byte
	epochs []wire.Epoch
	shards int
	bad    bool
}

func newPlaceWalk(b []byte, topics, shards int) placeWalk {
	w := placeWalk{rest: b, shards: shards}
	n := w.varint()
	if n == 0 || n > uint64(topics) || n > uint64(len(w.rest)/8) {
		w.bad = true
		return w
	}
	for range n {
		e := wire.Epoch(binary.LittleEndian.Uint64(w.rest))
		w.bad = w.bad || e == 0
		w.epochs, w.rest = append(w.epochs, e), w.rest[8:]
	}
	return w
}

func (w *placeWalk) varint() uint64 {
	v, n := binary.Uvarint(w.rest)
	if n <= 0 || n > 1 && w.rest[n-1] == 0 {
		w.bad = true // cut off, too long, or not the shortest form
		return 0
	}
	w.rest = w.rest[n:]
	return v
}

// next returns the next record's place; it means nothing once w.bad is set.
func (w *placeWalk) next() (p place) {
	shard, epoch := w.varint(), w.varint()
	p.seq, p.ordinal = wire.Seq(w.varint()), wire.Ordinal(w.varint())
	if w.bad || shard >= uint64(w.shards) || epoch >= uint64(len(w.epochs)) {
		w.bad = true
		return p
	}
	p.shard, p.epoch = uint16(shard), w.epochs[epoch]
	return p
}

// walkKeyframe calls visit with every record of a decoded keyframe and its
// place. Topics come in bytewise order, each once. The records borrow raw.
func (e *keyEntry) walk(raw []byte, shards int, visit func(wire.Record, place)) (reason string) {
	records := raw[:e.recordsSize]
	places := newPlaceWalk(raw[e.recordsSize:], int(e.topics), shards)
	var before []byte
	for range e.topics {
		rec, err := wire.ParseRecord(records)
		if err != nil {
			return "keyframe holds no record where one should be: " + err.Error()
		}
		topic := rec.Topic()
		p := places.next()
		if places.bad || string(topic) <= string(before) {
			return "keyframe's topics or places are damaged"
		}
		visit(rec, p)
		before, records = topic, records[len(rec):]
	}
	if len(records) != 0 || len(places.rest) != 0 {
		return "bytes after a keyframe's last record"
	}
	return ""
}

// keyCodec is the codec of a tape's keyframes: fast where the tape's is.
func keyCodec(c Codec) Codec {
	if c == CodecPlain || c == CodecS2 {
		return CodecS2
	}
	return CodecZstd
}

// decodeKeyframe returns records and places of a keyframe from its stored bytes,
// which it may return as they are.
func decodeKeyframe(stored []byte, e *keyEntry) (raw []byte, reason string) {
	if checksum(stored) != e.storedCRC {
		return nil, "keyframe's checksum differs"
	}
	if e.codec == CodecPlain {
		return stored, ""
	}
	if checkDecodedSize(stored, e.codec, e.rawSize()) != nil {
		return nil, "keyframe does not decompress"
	}
	raw = make([]byte, e.rawSize())
	var err error
	if e.codec == CodecS2 {
		_, err = s2.Decode(raw, stored)
	} else {
		err = decodeLarge(raw, stored)
	}
	if err != nil {
		return nil, "keyframe does not decompress"
	}
	if checksum(raw) != e.rawCRC {
		return nil, "keyframe's decompressed bytes' checksum differs"
	}
	return raw, ""
}

// decodeLarge decompresses a frame that may be larger than a block can be.
func decodeLarge(dst, stored []byte) error {
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(KeyframeSizeMax))
	if err != nil {
		return err
	}
	defer z.Close()
	out, err := z.DecodeAll(stored, dst[:0:len(dst)])
	if err == nil && len(out) != len(dst) {
		err = errDecodedSize
	}
	return err
}
