package binarystar

import (
	"bytes"
	"fmt"
	"strconv"
)

// announcementMax bounds an announcement, bytes.
const announcementMax = 128

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

// ParseAnnouncement reads an announcement; the epoch of one that has none is 0. What
// follows the epoch behind a space is ignored.
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
		return 0, 0, fmt.Errorf("binarystar: an announcement with %q behind the state", b)
	}
	digits, _, _ := bytes.Cut(rest, []byte(" "))
	epoch, err = strconv.ParseUint(string(digits), 10, 64)
	if err != nil {
		return 0, 0, fmt.Errorf("binarystar: an announcement with the epoch %q", digits)
	}
	return s, epoch, nil
}
