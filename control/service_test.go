package control

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

func TestRepeatIsDoneOnce(t *testing.T) {
	n := 0
	s := newService(t, ServiceConfig{}, counter(&n, false))
	first := ask(t, s, request(1, 1, "count", `{"a":1,"b":[1.50,"x"]}`))
	wantCode(t, first, Done)
	for _, same := range []string{`{"a":1,"b":[1.50,"x"]}`, ` { "b":[ 1.50, "\u0078" ],` + "\n" + `"a":1}`} {
		if again := ask(t, s, request(1, 1, "count", same)); string(again.Result) != string(first.Result) || again.Code != Done {
			t.Errorf("%s is answered with %d %s", same, again.Code, again.Result)
		}
	}
	for _, other := range []string{`{"a":1,"b":["x",1.50]}`, `{"a":1}`, `{"a":2,"b":[1.50,"x"]}`, `{}`} {
		wantCode(t, ask(t, s, request(1, 1, "count", other)), Refused)
	}
	if n != 1 {
		t.Errorf("done %d times", n)
	}
	wantCode(t, ask(t, s, request(1, 2, "count", `{}`)), Done)
	wantCode(t, ask(t, s, request(2, 1, "count", `{}`)), Done)
	if n != 3 {
		t.Errorf("done %d times, want 3: another number and another client are other commands", n)
	}
	c := s.Counters()
	if c.Begun != 3 || c.Repeated != 2 || c.Mistaken != 4 || c.Kept != 3 {
		t.Errorf("%+v", c)
	}
}

func TestCommandsOfAServiceDiffer(t *testing.T) {
	do := func(context.Context, *Request) (any, error) { return nil, nil }
	s := newService(t, ServiceConfig{}, Command{Name: "play", Do: do}, Command{Name: "pause", Do: do})
	wantCode(t, ask(t, s, request(1, 1, "play", "{}")), Done)
	wantCode(t, ask(t, s, request(1, 1, "pause", "{}")), Refused)
}

// TestManyAtOnce: twenty say the same while it is at work.
func TestManyAtOnce(t *testing.T) {
	var (
		n     int
		begun = make(chan struct{})
		end   = make(chan struct{})
	)
	s := newService(t, ServiceConfig{}, Command{Name: "slow", Do: func(context.Context, *Request) (any, error) {
		n++
		close(begun)
		<-end
		return map[string]int{"n": n}, nil
	}})
	var all sync.WaitGroup
	replies := make([]Reply, 20)
	for i := range replies {
		all.Go(func() { replies[i] = ask(t, s, request(1, 1, "slow", "{}")) })
	}
	<-begun
	wantCode(t, ask(t, s, request(1, 1, "slow", `{"other":1}`)), Refused)
	zsocktest.Until(func() bool { return s.Counters().Joined == 19 })
	close(end)
	all.Wait()
	for _, r := range replies {
		if r.Code != Done || string(r.Result) != `{"n":1}` {
			t.Errorf("%d %s", r.Code, r.Result)
		}
	}
}

// TestExactlyOnceUnderLoad: clients that say everything several times, from several
// goroutines, in any order: each command has its effect once.
func TestExactlyOnceUnderLoad(t *testing.T) {
	const clients, numbers, times = 8, 50, 5
	var (
		mu      sync.Mutex
		effects = map[Key]int{}
	)
	s := newService(t, ServiceConfig{Running: clients * times}, Command{Name: "effect", Do: func(_ context.Context, r *Request) (any, error) {
		mu.Lock()
		defer mu.Unlock()
		effects[Key{r.Client, r.Number}]++
		return map[string]string{"of": fmt.Sprint(r.Client, r.Number)}, nil
	}})
	var all sync.WaitGroup
	for c := range clients {
		for range times {
			all.Go(func() {
				for i := range numbers {
					r := request(byte(c+1), uint64(i%numbers+1), "effect", "{}")
					reply := ask(t, s, r)
					if want := fmt.Sprintf(`{"of":"%v %d"}`, r.Client, r.Number); reply.Code != Done || !strings.Contains(string(reply.Result), r.Client.String()) {
						t.Errorf("%d %s, want %s", reply.Code, reply.Result, want)
					}
				}
			})
		}
	}
	all.Wait()
	for key, n := range effects {
		if n != 1 {
			t.Errorf("%v %d was done %d times", key.Client, key.Number, n)
		}
	}
	if len(effects) != clients*numbers {
		t.Errorf("%d commands were done, want %d", len(effects), clients*numbers)
	}
	if c := s.Counters(); c.Begun != clients*numbers || c.Repeated+c.Joined != clients*numbers*(times-1) || c.Running != 0 {
		t.Errorf("%+v", c)
	}
}

