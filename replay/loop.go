package replay

import (
	"context"
	"errors"

	"github.com/tapedeck/tapedeck/wire"
)

// Range is a part of the tape, from a place up to another.
type Range struct{ From, To Target }

// Loop goes to a and plays what lies between a and b, [a, b), again and again. Every
// round is a new epoch of the stream, with reason "loop", that begins with every topic's
// last values before a, as after a seek. Paced, idle time before b passes in each round
// as it does on the tape. Rounds begin at least 10 ms apart.
//
// The loop goes on until Unloop, another Loop, or a Seek to a place outside of it. A
// round that sends nothing, because no topic in it is played, leaves the player held
// until a command changes that.
//
// Loop returns when the first round's epoch has begun. The error wraps ErrBeyond where
// nothing lies between a and b.
func (p *Player) Loop(ctx context.Context, a, b Target) error {
	return errors.New("replay: loop: not built yet")
}

// Unloop makes the player go on behind the loop's end, in the same epoch. Where there
// is no loop it does nothing.
func (p *Player) Unloop(ctx context.Context) error {
	return errors.New("replay: loop: not built yet")
}

// loop is a part of the tape that is played again and again. It does not change.
type loop struct {
	pass             int          // that it is in
	from, to         wire.Ordinal // places in a pass, [from, to)
	fromTime, toTime wire.Nanos   // of the records there, by the player's clock
}
