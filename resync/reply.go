package resync

import (
	"encoding/binary"

	"github.com/tapedeck/tapedeck/wire"
)

// What a server sends. The offsets are part of the protocol.
//
//	chunk        16  80   batch header, as docs/WIRE.md has it
//	  2nd frame       payload
//	  3rd frame       order, where the batch header announces one
//
//	entries      16  u32  records
//	             20  u32  payload size, bytes
//	             24  u32  CRC32C of payload, then places
//	             28  u32  zero
//	  2nd frame       payload: records one directly after the other
//	  3rd frame       places, one per record: u64 epoch, u64 sequence, u16 shard, u16 zero
//
//	spans        16  u32  number of spans
//	             20  u32  zero
//	  2nd frame       spans: u64 epoch, u64 from, u64 to, u16 shard, u48 zero
//
//	end          16  u64  records sent
//	             24  u64  bytes sent
//	             32  u64  digest
//	             40  u64  next: of a refill, the sequence after the last one sent
//	             48  u32  number of positions
//	             52  u32  flags; 1: next is the end of the epoch
//	  2nd frame       of a snapshot, positions: spans
//
//	error        16  u16  code
//	             18  u8   advice
//	             19  u8   zero
//	             20  u32  wait before asking again, ms
//	             24  u64  next: of a refill, the sequence after the last one sent
//	             32  u64  skip: of a refill, where what can be had begins again; 0: unknown
//	  2nd frame       text, UTF-8
//
//	pong         16  u64  server: a number drawn at its start
//	             24  u8   1: the server has the request
//	             25  u56  zero
const (
	// ChunkHeadSize is the size of a chunk's first frame, bytes.
	ChunkHeadSize = headSize + wire.HeaderSize

	entriesSize = 32
	spansSize   = 24
	endSize     = 56
	errorSize   = 40
	pongSize    = 32

	chunkOrderSizeOff = headSize + 60 // the batch header's

	// PlaceSize and SpanSize are the sizes of a place and of a span, bytes.
	PlaceSize = 20
	SpanSize  = 32
)

// Digest is what was sent for one request, so that both ends can compare it: all
// chunks count, in their order.
type Digest struct {
	Records uint64
	Bytes   uint64 // payload and order, or payload and places
	Hash    wire.Hash
}

// Add takes in a chunk of count records and the given size, whose bytes have the
// CRC32C crc.
func (d *Digest) Add(count, crc uint32, bytes int) {
	d.Records += uint64(count)
	d.Bytes += uint64(bytes)
	d.Hash = d.Hash.Roll(count, crc)
}

// PutChunkHead writes the first frame of a chunk to the first ChunkHeadSize bytes
// of b, which must have them. The header describes payload and order, as that of
// any batch does. The frame can be sent as the header of a batch is.
func PutChunkHead(b []byte, id RequestID, h *wire.Header) {
	putHead(b[:headSize], CommandChunk, id)
	wire.PutHeader(b[headSize:ChunkHeadSize], h)
}

// ParseChunk takes a chunk apart: sizes and checksum are checked, the records are
// not. order is nil when the message has no third frame. The batch borrows the
// frames. The error is a *ProtocolError or a *wire.FormatError.
func ParseChunk(head, payload, order []byte) (RequestID, wire.Batch, error) {
	id, err := parse(head, CommandChunk)
	if err != nil {
		return id, wire.Batch{}, err
	}
	b, err := wire.ViewBatch(head[headSize:], payload, order)
	switch {
	case err != nil:
		return id, b, err
	case b.Bare() || b.Twin():
		return id, b, bad(reasonMark)
	case wire.CRC(payload, order) != b.CRC:
		return id, b, bad(reasonCRC)
	}
	return id, b, nil
}

// Entries is a view of one part of a snapshot: records, each with its place. It
// borrows the frames.
type Entries struct {
	ID      RequestID
	Count   uint32
	CRC     uint32 // CRC32C of payload, then places
	payload []byte
	places  []byte
}

