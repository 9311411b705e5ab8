package titanic

import (
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Config is what a Titanic is opened with. The zero value of a field means its
// default.
type Config struct {
	// Dir is where the job log lies. It is made where it does not exist.
	Dir string
	// Take takes the log from a process that has it and is alive, which finds itself
	// fenced with its next write or look. Without it that is left alone: the error is
	// fsys.ErrLocked.
	Take bool
	// Signs is how often a sign of life is given, for the Watch of whoever would Take
	// the log. Default 0: none.
	Signs time.Duration
	// FS is the file system. Default: the machine's.
	FS fsys.FS
	// Endpoints of brokers. Without any, jobs are kept and nobody is asked.
	Endpoints []string
	// Context that an inproc broker is in; it is borrowed until Run returns.
	// Default: one of its own.
	Context *zsock.Context
	// Local: a broker lives in this process; see majordomo.ClientConfig.
	Local bool
	// Dispatch is how many jobs are asked for at once, and DispatchEach how many of
	// one service. Default 16, and half of Dispatch.
	Dispatch, DispatchEach int
	// Timeout is how long one attempt waits for its reply. Then the service is asked
	// again, so it must know a repeat if it takes longer. Default 1 min; brokers of
	// ours fail a request after its life, 30 s by default.
	Timeout time.Duration
	// Retry and RetryMax are the first and the longest wait between attempts for a
	// job. Default 1 s and 1 min.
	Retry, RetryMax time.Duration
	// Attempts is how often a service is asked for a job before it is failed.
	// Default 0: until the job expires.
	Attempts int
	// Expire is how long a job may wait for its reply, and how long a reply that
	// nobody closes is kept. Default 7 days.
	Expire time.Duration
	// Remember is how long a job that ended without a reply is listed, and how long
	// the key of any ended job is known; the number of a request that was closed is
	// known for 5 min at most. Default 1 h.
	Remember time.Duration
	// Jobs bounds the jobs that wait for a reply or have one, and how many are
	// remembered beside them. Default 100,000.
	Jobs int
	// Bytes bounds what the log keeps of all jobs; more jobs are refused. It has room
	// for as much again that is dead. Default 256 MiB.
	Bytes int64
	// JobBytes bounds the body of a job and its reply, bytes. Default 1 MiB: brokers
	// take no larger requests by default.
	JobBytes int64
	// SegmentBytes is the step in which disk space is reserved for the log. Default
	// 4 MiB.
	SegmentBytes int64
	// Concurrency is how many requests each of the three services answers at once:
	// they share syncs. Default 16.
	Concurrency int
	// Heartbeat is the interval of heartbeats, the broker's. Default 2.5 s.
	Heartbeat time.Duration
	// Liveness is for how many intervals the broker may be silent. Default 3.
	Liveness int
	// StopWait is how long Run waits for replies when it is to stop. Default 1 s.
	StopWait time.Duration
	// Salvage opens a log of which a part was lost on the disk; the damaged file is
	// kept. Without it such a log is refused with ErrDamaged.
	Salvage bool
}

// check fills in the defaults.
func (c *Config) check() error {
	if c.Dir == "" {
		return errors.New("titanic: a job log needs a directory")
	}
	if c.Dispatch < 0 || c.DispatchEach < 0 || c.Timeout < 0 || c.Retry < 0 || c.RetryMax < 0 || c.Attempts < 0 || c.Expire < 0 ||
		c.Remember < 0 || c.Jobs < 0 || c.Bytes < 0 || c.JobBytes < 0 || c.SegmentBytes < 0 || c.Concurrency < 0 || c.Heartbeat < 0 || c.Liveness < 0 || c.StopWait < 0 || c.Signs < 0 {
		return errors.New("titanic: a number of the configuration is negative")
	}
	if c.FS == nil {
		c.FS = fsys.OS{}
	}
	orDefault(&c.Dispatch, 16)
	orDefault(&c.DispatchEach, (c.Dispatch+1)/2)
	orDefault(&c.Timeout, time.Minute)
	orDefault(&c.Retry, time.Second)
	orDefault(&c.RetryMax, max(time.Minute, c.Retry))
	orDefault(&c.Expire, 7*24*time.Hour)
	orDefault(&c.Remember, time.Hour)
	orDefault(&c.Jobs, 100_000)
	orDefault(&c.Bytes, 256<<20)
	orDefault(&c.JobBytes, 1<<20)
	orDefault(&c.SegmentBytes, 4<<20)
	orDefault(&c.Concurrency, 16)
	orDefault(&c.Heartbeat, 2500*time.Millisecond)
	orDefault(&c.Liveness, 3)
	orDefault(&c.StopWait, time.Second)
	switch {
	case c.RetryMax < c.Retry:
		return errors.New("titanic: the longest wait between attempts is shorter than the first")
	case c.DispatchEach > c.Dispatch:
		return errors.New("titanic: more jobs of one service at once than of all")
	case c.JobBytes > BytesMax:
		return fmt.Errorf("titanic: a job has at most %d bytes, not %d", BytesMax, c.JobBytes)
	case c.SegmentBytes < segmentLeast:
		return fmt.Errorf("titanic: disk space is reserved in steps of at least %d bytes, not %d", segmentLeast, c.SegmentBytes)
	}
	return nil
}

// segmentLeast is the smallest step that makes sense: a page.
const segmentLeast = 4096

func orDefault[T int | int64 | time.Duration](v *T, d T) {
	if *v == 0 {
		*v = d
	}
}
