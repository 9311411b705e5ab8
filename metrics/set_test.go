package metrics

import (
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/latency"
	"github.com/tapedeck/tapedeck/subscriber"
)

// TestPartHangs: a part that does not answer is missing, and said to be; the others
// are there. It is not asked again before it has answered.
func TestPartHangs(t *testing.T) {
	s := New(Config{Answer: 20 * time.Millisecond})
	var asks atomic.Int32
	release := make(chan struct{})
	s.Root().Subscriber(func() subscriber.Summary {
		asks.Add(1)
		<-release
		return subscriber.Summary{Records: 9}
	})
	s.Root().Lag(new(latency.Histogram))
	for range 3 {
		v, _ := gather(t, s)
		if _, there := v["tapedeck_subscriber_records_total"]; there || v["tapedeck_parts_unanswered"] != 1 {
			t.Errorf("the part that hangs: there %v, unanswered %v", there, v["tapedeck_parts_unanswered"])
		}
		if _, there := v["tapedeck_subscriber_lag_seconds"]; !there {
			t.Error("another part is missing, too")
		}
	}
	if asks.Load() != 1 {
		t.Errorf("it was asked %d times while it hung", asks.Load())
	}
	close(release)
	for {
		v, _ := gather(t, s)
		if v["tapedeck_subscriber_records_total"] == 9 && v["tapedeck_parts_unanswered"] == 0 {
			return
		}
	}
}

// TestScopes: parts of several scopes stand side by side, and go with their scope:
// whoever closed it may take away what it showed.
func TestScopes(t *testing.T) {
	s := New(Config{})
	var gone [2]atomic.Bool
	var scopes []*Scope
	for i, name := range []string{"es", "nq"} {
		sc := s.Scope("deck", name)
		sc.Subscriber(func() subscriber.Summary {
			if gone[i].Load() {
				t.Errorf("%s was asked after its scope was closed", name)
			}
			return subscriber.Summary{Records: uint64(i) + 1}
		})
		sc.Check("player", func() error { return nil })
		scopes = append(scopes, sc)
	}
	v, _ := gather(t, s)
	if v["tapedeck_subscriber_records_total,deck=es"] != 1 || v["tapedeck_subscriber_records_total,deck=nq"] != 2 || v["tapedeck_check_ok,check=player,deck=nq"] != 1 {
		t.Errorf("%v", v)
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					gather(t, s)
				}
			}
		})
	}
	scopes[0].Close()
	gone[0].Store(true)
	close(stop)
	wg.Wait()
	v, _ = gather(t, s)
	if _, there := v["tapedeck_subscriber_records_total,deck=es"]; there || v["tapedeck_subscriber_records_total,deck=nq"] != 2 || len(s.Status().Checks) != 1 {
		t.Errorf("after one was closed: %v, %+v", v, s.Status())
	}
	again := s.Scope("deck", "es") // the name is free
	again.Subscriber(func() subscriber.Summary { return subscriber.Summary{Records: 7} })
	if v, _ = gather(t, s); v["tapedeck_subscriber_records_total,deck=es"] != 7 {
		t.Errorf("opened again: %v", v["tapedeck_subscriber_records_total,deck=es"])
	}
}

// TestCloseOfWhatHangs: a scope whose part hangs can still be closed.
func TestCloseOfWhatHangs(t *testing.T) {
	s := New(Config{Answer: 10 * time.Millisecond})
	release := make(chan struct{})
	defer close(release)
	sc := s.Scope("deck", "es")
	sc.Subscriber(func() subscriber.Summary { <-release; return subscriber.Summary{} })
	gather(t, s)
	sc.Close()
	if v, _ := gather(t, s); v["tapedeck_parts_unanswered"] != 0 {
		t.Error("a part of a scope that is closed is missed")
	}
}

// TestStatus: one check that fails, or does not answer, makes the process not ready,
// and says which and why.
func TestStatus(t *testing.T) {
	s := New(Config{Answer: 20 * time.Millisecond})
	if st := s.Status(); !st.Ready || len(st.Checks) != 0 {
		t.Errorf("nothing to check: %+v", st)
	}
	release := make(chan struct{})
	defer close(release)
	var bad error
	s.Root().Check("stream", func() error { return bad })
	if st := s.Status(); !st.Ready || !slices.EqualFunc(st.Checks, []CheckStatus{{Name: "stream", OK: true}}, sameCheck) {
		t.Errorf("%+v", st)
	}
	bad = errors.New("nothing came for 9s")
	s.Scope("deck", "es").Check("player", func() error { <-release; return nil })
	want := []CheckStatus{{Name: "stream", Reason: "nothing came for 9s"}, {Name: "player", Reason: "no answer", Labels: map[string]string{"deck": "es"}}}
	if st := s.Status(); st.Ready || !slices.EqualFunc(st.Checks, want, sameCheck) {
		t.Errorf("%+v, want %+v", st, want)
	}
	v, _ := gather(t, s)
	if v["tapedeck_check_ok,check=stream"] != 0 || v["tapedeck_check_ok,check=player,deck=es"] != 0 {
		t.Errorf("%v", v)
	}
}

func sameCheck(a, b CheckStatus) bool {
	return a.Name == b.Name && a.OK == b.OK && a.Reason == b.Reason && len(a.Labels) == len(b.Labels) && a.Labels["deck"] == b.Labels["deck"]
}

// TestScopeLabels: what cannot be a label is a mistake of the program.
func TestScopeLabels(t *testing.T) {
	for _, labels := range [][]string{{"deck"}, {"Deck", "x"}, {"", "x"}, {"deck", string(make([]byte, labelMax+1))}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q was taken", labels)
				}
			}()
			New(Config{}).Scope(labels...)
		}()
	}
	s := New(Config{})
	s.Scope("deck", "a\xffb").Lag(new(latency.Histogram))
	if v, _ := gather(t, s); v == nil {
		t.Error("a name that is no UTF-8 breaks the scrape")
	}
}
