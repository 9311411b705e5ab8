package titanic

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// ErrRecord: the bytes are no record, or not all of one.
var ErrRecord = errors.New("titanic: bad record")

// kind says what a record means for its job.
type kind uint8

const (
	kindAdded      kind = iota + 1 // here is a job
	kindDispatched                 // its service is about to be asked
	kindAnswered                   // here is the reply
	kindEnded                      // there will be none
	kindClosed                     // the reply was taken
	kindEnd
)

// A record: what happened to one job. Records begin at multiples of 8 bytes; the
// bytes between the end of one and the next are zero. All integers are
// little-endian.
//
//	 0  4    signature "TPJR"
//	 4  u8   kind
//	 5  3    zero
//	 8  u32  CRC32C of header and body, with this field zero
//	12  u32  size of the body, bytes
//	16  u64  identity of the log
//	24  u64  sequence: +1 a record, from 0
//	32  i64  how many bytes of the log had been synced when this was written
//	40  i64  time
//	48  16   job
//	64       body
const (
	recordHeader    = 64
	recordSignature = "TPJR"
	recordAlign     = 8
	recordBodyMax   = BytesMax + 1<<20
)

// record is one record, taken apart. Body is borrowed.
type record struct {
	Kind     kind
	Log      uint64
	Sequence uint64
	Synced   int64
	Time     int64 // ns
	ID       ID
	Body     []byte
}

var zeros [recordAlign]byte

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// recordSize is what a record with a body of so many bytes takes in the log.
func recordSize(body int) int {
	return (recordHeader + body + recordAlign - 1) / recordAlign * recordAlign
}

// appendRecord appends a record, with the zeros behind it.
func appendRecord(dst []byte, r *record) []byte {
	at := len(dst)
	dst = append(dst, recordSignature...)
	dst = append(dst, byte(r.Kind), 0, 0, 0, 0, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Body)))
	dst = binary.LittleEndian.AppendUint64(dst, r.Log)
	dst = binary.LittleEndian.AppendUint64(dst, r.Sequence)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Synced))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(r.Time))
	dst = append(dst, r.ID[:]...)
	dst = append(dst, r.Body...)
	binary.LittleEndian.PutUint32(dst[at+8:], crc32.Checksum(dst[at:], castagnoli))
	for (len(dst)-at)%recordAlign != 0 {
		dst = append(dst, 0)
	}
	return dst
}

// recordBody reads the size of the body from a header; ok is false where it is no
// header.
func recordBody(header []byte) (size int, ok bool) {
	if len(header) < recordHeader || string(header[:4]) != recordSignature {
		return 0, false
	}
	n := binary.LittleEndian.Uint32(header[12:])
	return int(n), n <= recordBodyMax
}

// parseRecord takes the record at the beginning of b apart and returns what it
// takes, with the zeros behind it. The body is borrowed from b, and not looked at.
func parseRecord(b []byte) (r record, size int, err error) {
	body, ok := recordBody(b)
	if !ok {
		return record{}, 0, fmt.Errorf("%w: no signature", ErrRecord)
	}
	if size = recordSize(body); size > len(b) {
		return record{}, 0, fmt.Errorf("%w: it has %d bytes, %d are there", ErrRecord, size, len(b))
	}
	whole := b[:recordHeader+body]
	sum := crc32.Update(crc32.Checksum(whole[:8], castagnoli), castagnoli, zeros[:4])
	if sum = crc32.Update(sum, castagnoli, whole[12:]); sum != binary.LittleEndian.Uint32(b[8:]) {
		return record{}, 0, fmt.Errorf("%w: wrong checksum", ErrRecord)
	}
	if b[4] == 0 || kind(b[4]) >= kindEnd || b[5] != 0 || b[6] != 0 || b[7] != 0 {
		return record{}, 0, fmt.Errorf("%w: kind %d is not known", ErrRecord, b[4])
	}
	if !bytes.Equal(b[len(whole):size], zeros[:size-len(whole)]) {
		return record{}, 0, fmt.Errorf("%w: something behind it", ErrRecord)
	}
	return record{
		Kind:     kind(b[4]),
		Log:      binary.LittleEndian.Uint64(b[16:]),
		Sequence: binary.LittleEndian.Uint64(b[24:]),
		Synced:   int64(binary.LittleEndian.Uint64(b[32:])),
		Time:     int64(binary.LittleEndian.Uint64(b[40:])),
		ID:       ID(b[48:64]),
		Body:     whole[recordHeader:],
	}, size, nil
}
