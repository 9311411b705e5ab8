package majordomo

// BrokerCounters are what a Broker has counted.
type BrokerCounters struct {
	Requests uint64 `json:"requests"` // taken in
	Answered uint64 `json:"answered"` // ... and answered by a worker
	Requeued uint64 `json:"requeued"` // ... and given to another worker, because the first one died
	Repeated uint64 `json:"repeated"` // requests that were here already, by their number; not taken in again
	Own      uint64 `json:"own"`      // answered by the broker itself: mmi. and tapedeck.broker.

	// Requests that were failed or refused, by reason; a client that sent a number
	// frame was told.
	FailedNoWorker uint64 `json:"failed_no_worker"`
	FailedDeadline uint64 `json:"failed_deadline"`
	FailedDied     uint64 `json:"failed_died"`
	FailedFull     uint64 `json:"failed_full"`
	FailedTooLarge uint64 `json:"failed_too_large"`
	FailedStopping uint64 `json:"failed_stopping"`
	FailedPassive  uint64 `json:"failed_passive"`

	Malformed   uint64 `json:"malformed"`   // messages that are none of the protocol, from either side
	Late        uint64 `json:"late"`        // replies to requests that were answered or failed before
	Unasked     uint64 `json:"unasked"`     // replies for a client whose request the worker did not have
	Unreachable uint64 `json:"unreachable"` // replies whose client was gone
	Dropped     uint64 `json:"dropped"`     // replies whose client does not read

	Joined    uint64 `json:"joined"`    // workers listed
	Left      uint64 `json:"left"`      // workers that said they leave
	Expired   uint64 `json:"expired"`   // workers that fell silent or could not be reached
	Strangers uint64 `json:"strangers"` // heartbeats and replies of workers that are not listed
	NoRight   uint64 `json:"no_right"`  // messages that BrokerConfig.May did not allow
	Refused   uint64 `json:"refused"`   // workers beyond the bound, of a reserved name, or that said READY twice
}

// Failed is how many requests were failed or refused, for whatever reason.
func (c *BrokerCounters) Failed() uint64 {
	return c.FailedNoWorker + c.FailedDeadline + c.FailedDied + c.FailedFull + c.FailedTooLarge + c.FailedStopping + c.FailedPassive
}

// BrokerState is what a Broker holds at a moment.
type BrokerState struct {
	Services []ServiceState // in the order of their names
	Workers  int            // of all services, those that were lost not counted
	Waiting  int            // requests that no worker has
	Open     int            // requests taken in and neither answered nor failed
	Bytes    int            // of those
}

// ServiceState is what a Broker knows of a service at a moment.
type ServiceState struct {
	Service string `json:"service"`
	Workers int    `json:"workers"` // that live: ready or at work
	Busy    int    `json:"busy"`    // of those, at work
	Waiting int    `json:"waiting"` // requests that no worker has
}

// WorkerCounters are what a Worker has counted, over all its registrations.
type WorkerCounters struct {
	Requests  uint64 // handled
	Connected uint64 // times that a registration offered itself to a broker
	Lost      uint64 // times that the broker fell silent, or was connected to anew
	Dismissed uint64 // times that the broker sent DISCONNECT
	Malformed uint64 // messages that are none of the protocol
	Unsent    uint64 // replies that could not be sent
	Overdue   uint64 // requests whose handling took longer than it may
}

// ClientCounters are what a Client has counted.
type ClientCounters struct {
	Requests   uint64 // given to it
	Answered   uint64 // ... and answered
	GivenUp    uint64 // ... and not
	Sent       uint64 // times that one was sent
	Unanswered uint64 // tries that ended by timeout
	Failed     uint64 // tries that a broker answered with a reason
	Resent     uint64 // times that one was sent again because the connection was a new one
	Connected  uint64 // connections that were opened or came back
	Moved      uint64 // times that another one of several brokers was found to take requests
	Silent     uint64 // times that one of several brokers did not say that it is there
	Late       uint64 // replies to requests that nobody waits for any more
	Mismatched uint64 // replies without a number that could be to several requests; those were sent again
	Malformed  uint64 // messages that are none of the protocol
}

func (c *BrokerCounters) failed(r Reason) {
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
	case ReasonPassive:
		c.FailedPassive++
	}
}
