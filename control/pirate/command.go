package pirate

import "github.com/tapedeck/tapedeck/internal/zsock"

// The control bytes. 01 and 02 are those of 6/PPP, 03 is ours.
const (
	byteReady     = 1
	byteHeartbeat = 2
	byteDown      = 3
)

var (
	frameReady     = []byte{byteReady}
	frameHeartbeat = []byte{byteHeartbeat}
	frameDown      = []byte{byteDown}
	frameEmpty     = []byte{}
)

// command is what a message between queue and worker is.
type command uint8

const (
	invalid command = iota
	ready
	heartbeat
	down
	work // a request or a reply
)

// classify says what the frames of p from frame at on are.
func classify(p *zsock.Parts, at int) command {
	switch p.Len() - at {
	case 0:
		return invalid
	case 1:
		if f := p.Frame(at); len(f) == 1 {
			switch f[0] {
			case byteReady:
				return ready
			case byteHeartbeat:
				return heartbeat
			case byteDown:
				return down
			}
		}
		return invalid
	}
	if body, ok := bodyOf(p, at); !ok || body == at+1 {
		return invalid // no address
	}
	return work
}

// bodyOf returns which frame the body begins with: the one after the first empty
// frame from frame at on. A body has at least one frame. Several addresses may
// stand before it, where a request came through several ROUTERs.
func bodyOf(p *zsock.Parts, at int) (int, bool) {
	for i := at; i+1 < p.Len(); i++ {
		if len(p.Frame(i)) == 0 {
			return i + 1, true
		}
	}
	return 0, false
}
