package resync

// Counters are what a healing has done.
type Counters struct {
	Gaps         uint64          // times that something was found missing
	Healed       uint64          // ... and all of it was refilled
	Requests     uint64          // refills that were asked for
	Retries      uint64          // ... again, because the one before had failed or brought nothing
	Refilled     uint64          // records delivered from refills
	RefillBytes  uint64          // payload and order of the batches that they came in
	Held         uint64          // batches held
	HeldPeak     int64           // the most bytes held at one time
	Evicted      uint64          // records that were held, or would have been, and were dropped for want of room
	Repeated     uint64          // records that came again and were dropped
	Stale        uint64          // batches of an epoch that had been left
	Epochs       uint64          // epochs begun
	GaveUp       uint64          // times that what was missing was given up
	Lost         uint64          // records given up
	LostBy       [reasons]uint64 // ... by Reason
	Broken       uint64          // epochs whose end is not known
	Diverged     uint64          // times that the live stream's rolling hash, or a refill's digest, differed
	Contradicted uint64          // batches beyond the end of their epoch, as it was said
}

// add adds what o has counted; of peaks the greater one stays.
func (c *Counters) add(o *Counters) {
	c.Gaps += o.Gaps
	c.Healed += o.Healed
	c.Requests += o.Requests
	c.Retries += o.Retries
	c.Refilled += o.Refilled
	c.RefillBytes += o.RefillBytes
	c.Held += o.Held
	c.HeldPeak = max(c.HeldPeak, o.HeldPeak)
	c.Evicted += o.Evicted
	c.Repeated += o.Repeated
	c.Stale += o.Stale
	c.Epochs += o.Epochs
	c.GaveUp += o.GaveUp
	c.Lost += o.Lost
	for i, n := range o.LostBy {
		c.LostBy[i] += n
	}
	c.Broken += o.Broken
	c.Diverged += o.Diverged
	c.Contradicted += o.Contradicted
}
