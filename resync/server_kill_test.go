package resync

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"
)

// readerProcess is the environment variable that makes TestReaderProcess a tape
// reader for the server at that endpoint.
const readerProcess = "TAPEDECK_TEST_RESYNC_READER"

// killBeat is the interval of heartbeats in tests of readers that die.
const killBeat = 300 * time.Millisecond

// TestReaderProcess is no test but the process that TestServerReaderKilled kills. It
// begins to read and never comes to an end.
func TestReaderProcess(t *testing.T) {
	endpoint := os.Getenv(readerProcess)
	if endpoint == "" {
		t.Skip("it reads for a server of another process")
	}
	src := newShelf(1, 5, 1000)
	src.before = func(context.Context) {
		fmt.Println("reading")
		select {}
	}
	if err := TapeWorker(context.Background(), TapeWorkerConfig{Endpoint: endpoint, Heartbeat: killBeat}, src); err != nil {
		t.Fatal(err)
	}
}

// TestServerReaderKilled: a tape reader's process is killed in the middle of a
// read. The pool notices, another one reads, and the client sees nothing of it.
func TestServerReaderKilled(t *testing.T) {
	s, _ := runServer(t, ServerConfig{Backends: []string{"tcp://127.0.0.1:*"}, Heartbeat: killBeat})
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestReaderProcess$")
	cmd.Env = append(os.Environ(), readerProcess+"="+s.Backends()[0])
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill() }()
	p := newPeer(t, s.Endpoints()[0])
	p.ask(refillOf(1, Span{5, 0, 0, 1000}))
	if lines := bufio.NewScanner(out); !lines.Scan() || lines.Text() != "reading" {
		t.Fatalf("the reader said %q, %v", lines.Text(), lines.Err())
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	runReader(t, s, newShelf(1, 5, 1000))
	p.whole(1, Span{To: 1000})
	if c := p.counted(s); c.Redone != 1 || c.Errors.Total() != 0 {
		t.Errorf("%+v", c)
	}
}

// runReader runs a tape reader until the test ends.
func runReader(t *testing.T, s *Server, src Refills) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- TapeWorker(ctx, TapeWorkerConfig{Endpoint: s.Backends()[0], Heartbeat: s.cfg.Heartbeat}, src)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

// TestServerReaderHangs: a read that hangs is told so, given to another reader, and
// what it brings in the end is dropped.
func TestServerReaderHangs(t *testing.T) {
	hung, let := make(chan struct{}), make(chan struct{})
	src := newShelf(1, 5, 1000)
	src.before = func(ctx context.Context) {
		if src.reads.Add(1) == 1 {
			<-ctx.Done()
			close(hung)
			<-let
		}
	}
	s, _ := runServer(t, ServerConfig{Refills: src, Workers: 2, Heartbeat: killBeat, Read: 3 * killBeat})
	p := newPeer(t, s.Endpoints()[0])
	p.ask(refillOf(1, Span{5, 0, 0, 1000}))
	<-hung
	p.whole(1, Span{To: 1000})
	if c := p.counted(s); c.Redone == 0 || c.Errors.Total() != 0 {
		t.Errorf("%+v", c)
	}
	close(let)
	eventually(func() bool { return s.queue.Counters().Late == 1 })
}

// TestServerWithoutReaders: when none is there the client is told to come again.
func TestServerWithoutReaders(t *testing.T) {
	s, _ := runServer(t, ServerConfig{Backends: []string{"tcp://127.0.0.1:*"}, Read: killBeat})
	p := newPeer(t, s.Endpoints()[0])
	p.ask(refillOf(1, Span{5, 0, 0, 1000}))
	if e := p.wantError(1, CodeBusy, AdviceRetry); e.Wait == 0 || e.Text == "" {
		t.Errorf("%+v", e)
	}
	if c := p.counted(s); c.Unread != 1 {
		t.Errorf("%+v", c)
	}
	src := newShelf(1, 5, 1000)
	runReader(t, s, src)
	eventually(func() bool { return s.queue.State().Ready == 1 })
	p.ask(refillOf(2, Span{5, 0, 0, 1000}))
	p.whole(2, Span{To: 1000})
}
