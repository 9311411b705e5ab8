package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/snail"
)

// audience is who reads what is published: it is looked at meanwhile, so that
// the summary knows those as well that have gone by then.
type audience struct {
	out     *output
	show    bool // say it every second
	squawks chan snail.Squawk
	unsaid  atomic.Uint64 // squawks that there was no room for

	mu   sync.Mutex
	seen map[string]snail.Reader // the latest of each
}

// audienceMax is how many readers a summary remembers.
const audienceMax = 4096

func newAudience(out *output, show bool) *audience {
	return &audience{out: out, show: show, squawks: make(chan snail.Squawk, 1024), seen: map[string]snail.Reader{}}
}

// squawk takes what the publisher has to say. It never waits: who plays calls it.
func (a *audience) squawk(s snail.Squawk) {
	select {
	case a.squawks <- s:
	default:
		a.unsaid.Add(1)
	}
}

// watch looks at the readers, as list lists them, until stop is called.
func (a *audience) watch(list func() []snail.Reader) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { a.say(ctx) })
	wg.Go(func() {
		// At first more often: a tape may be short.
		look, show := time.NewTicker(50*time.Millisecond), time.NewTicker(time.Second)
		defer look.Stop()
		defer show.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
				a.look(list)
			case <-show.C:
				look.Reset(500 * time.Millisecond)
				if a.show {
					a.list(a.look(list))
				}
			}
		}
	})
	return func() {
		a.look(list)
		cancel()
		wg.Wait()
	}
}

// look remembers who reads now.
func (a *audience) look(readers func() []snail.Reader) []snail.Reader {
	list := readers()
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range list {
		key := r.ID
		for i := range r.Connections {
			if peer := r.Connections[i].Peer; r.ID != "" {
				delete(a.seen, peer) // by now it has said who it is
			} else if key == "" {
				key = peer
			}
		}
		if _, known := a.seen[key]; known || len(a.seen) < audienceMax {
			a.seen[key] = r
		}
	}
	return list
}

// list says who reads.
func (a *audience) list(readers []snail.Reader) {
	for i := range readers {
		_ = a.out.message("reader", &readers[i], readerText(&readers[i]))
	}
}

// readerText is a reader in one line.
func readerText(r *snail.Reader) string {
	who := r.Name
	if who == "" && len(r.Connections) > 0 {
		who = r.Connections[0].Peer
	}
	text := fmt.Sprintf("reader %s: %v", cmp.Or(who, r.ID, "without a name"), r.Verdict)
	if r.ID != "" {
		text += fmt.Sprintf(", lag %v, %s lost", round(r.LagNs), thousands(r.Lost))
	}
	var queued int64
	for i := range r.Connections {
		queued += r.Connections[i].QueuedBytes
	}
	if queued > 0 {
		text += ", " + size(uint64(queued)) + " wait for it"
	}
	return text
}

// say writes squawks. It alone waits where nobody reads our output.
func (a *audience) say(ctx context.Context) {
	one := func(s snail.Squawk) {
		a.out.remark("%v", &s)
		_ = a.out.message("squawk", &s, "")
	}
	for {
		select {
		case s := <-a.squawks:
			one(s)
		case <-ctx.Done():
			for len(a.squawks) > 0 {
				one(<-a.squawks)
			}
			return
		}
	}
}

// all are all readers that were there, by name, as they were seen last.
func (a *audience) all() []snail.Reader {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.SortedFunc(maps.Values(a.seen), func(x, y snail.Reader) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.ID, y.ID))
	})
}
