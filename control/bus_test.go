package control

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// beat is the heartbeat of the tests; nobody is silent for too long unless a broker
// is gone, however busy the machine is.
const beat = 50 * time.Millisecond

// broker runs a broker at an endpoint until stop is called.
func broker(t *testing.T, endpoint string) (stop func()) {
	t.Helper()
	b, err := majordomo.NewBroker(majordomo.BrokerConfig{Endpoints: []string{endpoint}, Heartbeat: beat, Liveness: 1000, StopWait: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	return zsocktest.Background(t, b.Run, b.Close)
}

// TestOnceWhileBrokersComeAndGo: clients give commands over a bus whose broker is
// stopped and started again meanwhile. Requests and replies are lost and said again;
// each command has its effect once, and every client gets its own replies.
func TestOnceWhileBrokersComeAndGo(t *testing.T) {
	const clients, each, brokers = 4, 60, 4
	endpoint := "ipc://" + filepath.Join(t.TempDir(), "bus")
	var (
		mu      sync.Mutex
		effects = map[Key]int{}
		done    = make(chan struct{}, clients*each)
	)
	var s *Service
	s = newService(t, ServiceConfig{Patience: 5 * time.Millisecond}, Command{Name: "effect", Do: With(func(ctx context.Context, r *Request, args *struct{ N int }) (any, error) {
		mu.Lock()
		effects[Key{r.Client, r.Number}]++
		mu.Unlock()
		if args.N%7 == 0 {
			told := s.Counters().Pending // work that takes longer than a request waits
			zsocktest.Until(func() bool { return s.Counters().Pending > told })
		}
		done <- struct{}{}
		return map[string]string{"of": fmt.Sprint(r.Client, args.N)}, nil
	})})
	stopBroker := broker(t, endpoint)
	var stops []func()
	for range 2 {
		w, err := majordomo.NewWorker(majordomo.WorkerConfig{Endpoints: []string{endpoint}, Service: "test", Handler: s.Handle, Concurrency: 2,
			Heartbeat: beat, Liveness: 4, Backoff: time.Millisecond, BackoffMax: beat})
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, zsocktest.Background(t, w.Run, func() error { return nil }))
	}
	var all sync.WaitGroup
	for range clients {
		all.Go(func() {
			m, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: []string{endpoint}, Timeout: 250 * time.Millisecond, Tries: 1000,
				Backoff: time.Millisecond, BackoffMax: beat})
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = m.Close() }()
			c := NewClient(m)
			for n := range each {
				var result struct{ Of string }
				if err := c.Do(t.Context(), "test", "effect", map[string]int{"n": n}, &result); err != nil || result.Of != fmt.Sprint(c.ID(), n) {
					t.Errorf("command %d: %q, %v", n, result.Of, err)
				}
			}
		})
	}
	for range brokers {
		for range clients * each / (brokers + 1) {
			<-done
		}
		stopBroker()
		stopBroker = broker(t, endpoint)
	}
	all.Wait()
	stopBroker()
	for _, stop := range stops {
		stop()
	}
	if len(effects) != clients*each {
		t.Errorf("%d commands had an effect, want %d", len(effects), clients*each)
	}
	for key, n := range effects {
		if n != 1 {
			t.Errorf("%v %d had its effect %d times", key.Client, key.Number, n)
		}
	}
	if c := s.Counters(); c.Begun != clients*each || c.Malformed > 0 || c.Mistaken > 0 {
		t.Errorf("%+v", c)
	}
}
