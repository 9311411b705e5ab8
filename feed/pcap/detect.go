package pcap

import (
	"bytes"
	"context"
)

const (
	// detectMax is how many datagrams Detect looks at.
	detectMax = 256
	// sureMin is how sure a protocol must be on the average to be the one. Below it
	// some datagrams look like it by chance, or it is one of many in the capture;
	// which is meant is then the user's to say.
	sureMin = 25
	// sureCapture is for the generic format: any capture, if nothing else.
	sureCapture = 10
)

// Detect says how sure a protocol is of a capture of which head is the first part:
// the average of what payload says about the first datagrams. It is 0 where head
// is no capture, has no datagram, or the average is below 25.
func Detect(head []byte, payload func(payload []byte) int) int {
	if !IsCapture(head) {
		return 0
	}
	sum, n := 0, 0
	for p := range payloads(head) {
		sum += payload(p)
		if n++; n == detectMax {
			break
		}
	}
	if n == 0 || sum/n < sureMin {
		return 0
	}
	return sum / n
}

// payloads yields the UDP payloads of the packets that lie wholly in head.
func payloads(head []byte) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		c, err := newCapture(context.Background(), bytes.NewReader(head), len(head))
		if err != nil {
			return
		}
		var f frame
		d := newDatagram()
		for c.next(&f) == nil {
			if known(f.link) && d.parse(f.link, f.data) == isUDP && !yield(d.payload) {
				return
			}
		}
	}
}
