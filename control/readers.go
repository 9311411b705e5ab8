package control

// ReaderState is who reads a deck: the value of the key /reader/DECK/ID, too, and,
// but for Deck, the message reader of play --readers.
type ReaderState struct {
	Deck string `json:"deck"`
	// ID is the reader's id in hexadecimal, "" where it has not said one.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Verdict is ok, lagging, snail, stuck or gone, since Since.
	Verdict string `json:"verdict"`
	Since   int64  `json:"since"`
	// Lag and Lost are the greatest lag that it reports, and what it misses.
	Lag  int64  `json:"lag_ns"`
	Lost uint64 `json:"lost"`
	// QueuedBytes wait for it in this machine's TCP queues, over all shards.
	QueuedBytes int64              `json:"queued_bytes"`
	Connections []ReaderConnection `json:"connections,omitempty"` // one a shard
}

// ReaderConnection is a reader on one shard.
type ReaderConnection struct {
	Shard       int    `json:"shard"`
	Peer        string `json:"peer,omitempty"`
	Verdict     string `json:"verdict"`
	Cause       string `json:"cause"`
	Lag         int64  `json:"lag_ns"`
	Lost        uint64 `json:"lost"`
	Reported    int64  `json:"reported"` // when it said so
	QueuedBytes int64  `json:"queued_bytes"`
	Stalled     int64  `json:"stalled_ns"` // how long it has taken nothing
	Observed    int64  `json:"observed"`   // when that was seen
}

// ReadersList is what list answers: the readers of one deck, or of all where none
// was named; by deck, then name.
type ReadersList struct {
	Readers []ReaderState `json:"readers"`
}
