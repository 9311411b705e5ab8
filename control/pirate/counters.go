package pirate

// QueueCounters are what a Queue has counted.
type QueueCounters struct {
	Requests uint64 // taken in
	Answered uint64 // ... and answered by a worker
	Requeued uint64 // ... and given to another worker, because the first one died

	// Requests that were failed or refused, by reason; a client that sent a number
	// frame was told.
	FailedNoWorker, FailedDeadline, FailedDied, FailedFull, FailedTooLarge, FailedStopping uint64

	Malformed   uint64 // messages that are none of the protocol, from either side
	Late        uint64 // replies to requests that were answered or failed before
	Unasked     uint64 // replies for a client whose request the worker did not have
	Unreachable uint64 // replies whose client was gone
	Dropped     uint64 // replies whose client does not read

	Joined    uint64 // workers listed
	Left      uint64 // workers that said they leave
	Expired   uint64 // workers that fell silent or could not be reached
	Strangers uint64 // heartbeats and replies of workers that are not listed
	Refused   uint64 // workers beyond the bound
}

// Failed is how many requests were failed or refused, for whatever reason.
func (c *QueueCounters) Failed() uint64 {
	return c.FailedNoWorker + c.FailedDeadline + c.FailedDied + c.FailedFull + c.FailedTooLarge + c.FailedStopping
}

func (c *QueueCounters) failed(r Reason) {
	switch r {
	case ReasonNoWorker:
		c.FailedNoWorker++
	case ReasonDeadline:
		c.FailedDeadline++
	case ReasonDied:
		c.FailedDied++
	case ReasonFull:
		c.FailedFull++
	case ReasonTooLarge:
		c.FailedTooLarge++
	case ReasonStopping:
		c.FailedStopping++
	}
}

// QueueState is what a Queue holds at a moment.
type QueueState struct {
	Workers int // listed: ready, at work, or silent at work
	Ready   int
	Waiting int // requests that no worker has
	Open    int // requests taken in and not closed
	Bytes   int // of those
}

// WorkerCounters are what a Worker has counted.
type WorkerCounters struct {
	Requests  uint64 // handled
	Connected uint64 // times that it offered itself to a queue
	Lost      uint64 // times that the queue fell silent
	Dismissed uint64 // times that the queue said it sends no more, or does not know this worker
	Malformed uint64 // messages that are none of the protocol
	Unsent    uint64 // replies that the queue would not take
	Overdue   uint64 // requests whose handling took longer than it may
}

// ClientCounters are what a Client has counted.
type ClientCounters struct {
	Requests   uint64 // answered or not
	Tries      uint64 // times that one was sent
	Unanswered uint64 // tries that ended by timeout
	Failed     uint64 // tries that a queue answered with a reason
	Mismatched uint64 // replies that were none to the request that was open, and were dropped
}
