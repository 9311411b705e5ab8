package binarystar

import (
	"bytes"
	"fmt"
	"strconv"
)

// NoteMax bounds a note, bytes.
const NoteMax = 64 << 10

// farewell is the note of a server's last announcement.
const farewell = "bye"

// announcementMax bounds an announcement with its note, bytes.
const announcementMax = 128 + NoteMax

// announcementWord follows the digit in an announcement of ours.
const announcementWord = " TPBS1 epoch="

// AppendAnnouncement appends what a server tells its peer, one frame, and returns
// the extended slice: the state as a decimal digit, which is all that the guide's
// servers say and read, and, unless compatible, the greatest epoch it knows behind
// it: "3 TPBS1 epoch=7". A reader that takes the leading number, as C's atoi does,
// reads the same from both.
func AppendAnnouncement(dst []byte, s State, epoch uint64, compatible bool) []byte {
	dst = append(dst, '0'+byte(s))
	if compatible {
		return dst
	}
	dst = append(dst, announcementWord...)
	return strconv.AppendUint(dst, epoch, 10)
}

// AppendNote appends what the servers have to say to each other beside that, at most
// NoteMax bytes, to an announcement with an epoch: " " and the note.
func AppendNote(dst, note []byte) []byte {
	if len(note) == 0 {
		return dst
	}
	return append(append(dst, ' '), note...)
}

// Note returns the note of an announcement that ParseAnnouncement has read, borrowed
// from b, or nil.
func Note(b []byte) []byte {
	_, rest, ok := bytes.Cut(b, []byte(announcementWord))
	if !ok {
		return nil
	}
	_, note, _ := bytes.Cut(rest, []byte(" "))
	return note
}

// ParseAnnouncement reads an announcement; the epoch of one that has none is 0. A note,
// which stands behind the epoch and a space, is Note's to read.
func ParseAnnouncement(b []byte) (s State, epoch uint64, err error) {
	if len(b) == 0 || len(b) > announcementMax {
		return 0, 0, fmt.Errorf("binarystar: an announcement of %d bytes", len(b))
	}
	if s = State(b[0] - '0'); !s.valid() {
		return 0, 0, fmt.Errorf("binarystar: an announcement of state %q", b[:1])
	}
	if b = b[1:]; len(b) == 0 {
		return s, 0, nil
	}
	rest, ok := bytes.CutPrefix(b, []byte(announcementWord))
	if !ok {
		return 0, 0, fmt.Errorf("binarystar: an announcement with %.64q behind the state", b)
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	epoch, err = strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("binarystar: an announcement with the epoch %.64q", digits)
	}
	return s, epoch, nil
}