// ended is a context that has ended: who asks with it does not wait.
func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestPending: a command that takes longer than anybody waits is asked for again,
// and its reply is kept for that, also where it would not be otherwise.
func TestPending(t *testing.T) {
	for _, repeat := range []bool{false, true} {
		n, end := 0, make(chan struct{})
		s := newService(t, ServiceConfig{}, Command{Name: "slow", Repeat: repeat, Do: func(context.Context, *Request) (any, error) {
			n++
			<-end
			return map[string]int{"n": n}, nil
		}})
		r := request(1, 1, "slow", "{}")
		for range 3 {
			if reply := askUntil(t, ended(), s, r); reply.Code != Pending || reply.Result != nil {
				t.Fatalf("%d %s", reply.Code, reply.Result)
			}
		}
		close(end)
		for range 2 {
			if reply := ask(t, s, r); reply.Code != Done || string(reply.Result) != `{"n":1}` {
				t.Errorf("%d %s", reply.Code, reply.Result)
			}
		}
		if c := s.Counters(); c.Begun != 1 || c.Pending != 3 || c.Kept != 1 {
			t.Errorf("%+v", c)
		}
	}
}

func TestPatience(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	s := newService(t, ServiceConfig{Patience: time.Millisecond}, Command{Name: "slow", Do: func(context.Context, *Request) (any, error) {
		<-end
		return nil, nil
	}})
	wantCode(t, ask(t, s, request(1, 1, "slow", "{}")), Pending)
}

func TestReadingIsDoneAgain(t *testing.T) {
	n := 0
	s := newService(t, ServiceConfig{}, counter(&n, true))
	for range 3 {
		wantCode(t, ask(t, s, request(1, 1, "count", "{}")), Done)
	}
	if c := s.Counters(); n != 3 || c.Kept != 0 || c.KeptBytes != 0 {
		t.Errorf("done %d times; %+v", n, c)
	}
}

func TestReplyBounds(t *testing.T) {
	size := 0
	fill := Command{Name: "fill", Do: func(context.Context, *Request) (any, error) { return strings.Repeat("x", size), nil }}
	at := time.Unix(1000, 0)
	s := newService(t, ServiceConfig{Replies: 100, Bytes: 2 * MessageMax, Life: time.Minute}, fill)
	s.now = func() time.Time { return at }
	number := uint64(0)
	say := func() {
		number++
		wantCode(t, ask(t, s, request(1, number, "fill", "{}")), Done)
	}
	for range 150 {
		say()
	}
	if c := s.Counters(); c.Kept != 100 || c.Evicted != 50 {
		t.Errorf("by count: %+v", c)
	}
	begun := s.Counters().Begun
	wantCode(t, ask(t, s, request(1, 51, "fill", "{}")), Done) // the oldest that is kept
	if c := s.Counters(); c.Begun != begun {
		t.Errorf("the oldest that is kept is done again")
	}
	wantCode(t, ask(t, s, request(1, 50, "fill", "{}")), Done)
	if c := s.Counters(); c.Begun != begun+1 {
		t.Errorf("what was let go is not done again")
	}
	size = MessageMax / 2
	for range 10 {
		say()
	}
	if c := s.Counters(); c.KeptBytes > 2*MessageMax || c.Kept != 3 {
		t.Errorf("by bytes: %+v", c)
	}
	at = at.Add(time.Minute)
	size = 0
	say()
	if c := s.Counters(); c.Kept != 1 {
		t.Errorf("by life: %+v", c)
	}
}

