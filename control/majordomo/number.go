package majordomo

import (
	"context"

	"github.com/tapedeck/tapedeck/control/pirate"
)

// requestKey finds a registration in the context of its handler.
type requestKey struct{}

// RequestNumber returns the number of the request whose Handler was given ctx,
// where it names the request over all clients: it has a number frame, and the
// number is 2^32 or above. A Handler that must not do a thing twice can tell a
// repeat by it, also after the broker was started again. It holds until the
// Handler returns.
func RequestNumber(ctx context.Context) (n uint64, ok bool) {
	r, _ := ctx.Value(requestKey{}).(*registration)
	if r == nil || r.number == nil {
		return 0, false
	}
	n, failed, ok := pirate.ParseNumber(r.number)
	return n, ok && !failed && n >= numbersOfTheirOwn
}
