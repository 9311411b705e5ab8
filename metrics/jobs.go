package metrics

import "github.com/tapedeck/tapedeck/control/titanic"

// Jobs shows durable jobs: the Counters method of a *titanic.Titanic.
func (sc *Scope) Jobs(counters func() titanic.Counters) {
	sc.add(func(e *emitter) {
		c := counters()
		rows(e, jobsTable, &c)
		for _, x := range jobEnds {
			e.add(jobsEnded, count(x.of(&c)), x.how)
		}
	})
}

var jobsEnded = counter("jobs_ended_total", "jobs", "Jobs that ended, by how: closed, cancelled, expired or failed.", "how")

var jobEnds = []struct {
	how string
	of  func(*titanic.Counters) uint64
}{
	{"closed", func(c *titanic.Counters) uint64 { return c.Closed }},
	{"cancelled", func(c *titanic.Counters) uint64 { return c.Cancelled }},
	{"expired", func(c *titanic.Counters) uint64 { return c.Expired }},
	{"failed", func(c *titanic.Counters) uint64 { return c.Failed }},
}

type jobs = titanic.Counters

var jobsTable = []column[jobs]{
	{counter("jobs_added_total", "jobs", "Jobs taken in."), func(c *jobs) float64 { return count(c.Added) }},
	{counter("jobs_repeated_total", "jobs", "Jobs that were there already, by their key."), func(c *jobs) float64 { return count(c.Repeated) }},
	{counter("jobs_refused_total", "jobs", "Jobs refused: bad, too large, or no room."), func(c *jobs) float64 { return count(c.Refused) }},
	{counter("jobs_disk_errors_total", "requests", "Requests that failed because the disk did."), func(c *jobs) float64 { return count(c.Errors) }},
	{counter("jobs_dispatched_total", "requests", "Times that a service was asked to do a job."), func(c *jobs) float64 { return count(c.Dispatched) }},
	{counter("jobs_unanswered_total", "requests", "Times that a service was asked to do a job and did not answer."), func(c *jobs) float64 { return count(c.Unanswered) }},
	{counter("jobs_unsettled_total", "requests", "Times that a service answered that it is to be asked again."), func(c *jobs) float64 { return count(c.Unsettled) }},
	{counter("jobs_answered_total", "jobs", "Jobs whose reply was stored."), func(c *jobs) float64 { return count(c.Answered) }},
	{counter("jobs_late_replies_total", "replies", "Replies to jobs that had ended meanwhile."), func(c *jobs) float64 { return count(c.Late) }},
	{counter("jobs_malformed_requests_total", "requests", "Requests to the services of jobs that are none."), func(c *jobs) float64 { return count(c.Malformed) }},
	{counter("jobs_log_syncs_total", "syncs", "Syncs of the job log; several jobs share one."), func(c *jobs) float64 { return count(c.Syncs) }},
	{counter("jobs_log_compactions_total", "compactions", "Times that the job log was written anew without what is over."), func(c *jobs) float64 { return count(c.Compactions) }},
	{counter("jobs_log_failed_compactions_total", "compactions", "Times that writing the job log anew failed."), func(c *jobs) float64 { return count(c.CompactionsFailed) }},
	{counter("jobs_log_reopened_total", "times", "Times that the job log was opened again because the disk had failed."), func(c *jobs) float64 { return count(c.Reopened) }},
	{counter("jobs_fenced_total", "times", "Times that another process took the jobs away, because this one gave no sign of life."), func(c *jobs) float64 { return count(c.Fenced) }},
	{counter("jobs_signs_failed_total", "signs", "Signs of life for other processes with the same jobs that the disk failed."), func(c *jobs) float64 { return count(c.SignsFailed) }},
	{gauge("jobs_epoch", "epoch", "Epoch of the job log; 0: another process has the jobs."), func(c *jobs) float64 { return count(c.Epoch) }},
	{gauge("jobs_pending", "jobs", "Jobs that wait for a reply."), func(c *jobs) float64 { return count(c.Pending) }},
	{gauge("jobs_waiting_replies", "replies", "Replies that wait to be taken."), func(c *jobs) float64 { return count(c.Waiting) }},
	{gauge("jobs_remembered", "jobs", "Jobs that ended and whose keys are known."), func(c *jobs) float64 { return count(c.Remembered) }},
	{gauge("jobs_at_work", "jobs", "Jobs that a service is at."), func(c *jobs) float64 { return count(c.Flying) }},
	{gauge("jobs_log_live_bytes", "bytes", "Bytes of the job log that are needed."), func(c *jobs) float64 { return count(c.LiveBytes) }},
	{gauge("jobs_log_used_bytes", "bytes", "Bytes of the job log that are written."), func(c *jobs) float64 { return count(c.UsedBytes) }},
	{gauge("jobs_log_bytes", "bytes", "Bytes of the job log's file."), func(c *jobs) float64 { return count(c.LogBytes) }},
}
