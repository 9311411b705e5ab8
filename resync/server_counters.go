package resync

// ServerCounters are what a Server has counted.
type ServerCounters struct {
	Refills, Finds, Snapshots uint64 // requests taken in
	Ended                     uint64 // ... and ended with all that was asked for
	Cancelled                 uint64 // ... and cancelled by the client
	Unreachable               uint64 // ... whose client was gone
	Errors                    ErrorCounters

	Records uint64 // sent, of refills and snapshots
	Bytes   uint64 // of those: payload and order, or payload and places
	Chunks  uint64 // messages that they were in
	Pongs   uint64

	Reads     uint64 // asked of the tape readers
	Redone    uint64 // ... and given to another one, because the first one died
	Unread    uint64 // ... and failed in the pool
	Abandoned uint64 // ... whose request was over when they came back
	BadReads  uint64 // answers of tape readers that made no sense
	Throttled uint64 // times that the I/O budget made something wait
	Captures  uint64 // snapshots taken
	Shared    uint64 // requests that were served by another one's capture

	Foreign   uint64 // messages of no protocol that is served here
	Malformed uint64 // messages of this protocol that break it
	Repeated  uint64 // requests with an id that was running
	Stray     uint64 // credit and cancels for requests that do not run
	Dropped   uint64 // errors and pongs that the client does not read
	Full      uint64 // times that a client's queue was full, though it had credit
	Fallbacks uint64 // requests handed to the fallback
	Declined  uint64 // ... or not, because too many ran
}

// ErrorCounters are requests that were answered with an error, by code.
type ErrorCounters struct {
	BadRequest, Version, UnknownEpoch, Gone, NotYet, Deadline, Busy, NotServed, Failed, Stopping uint64
}

func (c *ErrorCounters) add(code Code) {
	switch code {
	case CodeBadRequest:
		c.BadRequest++
	case CodeVersion:
		c.Version++
	case CodeUnknownEpoch:
		c.UnknownEpoch++
	case CodeGone:
		c.Gone++
	case CodeNotYet:
		c.NotYet++
	case CodeDeadline:
		c.Deadline++
	case CodeBusy:
		c.Busy++
	case CodeNotServed:
		c.NotServed++
	case CodeStopping:
		c.Stopping++
	default:
		c.Failed++
	}
}

// Total is how many requests were answered with an error.
func (c *ErrorCounters) Total() uint64 {
	return c.BadRequest + c.Version + c.UnknownEpoch + c.Gone + c.NotYet + c.Deadline + c.Busy + c.NotServed + c.Failed + c.Stopping
}

// ServerState is what a Server holds at a moment.
type ServerState struct {
	Clients  int // with requests
	Requests int
	Reading  int   // reads that are with the tape readers
	Bytes    int64 // read or captured, and not sent
	Readers  int   // tape readers
}
