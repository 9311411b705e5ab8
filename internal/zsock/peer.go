package zsock

// #include "shim.h"
import "C"

import (
	"strconv"

	zmq "github.com/pebbe/zmq4"
)

// Peer is where a frame came from, as libzmq says it.
type Peer struct {
	// Address of the other end, without a port: an IP address, or for ipc a text
	// that ends with ":uid:gid:pid". "" where the transport has none, as inproc.
	Address string
	// FD is the descriptor of the connection in this process, or NoFD. It is
	// libzmq's: when the frame is read the connection may be gone, and the number
	// may be another file's. See OpenConnection.
	FD int
	// User is who the peer is, as ZAPReply.User named it; "" where nobody asked.
	User string
}

// NoFD is the descriptor of a Peer that has none.
const NoFD = -1

// The metadata of a message. The second is what ZMQ_SRCFD reads; it has no
// documented name.
const (
	propertyAddress = "Peer-Address"
	propertyFD      = "__fd"
	propertyUser    = "User-Id"
)

// TryRecvFrameFrom is TryRecvFrame that also says where the frame came from. On an
// XPUB socket, what tells of a subscription's end at a peer's departure comes from
// nowhere. Frames of peers that Lock.Expel has expelled are dropped.
func (s *Socket) TryRecvFrameFrom() ([]byte, Peer, error) {
	for {
		b, properties, err := s.z.RecvBytesWithMetadata(zmq.DONTWAIT, propertyAddress, propertyFD, propertyUser)
		if err != nil {
			return nil, Peer{FD: NoFD}, wrap(err)
		}
		from := peerFrom(properties)
		if !s.guarded() || s.attend(func() Peer { return from }) {
			return b, from, nil
		}
	}
}

// peerFrom is who the metadata of a message tells of.
func peerFrom(properties map[string]string) Peer {
	p := Peer{Address: properties[propertyAddress], FD: NoFD, User: properties[propertyUser]}
	if fd, err := strconv.ParseUint(properties[propertyFD], 10, 31); err == nil {
		p.FD = int(fd)
	}
	return p
}

// peerOf is peerFrom of what C has read.
func peerOf(f *C.td_from) Peer {
	return Peer{Address: C.GoString(&f.address[0]), FD: int(f.fd), User: C.GoString(&f.user[0])}
}
