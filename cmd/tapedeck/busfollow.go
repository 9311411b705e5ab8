package main

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/resync/chp"
)

// follower has the keys of a Clone that tapedeck serve shares, and those that have
// changed since they were taken. The latest value of a key is what counts: whoever
// is slow sees fewer of them.
type follower struct {
	client *chp.Client
	place  control.ClonePlace
	wake   chan struct{} // of one

	mu      sync.Mutex
	values  map[string][]byte
	changed []string // keys, each once, in the order of their first change
	pending map[string]bool
}

// newFollower follows the keys below prefix.
func newFollower(place control.ClonePlace, prefix string) (*follower, error) {
	if place.Snapshot == "" || place.Updates == "" {
		return nil, errors.New("this tapedeck serve does not share its state")
	}
	client, err := chp.NewClient(chp.ClientConfig{})
	if err != nil {
		return nil, err
	}
	err = errors.Join(client.Subtree(prefix), client.Connect(chp.Endpoints{Snapshot: place.Snapshot, Updates: place.Updates}))
	if err != nil {
		return nil, err
	}
	f := &follower{client: client, place: place, wake: make(chan struct{}, 1), values: map[string][]byte{}, pending: map[string]bool{}}
	client.Watch("", f.change)
	return f, nil
}

// change takes a change in, on the client's goroutine.
func (f *follower) change(c chp.Change) {
	key := string(c.Key)
	f.mu.Lock()
	if c.Deleted {
		delete(f.values, key)
	} else {
		f.values[key] = bytes.Clone(c.Value)
	}
	if !f.pending[key] {
		f.pending[key] = true
		f.changed = append(f.changed, key)
	}
	f.mu.Unlock()
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// take returns the keys that have changed since it was called last, with their
// values; nil is gone.
func (f *follower) take() (keys []string, values map[string][]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	keys, values = f.changed, map[string][]byte{}
	for _, key := range keys {
		values[key] = f.values[key]
	}
	f.changed, f.pending = nil, map[string]bool{}
	return keys, values
}

// all returns all values. They are not to be changed.
func (f *follower) all() map[string][]byte {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make(map[string][]byte, len(f.values))
	for key, value := range f.values {
		all[key] = value
	}
	return all
}

// run follows until ctx ends, or step returns an error or false. step is called when
// something has changed, but not more often than every pause; the first time when
// all is there.
func (f *follower) run(ctx context.Context, out *output, pause time.Duration, step func() (bool, error)) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- f.client.Run(ctx) }()
	defer func() {
		cancel()
		if runErr := <-ran; runErr != nil && !errors.Is(runErr, context.Canceled) {
			err = errors.Join(err, runErr)
		}
	}()
	if err := f.begin(ctx, out); err != nil {
		return err
	}
	for {
		if more, err := step(); err != nil || !more {
			return err
		}
		if err := f.wait(ctx, out, pause); err != nil {
			return err
		}
	}
}

// begin waits until all is there, and says when that takes a while.
func (f *follower) begin(ctx context.Context, out *output) error {
	soon, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	if f.client.WaitActive(soon) != nil && ctx.Err() == nil {
		out.remark("nothing from %s yet; still trying", f.place.Snapshot)
		_ = f.client.WaitActive(ctx)
	}
	return ctx.Err()
}

// wait waits for a change, and at least for pause. Where nothing is heard of the
// server for a while it says so, once.
func (f *follower) wait(ctx context.Context, out *output, pause time.Duration) error {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for silent := false; ; {
		select {
		case <-f.wake:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			if f.client.Status().State != chp.Active && !silent {
				silent = true
				out.remark("nothing from %s any more; still trying", f.place.Snapshot)
			}
		}
	}
}