// AppendPlace appends a record's place to the places of an entries message and
// returns the extended slice. The sequence is at.From.
func AppendPlace(dst []byte, at Span) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(at.Epoch))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(at.From))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(at.Shard))
	return binary.LittleEndian.AppendUint16(dst, 0)
}

// AppendEntriesHead appends the first frame of an entries message, whose other
// frames are payload and places, and returns the extended slice.
func AppendEntriesHead(dst []byte, id RequestID, payload, places []byte) []byte {
	dst, b := appendHead(dst, CommandEntries, id)
	binary.LittleEndian.PutUint32(b[16:], uint32(len(places)/PlaceSize))
	binary.LittleEndian.PutUint32(b[20:], uint32(len(payload)))
	binary.LittleEndian.PutUint32(b[24:], wire.CRC(payload, places))
	return dst
}

// ParseEntries takes an entries message apart and checks all of it: sizes,
// checksum, records and places. The error is a *ProtocolError.
func ParseEntries(head, payload, places []byte) (Entries, error) {
	id, err := parse(head, CommandEntries)
	e := Entries{ID: id, payload: payload, places: places}
	if err != nil {
		return e, err
	}
	le := binary.LittleEndian
	e.Count, e.CRC = le.Uint32(head[16:]), le.Uint32(head[24:])
	switch {
	case le.Uint32(head[28:]) != 0:
		return e, bad(reasonReserved)
	case e.Count == 0, uint64(le.Uint32(head[20:])) != uint64(len(payload)),
		uint64(e.Count)*PlaceSize != uint64(len(places)):
		return e, bad(reasonSize)
	case wire.CRC(payload, places) != e.CRC:
		return e, bad(reasonCRC)
	}
	w := e
	for {
		_, at, ok := w.Next()
		if !ok {
			break
		}
		if at.Epoch == 0 {
			return e, bad(reasonEpoch)
		}
	}
	if len(w.places) != 0 || len(w.payload) != 0 {
		return e, bad(reasonRecords)
	}
	for p := places; len(p) > 0; p = p[PlaceSize:] {
		if !zero(p[PlaceSize-2 : PlaceSize]) {
			return e, bad(reasonReserved)
		}
	}
	return e, nil
}

// Next returns the next record and its place: epoch, shard and, in From, the
// sequence. It reports false when there is none, or none that can be read. The
// record is borrowed from the message.
func (e *Entries) Next() (wire.Record, Span, bool) {
	if len(e.places) < PlaceSize {
		return nil, Span{}, false
	}
	r, err := wire.ParseRecord(e.payload)
	if err != nil {
		return nil, Span{}, false
	}
	le, p := binary.LittleEndian, e.places
	at := Span{Epoch: wire.Epoch(le.Uint64(p)), From: wire.Seq(le.Uint64(p[8:])), Shard: int(le.Uint16(p[16:]))}
	e.payload, e.places = e.payload[len(r):], p[PlaceSize:]
	return r, at, true
}

// Size is how many bytes of payload and places are still to come.
func (e *Entries) Size() int { return len(e.payload) + len(e.places) }

// AppendSpans appends the frames of an answer to find, the head to head and the
// spans to frame, and returns the extended slices. There must be at most
// SpansMax.
func AppendSpans(head, frame []byte, id RequestID, spans []Span) (h, f []byte) {
	h, b := appendHead(head, CommandSpans, id)
	binary.LittleEndian.PutUint32(b[16:], uint32(len(spans)))
	return h, appendSpans(frame, spans)
}

func appendSpans(dst []byte, spans []Span) []byte {
	for _, s := range spans {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(s.Epoch))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(s.From))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(s.To))
		dst = binary.LittleEndian.AppendUint64(dst, uint64(uint16(s.Shard)))
	}
	return dst
}

// ParseSpans is the inverse of AppendSpans. The error is a *ProtocolError.
func ParseSpans(head, frame []byte) (RequestID, []Span, error) {
	id, err := parse(head, CommandSpans)
	if err != nil {
		return id, nil, err
	}
	if binary.LittleEndian.Uint32(head[20:]) != 0 {
		return id, nil, bad(reasonReserved)
	}
	spans, err := parseSpans(frame, binary.LittleEndian.Uint32(head[16:]))
	return id, spans, err
}