func TestResultTooLarge(t *testing.T) {
	s := newService(t, ServiceConfig{}, Command{Name: "all", Do: func(context.Context, *Request) (any, error) { return strings.Repeat("x", MessageMax), nil }})
	wantCode(t, ask(t, s, request(1, 1, "all", "{}")), TooLarge)
}

func TestBusy(t *testing.T) {
	end := make(chan struct{})
	n := 0
	s := newService(t, ServiceConfig{Running: 1}, counter(&n, false), Command{Name: "slow", Do: func(context.Context, *Request) (any, error) {
		<-end
		return nil, nil
	}})
	wantCode(t, askUntil(t, ended(), s, request(1, 1, "slow", "{}")), Pending)
	wantCode(t, ask(t, s, request(2, 1, "count", "{}")), Busy)
	close(end)
	wantCode(t, ask(t, s, request(1, 1, "slow", "{}")), Done)
	wantCode(t, ask(t, s, request(2, 1, "count", "{}")), Done) // the same: it had not begun
}

func TestErrors(t *testing.T) {
	var fail error
	s := newService(t, ServiceConfig{}, Command{Name: "fail", Do: func(context.Context, *Request) (any, error) { return nil, fail }})
	for i, x := range []struct {
		err    error
		code   Code
		reason string
	}{
		{&Error{BeyondTape, "there is nothing there", "the tape ends at noon"}, BeyondTape, "there is nothing there"},
		{fmt.Errorf("deck es: %w", &Error{NotFound, "there is no tape", ""}), NotFound, "there is no tape"},
		{errors.New("disk: out of order"), Failed, "fail: disk: out of order"},
		{context.DeadlineExceeded, Failed, "fail: context deadline exceeded"}, // somebody else's
		{&Error{Done, "no failure", ""}, Failed, "fail: control: no failure"},
		{&Error{Pending, "", ""}, Failed, "fail: control: not done yet"},
		{&Error{9, "odd", ""}, Failed, "fail: control: odd"},
		{&Error{Failed, "bad text \xff", ""}, Failed, "bad text \ufffd"},
	} {
		fail = x.err
		r := request(1, uint64(i+1), "fail", "{}")
		for range 2 { // a failure is a reply like any other
			if reply := ask(t, s, r); reply.Code != x.code || reply.Reason != x.reason || reply.Result != nil {
				t.Errorf("%v: %d %q, want %d %q", x.err, reply.Code, reply.Reason, x.code, x.reason)
			}
			fail = nil
		}
	}
	// What is not begun is not kept.
	for i, code := range []Code{Busy, NotAvailable} {
		r := request(2, uint64(i+1), "fail", "{}")
		fail = &Error{code, "not now", ""}
		wantCode(t, ask(t, s, r), code)
		fail = nil
		wantCode(t, ask(t, s, r), Done)
	}
}

func TestUnknownCommandAndMalformed(t *testing.T) {
	n := 0
	s := newService(t, ServiceConfig{}, counter(&n, false))
	if r := ask(t, s, request(1, 1, "cuont", "{}")); r.Code != NoCommand || !strings.Contains(r.Try, "commands, count") {
		t.Errorf("%+v", r)
	}
	for _, frames := range [][][]byte{nil, {[]byte("TPDC02"), []byte("{}")}, {[]byte(Signature)}, {[]byte(Signature), []byte("{")}} {
		r, err := ParseReply(s.Handle(t.Context(), frames).Frames)
		if err != nil || r.Code != BadRequest || r.Client != (ClientID{}) || r.Number != 0 {
			t.Errorf("%q: %+v, %v", frames, r, err)
		}
	}
	// Who asks is answered where that could be read.
	id := ClientID{7}.String()
	r, err := ParseReply(s.Handle(t.Context(), [][]byte{[]byte(Signature), []byte(`{"client":"` + id + `","number":5,"command":7}`)}).Frames)
	if err != nil || r.Code != BadRequest || r.Client != (ClientID{7}) || r.Number != 5 {
		t.Errorf("%+v, %v", r, err)
	}
	if c := s.Counters(); c.Malformed != 5 || c.Unknown != 1 || n != 0 {
		t.Errorf("%+v", c)
	}
}

