package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/titanic"
)

// jobLife is how long a job may be at work: longer than any is.
const jobLife = 10 * 365 * 24 * time.Hour

// jobKinds are the kinds of jobs, and who does them.
var jobKinds = map[string]string{
	control.JobImport: control.ServiceJobImport,
	control.JobExport: control.ServiceJobExport,
	control.JobRecord: control.ServiceJobRecord,
}

// jobService is the service job, over a log of jobs that outlives the process.
type jobService struct {
	log    *titanic.Titanic
	runner *jobRunner

	mu    sync.Mutex
	codes map[titanic.ID]control.Code // of replies, which do not change
}

func (j *jobService) commands() []control.Command {
	return []control.Command{
		{Name: "add", Summary: "store a job, to be done once, whatever dies meanwhile", Do: control.With(j.add)},
		busLookup("list", "the jobs, the newest first", j.list),
		busLookup("show", "a job as it is", j.show),
		busLookup("wait", "a job when it has ended", j.wait),
		busCommand("cancel", "end a job that is not through", j.cancel),
	}
}

// jobNote is what a job's note is in the log: what people wrote, and what is to be
// done, for those who look at it later.
type jobNote struct {
	Note string          `json:"note,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
}

// The beginnings of keys in the log: those that people gave, and those of requests
// that came without.
const (
	givenKey   = "key "
	requestKey = "request "
)

func (j *jobService) add(ctx context.Context, r *control.Request, a *control.JobAdd) (any, error) {
	state, err := j.put(ctx, r, a)
	if err != nil {
		return nil, jobError(err)
	}
	return state, nil
}

func (j *jobService) put(ctx context.Context, r *control.Request, a *control.JobAdd) (*control.JobAdded, error) {
	service := jobKinds[a.Kind]
	if service == "" {
		return nil, usagef("kind %q: want import, export or record", a.Kind)
	}
	now := time.Now()
	job := titanic.Job{Service: service, Key: givenKey + a.Key}
	if a.Key == "" {
		// The same request adds the same job, also when this process has begun anew.
		job.Key = fmt.Sprintf("%s%v %d", requestKey, r.Client, r.Number)
	}
	var err error
	if job.NotBefore, err = moment("at", a.At, now); err != nil {
		return nil, err
	}
	if job.Expires, err = moment("expires", a.Expires, now); err != nil {
		return nil, err
	}
	if len(a.Args) == 0 {
		a.Args = json.RawMessage("{}")
	}
	if err := j.runner.check(a.Kind, a.Args, job.NotBefore.After(now)); err != nil {
		return nil, err
	}
	key := jobKey(job.Key)
	if job.Body, err = control.AppendRequest(nil, &control.Request{Client: key.Client, Number: key.Number, Command: runName, Args: a.Args}); err != nil {
		return nil, usageError{err}
	}
	note, err := json.Marshal(jobNote{a.Note, a.Args})
	if err == nil && len(note) > titanic.NoteMax {
		note, err = json.Marshal(jobNote{Note: a.Note})
	}
	if err != nil {
		return nil, err
	}
	job.Note = string(note)
	id, created, err := j.log.Add(ctx, job)
	if err != nil {
		return nil, err
	}
	state, err := j.stateOf(id)
	if err != nil {
		return nil, err
	}
	return &control.JobAdded{JobState: *state, Created: created}, nil
}

// jobKey is the client and number that a job's request has, however often it is sent.
func jobKey(key string) control.Key {
	sum := sha256.Sum256([]byte("tapedeck job\x00" + key))
	return control.Key{Client: control.ClientID(sum[:len(control.ClientID{})]), Number: 1}
}

// moment reads when: a time, or + and a duration from now; zero where nothing is
// said.
func moment(what, text string, now time.Time) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	p, err := control.ParsePlace(text)
	switch {
	case err != nil:
	case p.Kind == control.AtTime:
		return time.Unix(0, p.Time), nil
	case p.Kind == control.ByDistance && p.Offset >= 0:
		return now.Add(p.Offset), nil
	}
	return time.Time{}, usagef("%s %q: want RFC 3339 such as 2023-12-25T14:30:00Z, nanoseconds since 1970, or + and a duration such as +2h", what, text)
}

// jobError says the log's errors in the words of the bus.
func jobError(err error) error {
	for _, e := range []struct {
		err  error
		code control.Code
		try  string
	}{
		{titanic.ErrUnknown, control.NotFound, "tapedeck job list shows what there is"},
		{titanic.ErrKey, control.Refused, "choose another key, or leave it out"},
		{titanic.ErrFull, control.Busy, "wait until jobs have ended, or raise jobs.max or jobs.bytes"},
		{titanic.ErrState, control.Refused, "tapedeck job show tells what came of it"},
		{titanic.ErrFenced, control.NotAvailable, "another process has the jobs now: say it again, with the same client and number"},
		{titanic.ErrClosed, control.NotAvailable, "say it again, with the same client and number"},
		{titanic.ErrJob, control.BadRequest, "docs/CONTROL.md has what a job takes"},
	} {
		if errors.Is(err, e.err) {
			return &control.Error{Code: e.code, Reason: firstLine(err.Error()), Try: e.try}
		}
	}
	return commandError(err)
}

// stateOf is a job as it is.
func (j *jobService) stateOf(id titanic.ID) (*control.JobState, error) {
	info, reply, err := j.log.Get(id)
	if err != nil {
		return nil, jobError(err)
	}
	return j.state(&info, reply), nil
}

// jobStates are the log's states in the words of the bus.
var jobStates = map[titanic.State]string{
	titanic.Stored: "stored", titanic.Dispatched: "running", titanic.Answered: "done", titanic.Failed: "failed",
	titanic.Cancelled: "cancelled", titanic.Expired: "expired",
}

// state is a job in the words of the bus; reply is that of one that was answered.
func (j *jobService) state(info *titanic.Info, reply [][]byte) *control.JobState {
	s := &control.JobState{
		ID: info.ID.String(), Kind: strings.TrimPrefix(info.Service, "job."), State: jobStates[info.State], Attempts: info.Attempt,
		AddedTime: unixNano(info.Added), AtTime: unixNano(info.NotBefore), ExpireTime: unixNano(info.Expires), EndedTime: unixNano(info.Ended),
		Reason: info.Reason,
	}
	if key, ok := strings.CutPrefix(info.Key, givenKey); ok {
		s.Key = key
	}
	var note jobNote
	if json.Unmarshal([]byte(info.Note), &note) == nil {
		s.Note, s.Args = note.Note, note.Args
	} else {
		s.Note = info.Note
	}
	if info.State != titanic.Answered {
		return s
	}
	r, err := control.ParseReply(reply)
	if err != nil {
		r.Code, r.Reason = control.Failed, err.Error()
	}
	s.Code, s.Reason, s.Try, s.Result = r.Code, r.Reason, r.Try, r.Result
	if r.Code != control.Done {
		s.State = "failed"
	}
	j.mu.Lock()
	j.codes[info.ID] = r.Code
	j.mu.Unlock()
	return s
}

func unixNano(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

// listMax is how many jobs are listed, so that they fit in a reply.
const listMax = 1000

func (j *jobService) list(context.Context, *struct{}) (any, error) {
	infos, err := j.log.List()
	if err != nil {
		return nil, jobError(err)
	}
	slices.Reverse(infos)
	j.forget(infos)
	list := control.JobList{Jobs: []control.JobState{}, More: max(0, len(infos)-listMax)}
	for i := range infos[:min(len(infos), listMax)] {
		s, err := j.brief(&infos[i])
		if err != nil {
			return nil, err
		}
		if s != nil {
			s.Args, s.Result = nil, nil
			list.Jobs = append(list.Jobs, *s)
		}
	}
	return list, nil
}

// brief is a job's state, with the reply read where it has one; nil where the job was
// closed meanwhile.
func (j *jobService) brief(info *titanic.Info) (*control.JobState, error) {
	if info.State != titanic.Answered {
		return j.state(info, nil), nil
	}
	now, reply, err := j.log.Get(info.ID)
	if errors.Is(err, titanic.ErrUnknown) {
		return nil, nil
	}
	if err != nil {
		return nil, jobError(err)
	}
	return j.state(&now, reply), nil
}

// forget lets go of codes of jobs that are there no more.
func (j *jobService) forget(there []titanic.Info) {
	known := make(map[titanic.ID]bool, len(there))
	for i := range there {
		known[there[i].ID] = true
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for id := range j.codes {
		if !known[id] {
			delete(j.codes, id)
		}
	}
}

// counts are the jobs by state.
func (j *jobService) counts() (c control.JobCounts) {
	infos, err := j.log.List()
	if err != nil {
		return c
	}
	j.forget(infos)
	for i := range infos {
		state := jobStates[infos[i].State]
		j.mu.Lock()
		code, known := j.codes[infos[i].ID]
		j.mu.Unlock()
		switch {
		case infos[i].State != titanic.Answered:
		case known && code != control.Done:
			state = "failed"
		case !known:
			s, err := j.brief(&infos[i])
			if err != nil || s == nil {
				continue
			}
			state = s.State
		}
		addJob(&c, state)
	}
	return c
}

func addJob(c *control.JobCounts, state string) {
	switch state {
	case "stored":
		c.Stored++
	case "running":
		c.Running++
	case "done":
		c.Done++
	case "failed":
		c.Failed++
	case "cancelled":
		c.Cancelled++
	case "expired":
		c.Expired++
	}
}

// countJobs counts a list.
func countJobs(list []control.JobState) (c control.JobCounts) {
	for i := range list {
		addJob(&c, list[i].State)
	}
	return c
}

func (j *jobService) show(_ context.Context, a *control.JobOf) (any, error) {
	id, err := titanic.ParseID(a.ID)
	if err != nil {
		return nil, jobError(err)
	}
	s, err := j.stateOf(id)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (j *jobService) wait(ctx context.Context, a *control.JobOf) (any, error) {
	id, err := titanic.ParseID(a.ID)
	if err != nil {
		return nil, jobError(err)
	}
	info, reply, err := j.log.Wait(ctx, id)
	if err != nil {
		return nil, jobError(err)
	}
	return j.state(&info, reply), nil
}

func (j *jobService) cancel(_ context.Context, a *control.JobOf) (any, error) {
	id, err := titanic.ParseID(a.ID)
	if err != nil {
		return nil, jobError(err)
	}
	if err := j.log.Cancel(id); err != nil {
		return nil, jobError(err)
	}
	s, err := j.stateOf(id)
	if err != nil {
		return nil, err
	}
	info, _, err := j.log.Get(id)
	if err != nil {
		return nil, jobError(err)
	}
	j.runner.cancel(jobKey(info.Key))
	return s, nil
}
