package publisher

import "github.com/tapedeck/tapedeck/wire"

// filters is which kinds of stored batches the readers of a shard want, as their
// subscriptions say. The socket reports every subscription, and the end of the
// last one to a topic.
type filters struct {
	references bool                // somebody takes references
	copies     map[string]struct{} // topics that match copies
	many       bool                // more than are remembered: somebody always may want copies
}

// filtersMax bounds how many topics are remembered, so that a peer that makes up
// filters cannot fill the memory.
const filtersMax = 1 << 10

func (f *filters) take(topic []byte, on bool) {
	switch {
	case wire.WantsReferences(topic):
		f.references = on
	case !wire.WantsCopies(topic):
	case !on:
		delete(f.copies, string(topic))
	case len(f.copies) >= filtersMax:
		f.many = true
	default:
		if f.copies == nil {
			f.copies = map[string]struct{}{}
		}
		f.copies[string(topic)] = struct{}{}
	}
}

func (f *filters) wantCopies() bool { return f.many || len(f.copies) > 0 }