func parseSpans(b []byte, count uint32) ([]Span, error) {
	if count > SpansMax {
		return nil, bad(reasonTooMany)
	}
	if len(b) != int(count)*SpanSize {
		return nil, bad(reasonSize)
	}
	var spans []Span
	le := binary.LittleEndian
	for ; len(b) > 0; b = b[SpanSize:] {
		s := Span{Epoch: wire.Epoch(le.Uint64(b)), From: wire.Seq(le.Uint64(b[8:])), To: wire.Seq(le.Uint64(b[16:])),
			Shard: int(le.Uint16(b[24:]))}
		switch {
		case !zero(b[26:SpanSize]):
			return nil, bad(reasonReserved)
		case s.Epoch == 0:
			return nil, bad(reasonEpoch)
		case s.From > s.To:
			return nil, bad(reasonSpan)
		}
		spans = append(spans, s)
	}
	return spans, nil
}

// End says that a request is through, and what was sent for it.
type End struct {
	ID        RequestID
	Digest    Digest
	Next      wire.Seq // of a refill: the sequence after the last one sent
	Ended     bool     // of a refill: Next is where the epoch ends on this shard
	Positions []Span   // of a snapshot: per shard the epoch and, in To, the next sequence
}

const endFlagEnded = 1

// AppendEnd appends the frames of e, the head to head and the positions to frame,
// and returns the extended slices. There must be at most SpansMax positions.
func AppendEnd(head, frame []byte, e *End) (h, f []byte) {
	h, b := appendHead(head, CommandEnd, e.ID)
	le := binary.LittleEndian
	le.PutUint64(b[16:], e.Digest.Records)
	le.PutUint64(b[24:], e.Digest.Bytes)
	le.PutUint64(b[32:], uint64(e.Digest.Hash))
	le.PutUint64(b[40:], uint64(e.Next))
	le.PutUint32(b[48:], uint32(len(e.Positions)))
	if e.Ended {
		le.PutUint32(b[52:], endFlagEnded)
	}
	return h, appendSpans(frame, e.Positions)
}

// ParseEnd is the inverse of AppendEnd. The error is a *ProtocolError.
func ParseEnd(head, frame []byte) (End, error) {
	id, err := parse(head, CommandEnd)
	if err != nil {
		return End{ID: id}, err
	}
	le := binary.LittleEndian
	flags := le.Uint32(head[52:])
	e := End{
		ID:     id,
		Digest: Digest{Records: le.Uint64(head[16:]), Bytes: le.Uint64(head[24:]), Hash: wire.Hash(le.Uint64(head[32:]))},
		Next:   wire.Seq(le.Uint64(head[40:])),
		Ended:  flags&endFlagEnded != 0,
	}
	if flags&^endFlagEnded != 0 {
		return e, bad(reasonFlags)
	}
	e.Positions, err = parseSpans(frame, le.Uint32(head[48:]))
	return e, err
}

// Pong is the answer to a ping.
type Pong struct {
	ID     RequestID // the ping's
	Server uint64    // drawn by the server at its start: it tells a restart
	Has    bool      // the server has the request, and has not ended it yet
}

// AppendPong appends the one frame of p and returns the extended slice.
func AppendPong(dst []byte, p *Pong) []byte {
	dst, b := appendHead(dst, CommandPong, p.ID)
	binary.LittleEndian.PutUint64(b[16:], p.Server)
	if p.Has {
		b[24] = 1
	}
	return dst
}

// ParsePong is the inverse of AppendPong. The error is a *ProtocolError.
func ParsePong(b []byte) (Pong, error) {
	id, err := parse(b, CommandPong)
	if err != nil {
		return Pong{ID: id}, err
	}
	if b[24] > 1 {
		return Pong{ID: id}, bad(reasonFlags)
	}
	if !zero(b[25:]) {
		return Pong{ID: id}, bad(reasonReserved)
	}
	return Pong{ID: id, Server: binary.LittleEndian.Uint64(b[16:]), Has: b[24] == 1}, nil
}
