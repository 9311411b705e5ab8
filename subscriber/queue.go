package subscriber

import "time"

const (
	queueBytesDefault = 64 << 20
	queueBytesMin     = 8 << 20
	queueBytesMax     = 256 << 20
	batchBytesDefault = 256 << 10 // a full batch of a publisher's defaults
	queueLenMin       = 8

	// recordOverhead is what a record has beside its body, bytes: head and a topic
	// of common length.
	recordOverhead = 40
	// sendInterval is how often a paced publisher sends, about: what came due in
	// between is one batch.
	sendInterval = 100 * time.Microsecond
	// stallDefault is how long a reader may be held up and yet miss nothing.
	stallDefault = time.Second
)

// queueLength is libzmq's receive high-water mark, messages: libzmq counts
// messages, memory is bytes. It is not changed while the stream runs. A reader
// reports what it has taken every half queue, by the mark that it knows; were the
// mark raised while the queue is full, it would go on counting to the new half,
// and the other side would wait for ever: libzmq 4.3.4 does.
func queueLength(cfg *Config) int {
	return max(int(cfg.QueueBytes/int64(cfg.BatchBytes)), queueLenMin)
}

// Expect is how much is expected to come; queues are sized from it.
type Expect struct {
	// RecordsPerSecond is the rate over all shards, in the busiest second.
	RecordsPerSecond float64
	// BodyBytes is the mean size of a body. Default 100.
	BodyBytes int
	// Stall is how long a reader may be held up. Default one second.
	Stall time.Duration
}

// Queue returns Config.QueueBytes and Config.BatchBytes for a stream of n shards.
// The queue of a shard holds what comes in Stall, from 8 to 256 MiB. A batch is
// what comes due in 100 us, from one record to 256 KiB: a publisher that paces
// sends small batches, one at full speed large ones.
//
// Should batches be larger than expected, the queue holds more bytes: the number
// of messages is what libzmq bounds.
func (e Expect) Queue(shards int) (queueBytes int64, batchBytes int) {
	if e.BodyBytes == 0 {
		e.BodyBytes = 100
	}
	if e.Stall == 0 {
		e.Stall = stallDefault
	}
	record := float64(e.BodyBytes + recordOverhead)
	perSecond := e.RecordsPerSecond / float64(max(shards, 1)) * record
	queue := min(max(perSecond*e.Stall.Seconds(), queueBytesMin), queueBytesMax)
	batch := min(max(perSecond*sendInterval.Seconds(), record), batchBytesDefault)
	return int64(queue), int(batch)
}
