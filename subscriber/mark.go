package subscriber

import "github.com/tapedeck/tapedeck/wire"

// MarkHandler is a Handler that takes marks as they come: who makes a stream whole
// again proves it with their sequences and rolling hashes.
type MarkHandler interface {
	// HandleMark takes the header of a hello, heartbeat or end mark, borrowed until
	// return. It is called as HandleBatch is: after HandleGap, before HandleSession
	// and HandleEnd.
	HandleMark(shard int, h *wire.Header)
}
