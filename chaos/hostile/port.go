package hostile

// Port is a port that is attacked.
type Port struct {
	// Name says in reports which one it is.
	Name string
	// Address is HOST:PORT.
	Address string
	// Socket is the type of socket that belongs at the other end, such as SUB or
	// DEALER; "" where HTTP is spoken.
	Socket string
	// Samples are messages, frame by frame, that a good peer would send: what is sent
	// is made of them. Borrowed while Run runs.
	Samples [][][]byte
	// Lock is there where the port takes CURVE alone.
	Lock *Lock
}

// Lock is what is known of the keys at a port.
type Lock struct {
	Server [32]byte // public key of who is there
	// Public and Secret are a pair that may connect, so that what is sent behind the
	// handshake is looked at, too.
	Public, Secret [32]byte
	// Unsealed lets a session have frames that are not sealed. libzmq 4.3.4 may keep the
	// descriptor of such a connection for good, so of a process that is held to keep none
	// only ports without libzmq are to get them.
	Unsealed bool
}

// Move is one kind of thing that is sent.
type Move uint8

// The moves. Each but those within a session ends the connection.
const (
	Garbage    Move = iota // bytes instead of a greeting
	Greeting               // a greeting that is cut off, or changed
	Older                  // a greeting of ZMTP 1 or 2
	Mechanism              // a mechanism that is not there
	Handshake              // a command of the handshake, made up or changed
	Length                 // a frame that says that it is huge
	Flags                  // a frame with flags that do not exist
	Unfinished             // a frame that is not finished
	Command                // a command within a session
	Random                 // a message of random frames
	Mutated                // a good message with something changed
	Good                   // a good message
	Subscribe              // a subscription, or the end of one
	Word                   // a word of a reader, changed
	Request                // of HTTP
	moves
)

var moveNames = [moves]string{"garbage", "greeting", "older", "mechanism", "handshake", "length", "flags", "unfinished",
	"command", "random", "mutated", "good", "subscribe", "word", "request"}

func (m Move) String() string {
	if m < moves {
		return moveNames[m]
	}
	return "none"
}

// Tally is what was done to one port.
type Tally struct {
	Port        string
	Frames      uint64 // sent: greetings, commands, frames of messages and requests
	Connections uint64
	Refused     uint64 // connections that could not be made
	Cut         uint64 // connections that the other end closed first
	Bytes       uint64
	Moves       [moves]uint64
}
