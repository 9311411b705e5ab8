package control

import (
	"context"
	"errors"
	"sync"
	"testing"
)

// memory is a ReplyStore that outlives services, and may fail.
type memory struct {
	mu       sync.Mutex
	kept     map[Key]StoredReply
	get, put error
}

func (m *memory) Get(k Key) (StoredReply, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.kept[k]
	return r, ok && m.get == nil, m.get
}

func (m *memory) Put(k Key, r StoredReply) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.put == nil {
		m.kept[k] = r
	}
	return m.put
}

func TestStoreOutlivesTheService(t *testing.T) {
	store := &memory{kept: map[Key]StoredReply{}}
	n := 0
	r := request(1, 1, "count", `{"a":1}`)
	first := newService(t, ServiceConfig{Store: store}, counter(&n, false))
	before := ask(t, first, r)
	wantCode(t, before, Done)
	_ = first.Close()

	second := newService(t, ServiceConfig{Store: store}, counter(&n, false))
	wantCode(t, ask(t, second, request(1, 1, "count", `{"a":2}`)), Refused)
	after := ask(t, second, r)
	if after.Code != Done || string(after.Result) != string(before.Result) || n != 1 {
		t.Errorf("done %d times; %d %s, want %s", n, after.Code, after.Result, before.Result)
	}
	wantCode(t, ask(t, second, request(1, 2, "count", `{"a":1}`)), Done)
	if n != 2 || len(store.kept) != 2 {
		t.Errorf("done %d times, kept %d", n, len(store.kept))
	}
}

func TestStoreThatCannotBeRead(t *testing.T) {
	store := &memory{kept: map[Key]StoredReply{}, get: errors.New("disk: unreadable")}
	var told []error
	n := 0
	s := newService(t, ServiceConfig{Store: store, StoreFailed: func(err error) { told = append(told, err) }}, counter(&n, false))
	r := request(1, 1, "count", "{}")
	wantCode(t, ask(t, s, r), NotAvailable)
	if n != 0 {
		t.Error("done without knowing whether it was done before")
	}
	store.get = nil
	wantCode(t, ask(t, s, r), Done)
	store.put = errors.New("disk: full")
	wantCode(t, ask(t, s, request(1, 2, "count", "{}")), Done)
	if n != 2 || len(told) != 2 || s.Counters().Unstored != 2 {
		t.Errorf("done %d times, told %v, %+v", n, told, s.Counters())
	}
}

// TestStoreIsNotForReading: commands that change nothing, and those that were broken
// off, leave nothing in the store.
func TestStoreIsNotForReading(t *testing.T) {
	store := &memory{kept: map[Key]StoredReply{}}
	n := 0
	begun := make(chan struct{})
	s := newService(t, ServiceConfig{Store: store}, counter(&n, true), Command{Name: "wait", Do: func(ctx context.Context, _ *Request) (any, error) {
		close(begun)
		<-ctx.Done()
		return nil, ctx.Err()
	}})
	wantCode(t, ask(t, s, request(1, 1, "count", "{}")), Done)
	var waiting sync.WaitGroup
	waiting.Go(func() { wantCode(t, ask(t, s, request(1, 2, "wait", "{}")), NotAvailable) })
	<-begun
	_ = s.Close()
	waiting.Wait()
	if len(store.kept) != 0 {
		t.Errorf("%d are stored", len(store.kept))
	}
}
