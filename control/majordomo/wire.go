package majordomo

import "strings"

// The frames of MDP/0.1.
const (
	headerClient = "MDPC01"
	headerWorker = "MDPW01"

	byteReady      = 1
	byteRequest    = 2
	byteReply      = 3
	byteHeartbeat  = 4
	byteDisconnect = 5
)

var (
	frameEmpty        = []byte{}
	frameClient       = []byte(headerClient)
	frameWorker       = []byte(headerWorker)
	frameReady        = []byte{byteReady}
	frameWorkerAsks   = []byte{byteRequest}
	frameWorkerSays   = []byte{byteReply}
	frameHeartbeat    = []byte{byteHeartbeat}
	frameDisconnect   = []byte{byteDisconnect}
	frameFound        = []byte("200")
	frameNotFound     = []byte("404")
	frameNotThere     = []byte("501")
	frameLook         = []byte("look")
	serviceNameMax    = 255 // bytes
	framesMax         = 1024
	prefixMMI         = "mmi."
	frameOverhead     = 8 // bytes that a frame costs beside its own
	numbersOfTheirOwn = uint64(1) << 32
)

// reserved reports whether a service of this name is the broker's own.
func reserved(service []byte) bool {
	return strings.HasPrefix(string(service), prefixMMI) || strings.HasPrefix(string(service), ReservedPrefix)
}

// Own reports whether a service of this name is the broker's own: requests to it change
// nothing.
func Own(service []byte) bool { return reserved(service) }

// command is what a message is.
type command uint8

const (
	invalid        command = iota
	clientRequest          // at the broker
	workerReady            // at the broker
	workerReply            // at the broker
	workerRequest          // at the worker
	clientReply            // at the client
	heartbeat              // both ways
	disconnect             // both ways
	requestTooLong         // at the broker: a request of too many frames
)

// message is a message taken apart. All of it is borrowed from its frames.
type message struct {
	command command
	from    []byte   // at the broker: the address of the peer
	path    [][]byte // further addresses behind it, of a client that is behind further ROUTERs
	service []byte
	client  [][]byte // addresses of a worker's request or reply
	body    [][]byte
}

// parseAtBroker takes apart what the broker's ROUTER has received.
func parseAtBroker(m *message, frames [][]byte) {
	*m = message{}
	empty := emptyFrame(frames, 1)
	if empty < 0 || len(frames) < empty+3 {
		return
	}
	m.from, m.path = frames[0], frames[1:empty]
	rest := frames[empty+2:]
	switch string(frames[empty+1]) {
	case headerClient:
		if len(rest) < 2 || !serviceName(rest[0]) {
			return
		}
		m.command, m.service, m.body = clientRequest, rest[0], rest[1:]
		if len(frames) > framesMax {
			m.command = requestTooLong
		}
	case headerWorker:
		// A worker is at exactly one broker, with nothing in between.
		if len(m.path) == 0 && len(rest[0]) == 1 {
			m.fromWorker(rest[0][0], rest[1:])
		}
	}
}

func (m *message) fromWorker(command byte, rest [][]byte) {
	switch command {
	case byteReady:
		if len(rest) == 1 && serviceName(rest[0]) {
			m.command, m.service = workerReady, rest[0]
		}
	case byteReply:
		m.addressed(workerReply, rest)
		if len(m.client) != 1 || len(m.body) == 0 {
			m.command = invalid
		}
	default:
		m.bare(command, rest)
	}
}

// bare takes note of a command that is all of the message.
func (m *message) bare(command byte, rest [][]byte) {
	switch {
	case len(rest) != 0:
	case command == byteHeartbeat:
		m.command = heartbeat
	case command == byteDisconnect:
		m.command = disconnect
	}
}

// addressed takes apart [client][][body ...].
func (m *message) addressed(c command, rest [][]byte) {
	if at := emptyFrame(rest, 1); at >= 0 && len(rest[0]) > 0 {
		m.command, m.client, m.body = c, rest[:at], rest[at+1:]
	}
}

// parseAtWorker takes apart what a worker has received. A request may come without
// a body, and with several addresses: it has to be answered all the same.
func parseAtWorker(m *message, frames [][]byte) {
	*m = message{}
	if len(frames) < 3 || len(frames[0]) != 0 || string(frames[1]) != headerWorker || len(frames[2]) != 1 {
		return
	}
	if frames[2][0] == byteRequest {
		m.addressed(workerRequest, frames[3:])
		return
	}
	m.bare(frames[2][0], frames[3:])
}

// parseAtClient takes apart what a client has received.
func parseAtClient(m *message, frames [][]byte) {
	*m = message{}
	if len(frames) < 4 || len(frames[0]) != 0 || string(frames[1]) != headerClient || !serviceName(frames[2]) {
		return
	}
	m.command, m.service, m.body = clientReply, frames[2], frames[3:]
}

func serviceName(b []byte) bool { return len(b) > 0 && len(b) <= serviceNameMax }

// emptyFrame returns the index of the first empty frame from index at on, or -1.
func emptyFrame(frames [][]byte, at int) int {
	for i := at; i < len(frames); i++ {
		if len(frames[i]) == 0 {
			return i
		}
	}
	return -1
}
