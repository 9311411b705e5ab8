package resync

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// What a client sends. The offsets are part of the protocol.
//
//	refill       16  u64  epoch
//	             24  u64  from
//	             32  u64  to; 2^64-1: the end of what there is
//	             40  u64  credit, bytes
//	             48  u32  deadline, ms
//	             52  u32  chunk size wished for, bytes; 0: the server's choice
//	             56  u16  shard
//	             58  u48  zero
//
//	find         16  i64  time, ns
//	             24  u32  deadline, ms
//	             28  u8   clock
//	             29  u24  zero
//
//	snapshot     16  u64  epoch; 0: whichever there is
//	             24  i64  time, ns
//	             32  u64  credit, bytes
//	             40  u32  deadline, ms
//	             44  u32  chunk size wished for, bytes; 0: the server's choice
//	             48  u32  number of prefixes
//	             52  u8   clock; 0: now
//	             53  u24  zero
//	  2nd frame       per prefix: u8 length, bytes
//
//	credit       16  u64  bytes, more
const (
	refillSize   = 64
	findSize     = 32
	snapshotSize = 56
	creditSize   = 24
)

// RefillRequest asks for the records of a span.
type RefillRequest struct {
	ID         RequestID
	Span       Span          // To may be Open
	Credit     uint64        // bytes of payload and order that may be sent without more credit
	Deadline   time.Duration // for how long nothing may be sent before the server gives up; whole ms
	ChunkBytes uint32        // payload wished for in a chunk; 0: the server's choice
}

// AppendRefill appends the one frame of r and returns the extended slice.
func AppendRefill(dst []byte, r *RefillRequest) []byte {
	dst, b := appendHead(dst, CommandRefill, r.ID)
	le := binary.LittleEndian
	le.PutUint64(b[16:], uint64(r.Span.Epoch))
	le.PutUint64(b[24:], uint64(r.Span.From))
	le.PutUint64(b[32:], uint64(r.Span.To))
	le.PutUint64(b[40:], r.Credit)
	le.PutUint32(b[48:], milliseconds(r.Deadline))
	le.PutUint32(b[52:], r.ChunkBytes)
	le.PutUint16(b[56:], uint16(r.Span.Shard))
	return dst
}

// ParseRefill is the inverse of AppendRefill. The span is not empty, its epoch not
// 0. The error is a *ProtocolError.
func ParseRefill(b []byte) (RefillRequest, error) {
	id, err := parse(b, CommandRefill)
	if err != nil {
		return RefillRequest{ID: id}, err
	}
	le := binary.LittleEndian
	r := RefillRequest{
		ID: id,
		Span: Span{Epoch: wire.Epoch(le.Uint64(b[16:])), Shard: int(le.Uint16(b[56:])),
			From: wire.Seq(le.Uint64(b[24:])), To: wire.Seq(le.Uint64(b[32:]))},
		Credit:     le.Uint64(b[40:]),
		Deadline:   time.Duration(le.Uint32(b[48:])) * time.Millisecond,
		ChunkBytes: le.Uint32(b[52:]),
	}
	switch {
	case !zero(b[58:]):
		return r, bad(reasonReserved)
	case r.Span.Epoch == 0:
		return r, bad(reasonEpoch)
	case r.Span.From >= r.Span.To:
		return r, bad(reasonSpan)
	case r.Credit == 0:
		return r, bad(reasonCredit)
	case r.Deadline == 0:
		return r, bad(reasonDeadline)
	}
	return r, nil
}

// The clocks of a find and of a snapshot, by their number in the protocol. Number
// 0 is no clock: now.
var clocks = []string{"", "receive", "event", "send"}

// Clocks are the names of the clocks that a time may be by. The slice is not to
// be changed.
func Clocks() []string { return clocks[1:] }

func clockNumber(name string) (uint8, error) {
	if i := slices.Index(clocks, name); i >= 0 {
		return uint8(i), nil
	}
	return 0, fmt.Errorf("resync: clock %q, want receive, event or send", name)
}

// FindRequest asks which spans hold the records from a time on. wire.NanosMin
// asks for everything there is.
type FindRequest struct {
	ID       RequestID
	Time     wire.Nanos
	Clock    string        // "receive", "event" or "send"
	Deadline time.Duration // whole ms
}

// AppendFind appends the one frame of r and returns the extended slice. The error
// is an unknown clock.
func AppendFind(dst []byte, r *FindRequest) ([]byte, error) {
	clock, err := clockNumber(r.Clock)
	if err == nil && clock == 0 {
		err = bad(reasonClock)
	}
	if err != nil {
		return dst, err
	}
	dst, b := appendHead(dst, CommandFind, r.ID)
	binary.LittleEndian.PutUint64(b[16:], uint64(r.Time))
	binary.LittleEndian.PutUint32(b[24:], milliseconds(r.Deadline))
	b[28] = clock
	return dst, nil
}

// ParseFind is the inverse of AppendFind. The error is a *ProtocolError.
func ParseFind(b []byte) (FindRequest, error) {
	id, err := parse(b, CommandFind)
	if err != nil {
		return FindRequest{ID: id}, err
	}
	r := FindRequest{
		ID:       id,
		Time:     wire.Nanos(binary.LittleEndian.Uint64(b[16:])),
		Deadline: time.Duration(binary.LittleEndian.Uint32(b[24:])) * time.Millisecond,
	}
	clock := b[28]
	switch {
	case !zero(b[29:]):
		return r, bad(reasonReserved)
	case clock == 0 || int(clock) >= len(clocks):
		return r, bad(reasonClock)
	case r.Deadline == 0:
		return r, bad(reasonDeadline)
	}
	r.Clock = clocks[clock]
	return r, nil
}

