package majordomo

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

// brokerEndpoint makes the test binary a broker, to be killed.
const brokerEndpoint = "MAJORDOMO_TEST_BROKER"

// TestMain runs the tests, and fails if a goroutine outlives them.
func TestMain(m *testing.M) {
	if endpoint := os.Getenv(brokerEndpoint); endpoint != "" {
		if err := brokeUntilKilled(endpoint); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

func brokeUntilKilled(endpoint string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	b, err := NewBroker(BrokerConfig{Endpoints: []string{endpoint}, Heartbeat: beat, Liveness: liveness, Life: time.Hour, UnknownLife: time.Hour})
	if err != nil {
		return err
	}
	return b.Run(ctx)
}

// killable is a broker in a process of its own.
type killable struct {
	t   *testing.T
	cmd *exec.Cmd
}

func startBroker(t *testing.T, endpoint string) *killable {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), brokerEndpoint+"="+endpoint)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	k := &killable{t, cmd}
	t.Cleanup(k.kill)
	return k
}

// kill ends the process as a crash does.
func (k *killable) kill() {
	if k.cmd.ProcessState == nil {
		_ = k.cmd.Process.Kill()
		_ = k.cmd.Wait()
	}
}
