package pcap

import "errors"

// Errors of opening a capture.
var (
	// ErrCapture: the input is neither pcap nor pcapng, or its head is damaged.
	ErrCapture = errors.New("pcap: not a capture")
	// ErrLink: packets of a link type that is not known here.
	ErrLink = errors.New("pcap: link type is not supported")
	// ErrOption: an option whose value makes no sense for a capture.
	ErrOption = errors.New("pcap: bad option")
)

// Errors of reading packets. They come inside a *feed.BadRecord.
var (
	// ErrTruncated: the capture ends inside a packet.
	ErrTruncated = errors.New("pcap: capture breaks off inside a packet")
	// ErrDamaged: the capture's own framing makes no sense from here on, so the
	// rest of it cannot be read.
	ErrDamaged = errors.New("pcap: capture is damaged; the rest of it cannot be read")
	// ErrFragment: an IP fragment. Datagrams are not put together from them.
	ErrFragment = errors.New("pcap: IP fragment")
	// ErrSnapped: the packet was captured only in part.
	ErrSnapped = errors.New("pcap: datagram was not captured whole")
	// ErrMalformed: the heads of a packet contradict each other.
	ErrMalformed = errors.New("pcap: malformed packet")
	// ErrTime: a capture time outside the years 1678 to 2262.
	ErrTime = errors.New("pcap: capture time out of range")
)

// Final errors, which come in place of io.EOF.
var (
	// ErrNone: no datagram of the capture is of the protocol.
	ErrNone = errors.New("pcap: no datagram of the protocol")
	// ErrNoGroup: no datagram goes to the groups that were asked for.
	ErrNoGroup = errors.New("pcap: no datagram to the groups asked for")
)

// ErrForeign is for a Parser to wrap where a datagram is not of its protocol at
// all. On a line that has brought no datagram of the protocol yet such datagrams
// are left out and noted; elsewhere they are bad records.
var ErrForeign = errors.New("pcap: datagram of another protocol")