func TestDeadline(t *testing.T) {
	s := newService(t, ServiceConfig{}, Command{Name: "wait", Do: func(ctx context.Context, _ *Request) (any, error) {
		<-ctx.Done()
		return nil, fmt.Errorf("wait: %w", ctx.Err())
	}})
	r := request(1, 1, "wait", "{}")
	r.Deadline = time.Millisecond
	wantCode(t, ask(t, s, r), NotInTime)
}

func TestClose(t *testing.T) {
	n, begun := 0, make(chan struct{})
	s := newService(t, ServiceConfig{}, counter(&n, false), Command{Name: "wait", Do: func(ctx context.Context, _ *Request) (any, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	wantCode(t, ask(t, s, request(1, 1, "count", "{}")), Done)
	var waiting sync.WaitGroup
	waiting.Go(func() { wantCode(t, ask(t, s, request(1, 2, "wait", "{}")), NotAvailable) })
	<-begun
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	waiting.Wait()
	wantCode(t, ask(t, s, request(1, 1, "count", "{}")), Done)         // the reply that is kept
	wantCode(t, ask(t, s, request(1, 3, "count", "{}")), NotAvailable) // nothing new
	if n != 1 {
		t.Errorf("done %d times", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestArguments(t *testing.T) {
	var got DeckStep
	s := newService(t, ServiceConfig{}, Command{Name: "step", Do: With(func(_ context.Context, _ *Request, args *DeckStep) (any, error) {
		got = *args
		return nil, nil
	})})
	wantCode(t, ask(t, s, request(1, 1, "step", `{"deck":"es","n":5,"unknown":true}`)), Done)
	if got.Deck != "es" || got.N != 5 {
		t.Errorf("%+v", got)
	}
	wantCode(t, ask(t, s, &Request{Client: ClientID{1}, Number: 2, Command: "step"}), Done)
	if got != (DeckStep{}) {
		t.Errorf("%+v", got)
	}
	r := ask(t, s, request(1, 3, "step", `{"n":"five"}`))
	if r.Code != BadRequest || r.Reason != "step: n is a JSON string, want int" {
		t.Errorf("%+v", r)
	}
}

func TestServiceConfig(t *testing.T) {
	do := func(context.Context, *Request) (any, error) { return nil, nil }
	for _, x := range []struct {
		name     string
		cfg      ServiceConfig
		commands []Command
	}{
		{"", ServiceConfig{}, nil},
		{"x", ServiceConfig{Replies: -1}, nil},
		{"x", ServiceConfig{Bytes: 1000}, nil},
		{"x", ServiceConfig{Patience: -1}, nil},
		{"x", ServiceConfig{}, []Command{{Name: "a"}}},
		{"x", ServiceConfig{}, []Command{{Do: do}}},
		{"x", ServiceConfig{}, []Command{{Name: "a", Do: do}, {Name: "a", Do: do}}},
		{"x", ServiceConfig{}, []Command{{Name: CommandsCommand, Do: do}}},
	} {
		if _, err := NewService(x.name, x.cfg, x.commands...); err == nil {
			t.Errorf("%+v is taken", x)
		}
	}
}

func TestServiceListsItsCommands(t *testing.T) {
	n := 0
	s := newService(t, ServiceConfig{}, counter(&n, true))
	r := ask(t, s, request(1, 1, "commands", "{}"))
	want := `{"service":"test","commands":[{"command":"commands","summary":"list the commands of the service","repeat":true},{"command":"count","summary":"","repeat":true}]}`
	if string(r.Result) != want {
		t.Errorf("%s\nwant %s", r.Result, want)
	}
}
