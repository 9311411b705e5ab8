package pirate

// Reason says why a queue could not have a request answered. It is what a client
// gets as the frame after the number frame.
type Reason string

// The reasons of a queue.
const (
	ReasonNoWorker Reason = "no worker took it in time"
	ReasonDeadline Reason = "no worker answered in time"
	ReasonDied     Reason = "the workers that had it died"
	ReasonFull     Reason = "the queue is full"
	ReasonTooLarge Reason = "the request is too large"
	ReasonStopping Reason = "the queue is stopping"
)
