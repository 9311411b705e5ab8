package replay

import (
	"context"
	"errors"
	"time"
)

// SetTopics plays only topics with one of the prefixes from here on; none, or an empty
// one, plays all. It begins a new epoch of the stream, with reason "filter": every wanted
// topic's last values before the place where the player stands, unless
// Config.NoSnapshot says no, and then it goes on as it did. At full speed, where
// each shard is played by itself, the place is that of the shard furthest behind.
//
// SetTopics returns when the new epoch has begun. The prefixes are copied.
func (p *Player) SetTopics(ctx context.Context, prefixes []string) error {
	return errors.New("replay: filter: not built yet")
}

// setTopics makes a filter the player's own.
func (p *Player) setTopics(t *topics) { p.topics, p.filter = t, t.set }

// SetSqueeze sets Config.Squeeze from here on; 0 leaves idle stretches as they are.
func (p *Player) SetSqueeze(ctx context.Context, d time.Duration) error {
	return errors.New("replay: squeeze: not built yet")
}
