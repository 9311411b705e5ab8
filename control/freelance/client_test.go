package freelance

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func endpoint(t *testing.T, name string) string {
	return "ipc://" + filepath.Join(t.TempDir(), name)
}

// startServer runs a Server until stop.
func startServer(t *testing.T, at string, h func(ctx context.Context, m [][]byte) [][]byte) (s *Server, stop func()) {
	t.Helper()
	s, err := NewServer(ServerConfig{Endpoint: at, Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := errors.Join(<-ended, s.Close()); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return s, stop
}

func echo(_ context.Context, m [][]byte) [][]byte { return m }

func newClient(t *testing.T, cfg ClientConfig) *Client {
	t.Helper()
	c, err := NewClient(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func ask(t *testing.T, c *Client, body string) (reply, from string) {
	t.Helper()
	m, from, err := c.Request(t.Context(), []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return string(slices.Concat(m...)), from
}

// TestRoutedFailsOver: the first server goes; the second one answers; the first comes
// again and is asked again.
func TestRoutedFailsOver(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	_, stopA := startServer(t, a, echo)
	startServer(t, b, echo)
	c := newClient(t, ClientConfig{Endpoints: []string{a, b}, Timeout: 200 * time.Millisecond, Tries: 1000, Ping: 10 * time.Millisecond, Dead: 100 * time.Millisecond, Rest: 20 * time.Millisecond, RestMax: 50 * time.Millisecond})
	for from := ""; from != a; {
		_, from = ask(t, c, "1") // the other one may be there first
	}
	stopA()
	if reply, from := ask(t, c, "2"); from != b || reply != "2" {
		t.Errorf("%q from %s", reply, from)
	}
	startServer(t, a, echo)
	for from := ""; from != a; {
		_, from = ask(t, c, "3")
	}
	if s := c.Servers(); !s[0].Alive || s[0].Failed == 0 || s[1].Answered == 0 {
		t.Errorf("servers %+v", s)
	}
}

// TestPongsAreNoAnswers: a server that answers pings and no requests is left alone.
func TestPongsAreNoAnswers(t *testing.T) {
	a, b := endpoint(t, "a"), endpoint(t, "b")
	stuck, _ := startServer(t, a, func(ctx context.Context, m [][]byte) [][]byte {
		<-ctx.Done()
		return m
	})
	startServer(t, b, echo)
	c := newClient(t, ClientConfig{Endpoints: []string{a, b}, Timeout: 50 * time.Millisecond, Tries: 1000, Ping: 10 * time.Millisecond, Rest: time.Hour, RestMax: time.Hour})
	for stuck.Counters().Pings == 0 || !c.Servers()[0].Alive {
		time.Sleep(time.Millisecond)
	}
	for i := range 20 {
		if _, from := ask(t, c, fmt.Sprint(i)); from != b {
			t.Fatalf("answered by %s", from)
		}
	}
	if n := stuck.Counters().Requests; n > 1 {
		t.Errorf("the stuck server was asked %d times", n)
	}
	if s := c.Servers()[0]; !s.Alive || !s.Resting {
		t.Errorf("the stuck server is %+v", s)
	}
}

func TestManyInFlight(t *testing.T) {
	at := endpoint(t, "a")
	startServer(t, at, func(_ context.Context, m [][]byte) [][]byte { return [][]byte{[]byte("re"), m[0]} })
	for _, strategy := range []Strategy{Routed, Shotgun} {
		t.Run(strategy.String(), func(t *testing.T) {
			to := at
			if strategy == Shotgun {
				to = endpoint(t, "rep")
				startEnvelopeServer(t, to)
			}
			c := newClient(t, ClientConfig{Endpoints: []string{to}, Strategy: strategy, Timeout: time.Minute})
			var wg sync.WaitGroup
			for i := range 500 {
				wg.Go(func() {
					body := fmt.Sprint(i)
					m, _, err := c.Request(context.Background(), []byte(body))
					if got := string(slices.Concat(m...)); err != nil || got != "re"+body {
						t.Errorf("%q, %v, want %q", got, err, "re"+body)
					}
				})
			}
			wg.Wait()
		})
	}
}

func TestRequestEnds(t *testing.T) {
	nobody := endpoint(t, "nobody")
	for _, strategy := range []Strategy{Routed, Sequential, Shotgun} {
		t.Run(strategy.String(), func(t *testing.T) {
			c := newClient(t, ClientConfig{Endpoints: []string{nobody}, Strategy: strategy, Timeout: time.Millisecond, Tries: 3})
			_, _, err := c.Request(t.Context(), []byte("x"))
			if !errors.Is(err, ErrUnanswered) || !strings.Contains(err.Error(), nobody) {
				t.Errorf("error %v", err)
			}
			slow := newClient(t, ClientConfig{Endpoints: []string{nobody}, Strategy: strategy, Timeout: time.Hour})
			ctx, cancel := context.WithCancelCause(t.Context())
			why := errors.New("no longer wanted")
			cancel(why)
			if _, _, err := slow.Request(ctx, []byte("x")); !errors.Is(err, why) {
				t.Errorf("error %v", err)
			}
			if err := slow.Close(); err != nil {
				t.Error(err)
			}
			if _, _, err := slow.Request(t.Context(), []byte("x")); !errors.Is(err, ErrClosed) {
				t.Errorf("error %v", err)
			}
			if n := c.Counters(); n.Requests != 1 || n.Unanswered != 1 || n.Repeated != 2 {
				t.Errorf("counted %+v", n)
			}
		})
	}
}

func TestCloseEndsRequests(t *testing.T) {
	c := newClient(t, ClientConfig{Endpoints: []string{endpoint(t, "nobody")}, Timeout: time.Hour, Outstanding: 2})
	ended := make(chan error, 3)
	for range 3 {
		go func() {
			_, _, err := c.Request(context.Background(), []byte("x"))
			ended <- err
		}()
	}
	if err := <-ended; !errors.Is(err, ErrBusy) { // the third one
		t.Errorf("error %v", err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-ended; !errors.Is(err, ErrClosed) {
			t.Errorf("error %v", err)
		}
	}
}

func TestBadConfig(t *testing.T) {
	for _, cfg := range []ClientConfig{
		{}, {Endpoints: []string{"tcp://127.0.0.1:1"}, Strategy: 9}, {Endpoints: []string{"tcp://127.0.0.1:1"}, Tries: -1},
		{Endpoints: []string{"nonsense"}}, {Endpoints: []string{"tcp://127.0.0.1:1", "tcp://127.0.0.1:1"}},
	} {
		if c, err := NewClient(cfg); err == nil {
			t.Errorf("%+v was taken", cfg)
			_ = c.Close()
		}
	}
	if _, err := NewServer(ServerConfig{}); err == nil {
		t.Error("a server without endpoint was taken")
	}
}

// TestPythonServers: servers of the three models, written from the pattern's
// description, each beside one that is not there.
func TestPythonServers(t *testing.T) {
	python := zsocktest.Python(t)
	for _, tc := range []struct {
		model    string
		strategy Strategy
		want     string
	}{{"1", Sequential, "hello"}, {"2", Shotgun, "OK"}, {"3", Routed, "servedhello"}} {
		t.Run("model "+tc.model, func(t *testing.T) {
			at := endpoint(t, "server")
			startPythonServer(t, python, tc.model, at)
			c := newClient(t, ClientConfig{Endpoints: []string{endpoint(t, "nobody"), at}, Strategy: tc.strategy, Timeout: 300 * time.Millisecond, Tries: 1000})
			for range 10 {
				if reply, from := ask(t, c, "hello"); reply != tc.want || from != at {
					t.Errorf("%q from %s, want %q", reply, from, tc.want)
				}
			}
		})
	}
}

// TestPythonClient: a client of the Freelance Protocol at our server.
func TestPythonClient(t *testing.T) {
	python := zsocktest.Python(t)
	at := endpoint(t, "server")
	startServer(t, at, func(_ context.Context, m [][]byte) [][]byte { return append([][]byte{[]byte("re")}, m...) })
	cmd := exec.Command(python, "testdata/client.py", at, "3")
	cmd.Stderr = t.Output()
	out, err := cmd.Output()
	if want := "re request 0\nre request 1\nre request 2\n"; err != nil || string(out) != want {
		t.Errorf("%q, %v, want %q", out, err, want)
	}
}

func startPythonServer(t *testing.T, python, model, at string) {
	t.Helper()
	cmd := exec.Command(python, "testdata/server.py", model, at)
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	startProcess(t, cmd, in)
}

// startProcess starts a process and waits for its first line.
func startProcess(t *testing.T, cmd *exec.Cmd, in io.Closer) {
	t.Helper()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	if !lines.Scan() {
		t.Errorf("%v said nothing", cmd.Args)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	})
}
