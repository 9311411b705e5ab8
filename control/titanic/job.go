package titanic

import (
	"errors"
	"fmt"
	"time"
)

// Errors of jobs.
var (
	// ErrUnknown: there is no such job, or none any more.
	ErrUnknown = errors.New("titanic: no such job")
	// ErrJob: the job cannot be taken as it is.
	ErrJob = errors.New("titanic: bad job")
	// ErrKey: another job, with other content, was added with the key.
	ErrKey = errors.New("titanic: the key belongs to another job")
	// ErrFull: as many jobs or bytes are held as may be.
	ErrFull = errors.New("titanic: full")
	// ErrState: the job is not in a state that allows it.
	ErrState = errors.New("titanic: not in this state")
	// ErrClosed: the log was closed.
	ErrClosed = errors.New("titanic: closed")
)

// Bounds of what a job may have.
const (
	ServiceMax = 255       // bytes of a service's name
	KeyMax     = 255       // bytes of a key
	NoteMax    = 4096      // bytes of a note
	FramesMax  = 8         // frames of a body or a reply: with addresses around them no message has more than brokers take
	BytesMax   = 256 << 20 // bytes of a body or a reply, however a Titanic is configured
)

// Job is what is to be done.
type Job struct {
	// Service that is asked, by its name on the bus.
	Service string
	// Body is what it is asked, in frames; at least one. It is copied.
	Body [][]byte
	// Key makes adding safe to repeat: while the job is remembered, adding one with
	// the same key gives the same ID. Empty: every call adds another job.
	Key string
	// Note is for people.
	Note string
	// NotBefore is when the job may begin. Zero: at once.
	NotBefore time.Time
	// Expires is when a job that is not answered ends. Zero: Config.Expire after it
	// was added or may begin, whichever is later.
	Expires time.Time
}

// State is how far a job has come.
type State uint8

// The states. A job begins as Stored, and from Answered on does not go back.
const (
	Stored     State = iota + 1 // nobody was asked yet
	Dispatched                  // the service was asked, and may have done it
	Answered                    // the reply is kept
	Cancelled                   // by command, before there was a reply
	Expired                     // no reply came in time, or nobody fetched it
	Failed                      // asked as often as may be
	Closed                      // the reply was taken; only the key is remembered
)

var stateNames = [...]string{Stored: "stored", Dispatched: "dispatched", Answered: "answered", Cancelled: "cancelled",
	Expired: "expired", Failed: "failed", Closed: "closed"}

// String returns the state in lower case, as it stands in JSON.
func (s State) String() string {
	if int(s) < len(stateNames) && stateNames[s] != "" {
		return stateNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// MarshalText implements encoding.TextMarshaler.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *State) UnmarshalText(text []byte) error {
	for i, name := range stateNames {
		if name != "" && name == string(text) {
			*s = State(i)
			return nil
		}
	}
	return fmt.Errorf("titanic: no state is called %q", text)
}

// Pending reports whether a reply is still to come.
func (s State) Pending() bool { return s == Stored || s == Dispatched }

// Info says how a job fares. Times that are not known are zero.
type Info struct {
	ID         ID        `json:"id"`
	Number     uint64    `json:"number"` // jobs of a log count up, in the order in which they were added
	Service    string    `json:"service"`
	Key        string    `json:"key,omitempty"`
	Note       string    `json:"note,omitempty"`
	State      State     `json:"state"`
	Attempt    int       `json:"attempt"` // how often the service was asked
	Added      time.Time `json:"added_time"`
	NotBefore  time.Time `json:"not_before_time,omitzero"`
	Expires    time.Time `json:"expires_time,omitzero"` // when it ends, or a reply that nobody fetches goes
	Ended      time.Time `json:"ended_time,omitzero"`   // when it was answered or ended
	Reason     string    `json:"reason,omitempty"`      // why it ended, or why the last attempt did
	BodyBytes  int       `json:"body_bytes"`            // kept, without frame sizes: 0 once there is a reply
	ReplyBytes int       `json:"reply_bytes"`           // kept
}

// check looks whether a job may be taken at all. bytes is the most that its body
// may have.
func (j *Job) check(bytes int64) error {
	size := int64(0)
	for _, f := range j.Body {
		size += int64(len(f))
	}
	switch {
	case j.Service == "" || len(j.Service) > ServiceMax:
		return fmt.Errorf("%w: a service's name has 1 to %d bytes, this one %d", ErrJob, ServiceMax, len(j.Service))
	case len(j.Body) == 0 || len(j.Body) > FramesMax:
		return fmt.Errorf("%w: a body has 1 to %d frames, this one %d", ErrJob, FramesMax, len(j.Body))
	case len(j.Key) > KeyMax:
		return fmt.Errorf("%w: a key has at most %d bytes, this one %d", ErrJob, KeyMax, len(j.Key))
	case len(j.Note) > NoteMax:
		return fmt.Errorf("%w: a note has at most %d bytes, this one %d", ErrJob, NoteMax, len(j.Note))
	case size > bytes:
		return fmt.Errorf("%w: a body has at most %d bytes, this one %d", ErrJob, bytes, size)
	case !j.Expires.IsZero() && !j.NotBefore.IsZero() && !j.Expires.After(j.NotBefore):
		return fmt.Errorf("%w: it would expire at %v, before it may begin", ErrJob, j.Expires.UTC().Format(time.RFC3339))
	}
	return nil
}