// SnapshotRequest asks for last values.
type SnapshotRequest struct {
	ID         RequestID
	Query      Query
	Credit     uint64        // bytes of payload and places that may be sent without more credit
	Deadline   time.Duration // for how long nothing may be sent before the server gives up; whole ms
	ChunkBytes uint32        // payload wished for in a chunk; 0: the server's choice
}

// AppendSnapshot appends the frames of r, the head to head and the prefixes to
// prefixes, and returns the extended slices. The error is an unknown clock, or
// too many or too long prefixes.
func AppendSnapshot(head, prefixes []byte, r *SnapshotRequest) (h, p []byte, err error) {
	q := &r.Query
	clock, err := clockNumber(q.Clock)
	if err != nil {
		return head, prefixes, err
	}
	if clock == 0 && q.At != 0 {
		return head, prefixes, bad(reasonClock)
	}
	if len(q.Prefixes) > PrefixesMax {
		return head, prefixes, bad(reasonTooMany)
	}
	p = prefixes
	for _, prefix := range q.Prefixes {
		if len(prefix) > wire.TopicSizeMax {
			return head, prefixes, bad(reasonPrefix)
		}
		p = append(append(p, uint8(len(prefix))), prefix...)
	}
	h, b := appendHead(head, CommandSnapshot, r.ID)
	le := binary.LittleEndian
	le.PutUint64(b[16:], uint64(q.Epoch))
	le.PutUint64(b[24:], uint64(q.At))
	le.PutUint64(b[32:], r.Credit)
	le.PutUint32(b[40:], milliseconds(r.Deadline))
	le.PutUint32(b[44:], r.ChunkBytes)
	le.PutUint32(b[48:], uint32(len(q.Prefixes)))
	b[52] = clock
	return h, p, nil
}

// ParseSnapshot is the inverse of AppendSnapshot. It copies the prefixes. The
// error is a *ProtocolError.
func ParseSnapshot(b, prefixes []byte) (SnapshotRequest, error) {
	id, err := parse(b, CommandSnapshot)
	if err != nil {
		return SnapshotRequest{ID: id}, err
	}
	le := binary.LittleEndian
	r := SnapshotRequest{
		ID:         id,
		Query:      Query{Epoch: wire.Epoch(le.Uint64(b[16:])), At: wire.Nanos(le.Uint64(b[24:]))},
		Credit:     le.Uint64(b[32:]),
		Deadline:   time.Duration(le.Uint32(b[40:])) * time.Millisecond,
		ChunkBytes: le.Uint32(b[44:]),
	}
	count, clock := le.Uint32(b[48:]), b[52]
	switch {
	case !zero(b[53:]):
		return r, bad(reasonReserved)
	case int(clock) >= len(clocks) || clock == 0 && r.Query.At != 0:
		return r, bad(reasonClock)
	case r.Credit == 0:
		return r, bad(reasonCredit)
	case r.Deadline == 0:
		return r, bad(reasonDeadline)
	case count > PrefixesMax:
		return r, bad(reasonTooMany)
	}
	r.Query.Clock = clocks[clock]
	r.Query.Prefixes, err = parsePrefixes(prefixes, int(count))
	return r, err
}

func parsePrefixes(b []byte, count int) ([]string, error) {
	// A prefix has one byte at least, so the frame bounds the list.
	if count > len(b) {
		return nil, bad(reasonPrefix)
	}
	var list []string
	for range count {
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return nil, bad(reasonPrefix)
		}
		n := 1 + int(b[0])
		list, b = append(list, string(b[1:n])), b[n:]
	}
	if len(b) != 0 {
		return nil, bad(reasonPrefix)
	}
	return list, nil
}

// AppendCredit appends the one frame that grants a request more bytes and returns
// the extended slice.
func AppendCredit(dst []byte, id RequestID, bytes uint64) []byte {
	dst, b := appendHead(dst, CommandCredit, id)
	binary.LittleEndian.PutUint64(b[16:], bytes)
	return dst
}

// ParseCredit is the inverse of AppendCredit. The error is a *ProtocolError.
func ParseCredit(b []byte) (id RequestID, bytes uint64, err error) {
	if id, err = parse(b, CommandCredit); err != nil {
		return id, 0, err
	}
	if bytes = binary.LittleEndian.Uint64(b[16:]); bytes == 0 {
		return id, 0, bad(reasonCredit)
	}
	return id, bytes, nil
}

// AppendCancel appends the one frame that ends a request and returns the extended
// slice. Nothing answers it.
func AppendCancel(dst []byte, id RequestID) []byte {
	dst, _ = appendHead(dst, CommandCancel, id)
	return dst
}

// AppendPing appends the one frame that asks whether the server is there and has
// a request (0: none is meant), and returns the extended slice.
func AppendPing(dst []byte, id RequestID) []byte {
	dst, _ = appendHead(dst, CommandPing, id)
	return dst
}
