package control

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
)

// ServiceConfig is what a Service is made from. The zero value of a field means
// its default.
type ServiceConfig struct {
	// Replies, Bytes and Life bound what is kept of replies: how many, how many
	// bytes, how long. A request that comes again after its reply has been let go is
	// done again. Default 65,536, 64 MiB (2 MiB at least) and 10 minutes.
	Replies int
	Bytes   int64
	Life    time.Duration
	// Store, where there is one, keeps the replies of commands that change
	// something beyond the life of this process. It is borrowed until Close.
	Store ReplyStore
	// StoreFailed is told of an error of the Store: the command was done, and would
	// be done again. Default: it is counted alone.
	StoreFailed func(error)
	// Running bounds how many commands are at work. Default 256.
	Running int
	// Deadline is for requests that have none. Default 30 s.
	Deadline time.Duration
	// Patience is how long a request waits for its command before it is answered
	// with Pending. It must be shorter than a client's try, and than a broker keeps a
	// request. Default 1 s.
	Patience time.Duration
}

// Service does commands, each once, however often it is asked. Any goroutine may
// use it.
//
// A command is known by client and number. While it is at work, and as long as its
// reply is kept, whoever says it again waits for it, or gets the same reply; who
// says another command under the same client and number is refused. Its arguments
// are compared as JSON values: the order of keys and white space do not count.
type Service struct {
	name     string
	cfg      ServiceConfig
	commands map[string]*Command
	now      func() time.Time // for tests

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	atWork  int
	replies replies
	count   ServiceCounters
}

// ServiceCounters are what a Service has counted.
type ServiceCounters struct {
	Requests  uint64 `json:"requests"`  // received
	Begun     uint64 `json:"begun"`     // commands that were done
	Repeated  uint64 `json:"repeated"`  // requests that were answered with a reply that was kept
	Joined    uint64 `json:"joined"`    // requests for a command that was at work
	Pending   uint64 `json:"pending"`   // requests that were told to ask again
	Mistaken  uint64 `json:"mistaken"`  // requests with client and number of another command
	Malformed uint64 `json:"malformed"` // requests that could not be read
	Unknown   uint64 `json:"unknown"`   // requests for commands that there are none of
	Busy      uint64 `json:"busy"`      // requests that were refused because too many commands were at work
	Evicted   uint64 `json:"evicted"`   // replies that were let go before their life was over
	Unstored  uint64 `json:"unstored"`  // times that the Store failed
	Running   int    `json:"running"`   // commands at work now
	Kept      int    `json:"kept"`      // replies kept now
	KeptBytes int64  `json:"kept_bytes"`
}

