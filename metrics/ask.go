package metrics

import "context"

// asked is somebody who is asked now and then and may hang. It is asked by one
// goroutine at a time, and one that hangs is not asked again.
type asked struct{ turn chan struct{} } // holds a token while it is being asked, or for ever

func newAsked() asked { return asked{make(chan struct{}, 1)} }

// end waits until nobody is asking, and that nobody ever does again, or until ctx ends.
func (a *asked) end(ctx context.Context) {
	select {
	case a.turn <- struct{}{}: // and it stays
	case <-ctx.Done():
	}
}

// begin reports whether it may be asked now.
func (a *asked) begin() bool {
	select {
	case a.turn <- struct{}{}:
		return true
	default:
		return false
	}
}

// who is what askAll asks.
type who[A any] interface {
	comparable
	begin() bool
	over()
	answer() A
}

func (a *asked) over() { <-a.turn }

// askAll asks all at the same time, calls take with every answer that comes before ctx
// ends, and returns how many did not come.
func askAll[W who[A], A any](ctx context.Context, all []W, take func(W, A)) (missing int) {
	type reply struct {
		of   W
		said A
	}
	replies := make(chan reply, len(all)) // room for those that come too late
	waiting := 0
	for _, w := range all {
		if !w.begin() {
			missing++ // it still hangs
			continue
		}
		waiting++
		go func() {
			said := w.answer()
			w.over() // before it is heard: who has heard it may ask again
			replies <- reply{w, said}
		}()
	}
	for ; waiting > 0; waiting-- {
		select {
		case r := <-replies:
			take(r.of, r.said)
		case <-ctx.Done():
			return missing + waiting
		}
	}
	return missing
}
