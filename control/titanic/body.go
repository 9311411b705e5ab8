package titanic

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
)

// The body of an added record.
//
//	 0  u64  number
//	 8  i64  not before, or 0
//	16  i64  expires, or 0
//	24  16   digest of service and frames
//	40  u16  size of the service's name
//	42  u16  size of the key
//	44  u16  size of the note
//	46  u8   1: the frames are left out, for they are needed no more
//	47  u8   zero
//	48       service, key, note, frames
const (
	addedHead = 48
	bare      = 1 // the frames are left out
)

// digest tells one job's content from another's.
type digest [16]byte

// added is the body of an added record, taken apart. Frames are borrowed.
type added struct {
	Number             uint64
	NotBefore, Expires int64 // ns
	Digest             digest
	Service, Key, Note string
	Bare               bool
	Frames             [][]byte
}

// digestOf is the first half of the SHA-256 of the service's name and the frames,
// each with its size before it.
func digestOf(service string, frames [][]byte) (d digest) {
	h := sha256.New()
	size := func(n int) {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], uint64(n))
		h.Write(b[:])
	}
	size(len(service))
	h.Write([]byte(service))
	for _, f := range frames {
		size(len(f))
		h.Write(f)
	}
	copy(d[:], h.Sum(nil))
	return d
}

func (a *added) size() int {
	n := addedHead + len(a.Service) + len(a.Key) + len(a.Note)
	if !a.Bare {
		n += framesSize(a.Frames)
	}
	return n
}

func appendAdded(dst []byte, a *added) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, a.Number)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.NotBefore))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.Expires))
	dst = append(dst, a.Digest[:]...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(a.Service)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(a.Key)))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(a.Note)))
	flags := byte(0)
	if a.Bare {
		flags = bare
	}
	dst = append(dst, flags, 0)
	dst = append(append(append(dst, a.Service...), a.Key...), a.Note...)
	if a.Bare {
		return dst
	}
	return appendFrames(dst, a.Frames)
}

func parseAdded(b []byte) (a added, err error) {
	if len(b) < addedHead || b[46]&^bare != 0 || b[47] != 0 {
		return a, fmt.Errorf("%w: a job of %d bytes", ErrRecord, len(b))
	}
	a = added{Number: binary.LittleEndian.Uint64(b), NotBefore: int64(binary.LittleEndian.Uint64(b[8:])),
		Expires: int64(binary.LittleEndian.Uint64(b[16:])), Digest: digest(b[24:40]), Bare: b[46] == bare}
	service, key, note := int(binary.LittleEndian.Uint16(b[40:])), int(binary.LittleEndian.Uint16(b[42:])), int(binary.LittleEndian.Uint16(b[44:]))
	rest := b[addedHead:]
	if service == 0 || service+key+note > len(rest) {
		return a, fmt.Errorf("%w: names of %d bytes in %d", ErrRecord, service+key+note, len(rest))
	}
	a.Service, rest = string(rest[:service]), rest[service:]
	a.Key, rest = string(rest[:key]), rest[key:]
	a.Note, rest = string(rest[:note]), rest[note:]
	if !a.Bare {
		a.Frames, err = parseFrames(rest)
		return a, err
	}
	if len(rest) > 0 {
		return a, fmt.Errorf("%w: %d bytes behind a job without frames", ErrRecord, len(rest))
	}
	return a, nil
}

// The body of a dispatched record is the attempt, u64. That of an answered record
// is frames. That of a closed record is empty.

const dispatchedSize = 8

func parseAttempt(b []byte) (int, error) {
	if len(b) != dispatchedSize {
		return 0, fmt.Errorf("%w: an attempt of %d bytes", ErrRecord, len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > 1<<62 {
		return 0, fmt.Errorf("%w: attempt %d", ErrRecord, n)
	}
	return int(n), nil
}

// The body of an ended record is u8 how (a State), 7 bytes of zero, and a reason.
const (
	endedHead = 8
	reasonMax = 1024
)

func appendEnded(dst []byte, how State, reason string) []byte {
	return append(append(dst, byte(how), 0, 0, 0, 0, 0, 0, 0), reason...)
}

func parseEnded(b []byte) (how State, reason string, err error) {
	if len(b) < endedHead || len(b) > endedHead+reasonMax || binary.LittleEndian.Uint64(b)>>8 != 0 {
		return 0, "", fmt.Errorf("%w: an end of %d bytes", ErrRecord, len(b))
	}
	how = State(b[0])
	if how != Cancelled && how != Expired && how != Failed {
		return 0, "", fmt.Errorf("%w: an end as %v", ErrRecord, how)
	}
	return how, string(b[endedHead:]), nil
}