// NewService checks cfg and the commands. The name is the service's on the bus.
// Close ends it.
func NewService(name string, cfg ServiceConfig, commands ...Command) (*Service, error) {
	if name == "" || len(name) > 255 {
		return nil, fmt.Errorf("control: service: the name has %d bytes, want 1 to 255", len(name))
	}
	if cfg.Replies < 0 || cfg.Bytes < 0 || cfg.Life < 0 || cfg.Running < 0 || cfg.Deadline < 0 || cfg.Patience < 0 {
		return nil, fmt.Errorf("control: service %s: a number is negative", name)
	}
	cfg.Replies = cmp.Or(cfg.Replies, 65_536)
	cfg.Bytes = cmp.Or(cfg.Bytes, 64<<20)
	cfg.Life = cmp.Or(cfg.Life, 10*time.Minute)
	cfg.Running = cmp.Or(cfg.Running, 256)
	cfg.Deadline = cmp.Or(cfg.Deadline, 30*time.Second)
	cfg.Patience = cmp.Or(cfg.Patience, time.Second)
	if cfg.Bytes < 2*MessageMax {
		return nil, fmt.Errorf("control: service %s: %d bytes for replies do not hold two", name, cfg.Bytes)
	}
	s := &Service{name: name, cfg: cfg, commands: map[string]*Command{}, now: time.Now}
	s.replies = replies{count: cfg.Replies, bytes: cfg.Bytes, life: cfg.Life, flights: map[Key]*flight{}}
	for _, c := range append(commands, Command{CommandsCommand, "list the commands of the service", true, s.list}) {
		if c.Name == "" || len(c.Name) > commandMax || c.Do == nil || s.commands[c.Name] != nil {
			return nil, fmt.Errorf("control: service %s: command %q has no name, or does nothing, or is there twice", name, c.Name)
		}
		s.commands[c.Name] = &c
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// Name returns the service's name on the bus.
func (s *Service) Name() string { return s.name }

// Counters returns what was counted so far.
func (s *Service) Counters() ServiceCounters {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.count
	c.Running, c.Kept, c.KeptBytes, c.Evicted = s.atWork, s.replies.kept.Len(), s.replies.size, s.replies.evicted
	return c
}

// Close tells the commands at work to end, and waits for them. Requests are then
// answered with replies that are kept, or with NotAvailable. It may be called more
// than once.
func (s *Service) Close() error {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.cancel()
	s.running.Wait()
	return nil
}

// Handle answers a request of the bus, whose frames are borrowed until it returns:
// it is the Handler of a majordomo.Worker. As it waits for commands, a worker
// should have some at once (WorkerConfig.Concurrency). Where ctx ends before the
// command is done the reply is Pending.
func (s *Service) Handle(ctx context.Context, frames [][]byte) pirate.Reply {
	r, err := ParseRequest(frames)
	s.mu.Lock()
	s.count.Requests++
	s.mu.Unlock()
	if err != nil {
		s.add(&s.count.Malformed)
		return frame(failure(&r, &Error{BadRequest, err.Error(), "docs/CONTROL.md says what a request looks like"}))
	}
	return frame(s.do(ctx, &r))
}

func (s *Service) add(counter *uint64) {
	s.mu.Lock()
	*counter++
	s.mu.Unlock()
}

func frame(object []byte) pirate.Reply {
	return pirate.Reply{Frames: [][]byte{[]byte(Signature), object}}
}

// do returns the object of the reply to r.
func (s *Service) do(ctx context.Context, r *Request) []byte {
	cmd := s.commands[r.Command]
	if cmd == nil {
		s.add(&s.count.Unknown)
		return failure(r, s.unknown(r.Command))
	}
	digest := digestOf(r)
	f, err := s.take(r, cmd, digest)
	if err != nil {
		return failure(r, err)
	}
	if !s.wait(ctx, f) {
		return failure(r, &Error{Pending, r.Command + " is still at work", "say it again, with the same client and number"})
	}
	if f.digest != digest {
		s.add(&s.count.Mistaken)
		return failure(r, mistaken(r))
	}
	return f.reply.Object
}

func mistaken(r *Request) *Error {
	return &Error{Refused, fmt.Sprintf("client %v has used number %d for another command", r.Client, r.Number), "each command has a number of its own"}
}

// digestOf looks at the arguments as values.
func digestOf(r *Request) Digest {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00", r.Command)
	h.Write(canonical(r.Args))
	return Digest(h.Sum(nil))
}

// take returns the flight of a request, which it begins where there is none.
func (s *Service) take(r *Request, cmd *Command, digest Digest) (*flight, *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.replies.expire(s.now())
	key := Key{r.Client, r.Number}
	if f := s.replies.flights[key]; f != nil {
		switch {
		case f.sure && f.digest != digest:
			s.count.Mistaken++
			return nil, mistaken(r)
		case f.at.IsZero():
			s.count.Joined++
		default:
			s.count.Repeated++
		}
		return f, nil
	}
	switch {
	case s.closed:
		return nil, &Error{NotAvailable, "service " + s.name + " is stopping", "say it again when it has come back"}
	case s.atWork >= s.cfg.Running:
		s.count.Busy++
		return nil, &Error{Busy, fmt.Sprintf("service %s is at work on %d commands", s.name, s.atWork), "say it again in a moment, with the same client and number"}
	}
	f := &flight{key: key, digest: digest, sure: s.cfg.Store == nil || cmd.Repeat, done: make(chan struct{})}
	s.replies.flights[key] = f
	s.atWork++
	s.running.Go(func() { s.run(f, r, cmd) })
	return f, nil
}

// wait waits until the flight is done, and reports whether it is.
func (s *Service) wait(ctx context.Context, f *flight) bool {
	select {
	case <-f.done:
		return true
	default:
	}
	patience := time.NewTimer(s.cfg.Patience)
	defer patience.Stop()
	select {
	case <-f.done:
		return true
	case <-patience.C:
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !f.at.IsZero() {
		return true
	}
	f.told = true
	s.count.Pending++
	return false
}

// run does a command, or finds that it was done before.
func (s *Service) run(f *flight, r *Request, cmd *Command) {
	stored, found := s.stored(f, cmd)
	if !found {
		stored = s.once(f, r, cmd)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.atWork--
	f.reply, f.digest, f.sure = stored, stored.Digest, true
	again := stored.Code == Busy || stored.Code == NotAvailable // not begun
	if (cmd.Repeat && !f.told) || again {
		f.at = s.now()
		delete(s.replies.flights, f.key)
	} else {
		s.replies.keep(f, s.now())
	}
	close(f.done)
}

// stored asks the Store.
func (s *Service) stored(f *flight, cmd *Command) (StoredReply, bool) {
	if s.cfg.Store == nil || cmd.Repeat {
		return StoredReply{}, false
	}
	stored, found, err := s.cfg.Store.Get(f.key)
	if err != nil {
		// Whether it was done is not known, so it must not be.
		s.unstored(err)
		e := &Error{NotAvailable, "what was done before cannot be read: " + err.Error(), "say it again, with the same client and number"}
		return StoredReply{f.digest, e.Code, failureOf(f.key, e)}, true
	}
	if found {
		s.add(&s.count.Repeated)
		return stored, true
	}
	s.mu.Lock()
	f.sure = true
	s.mu.Unlock()
	return stored, false
}

func (s *Service) unstored(err error) {
	s.add(&s.count.Unstored)
	if s.cfg.StoreFailed != nil {
		s.cfg.StoreFailed(fmt.Errorf("control: service %s: %w", s.name, err))
	}
}

// once does a command and stores its reply.
func (s *Service) once(f *flight, r *Request, cmd *Command) StoredReply {
	s.add(&s.count.Begun)
	deadline := cmp.Or(r.Deadline, s.cfg.Deadline)
	ctx, cancel := context.WithTimeout(s.ctx, deadline)
	result, err := cmd.Do(ctx, r)
	failed := s.failed(ctx, r, deadline, err)
	cancel()
	var reply StoredReply
	if failed == nil {
		reply, failed = success(f, r, result)
	}
	if failed != nil {
		reply = StoredReply{f.digest, failed.Code, failure(r, failed)}
	}
	if s.cfg.Store != nil && !cmd.Repeat && reply.Code != Busy && reply.Code != NotAvailable {
		if err := s.cfg.Store.Put(f.key, reply); err != nil {
			s.unstored(err)
		}
	}
	return reply
}

// failed says why a command failed; nil where it did not.
func (s *Service) failed(ctx context.Context, r *Request, deadline time.Duration, err error) *Error {
	var told *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &told) && told.Code != Done && told.Code != Pending && told.Code >= 200 && told.Code <= 599:
		return told
	case s.ctx.Err() != nil && errors.Is(err, context.Canceled):
		return &Error{NotAvailable, fmt.Sprintf("%s was broken off: service %s is stopping", r.Command, s.name), "see what state it has left"}
	case ctx.Err() != nil && (errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)):
		return &Error{NotInTime, fmt.Sprintf("%s was not through within %v", r.Command, deadline), "see what state it has left; a longer deadline_ms waits longer"}
	}
	return &Error{Failed, r.Command + ": " + err.Error(), ""}
}

// success makes the reply of a result.
func success(f *flight, r *Request, result any) (StoredReply, *Error) {
	reply := Reply{Client: r.Client, Number: r.Number, Code: Done}
	if result != nil {
		b, err := encode(result)
		if err != nil {
			return StoredReply{}, &Error{Failed, r.Command + ": the result cannot be written: " + err.Error(), ""}
		}
		reply.Result = json.RawMessage(b)
	}
	frames, err := AppendReply(nil, &reply)
	if err != nil {
		return StoredReply{}, &Error{TooLarge, fmt.Sprintf("%s: the result has %d bytes, more than fit in a reply", r.Command, len(reply.Result)), "ask for less of it"}
	}
	return StoredReply{f.digest, Done, frames[1]}, nil
}

// failure is the object of a reply that is an error.
func failure(r *Request, e *Error) []byte { return failureOf(Key{r.Client, r.Number}, e) }

func failureOf(key Key, e *Error) []byte {
	const most = 64 << 10 // of a text
	cut := func(s string) string { return s[:min(len(s), most)] }
	frames, err := AppendReply(nil, &Reply{Client: key.Client, Number: key.Number, Code: e.Code, Reason: cut(e.Reason), Try: cut(e.Try)})
	if err != nil {
		panic("BUG: a failure that cannot be said: " + err.Error())
	}
	return frames[1]
}
