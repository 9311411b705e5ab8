package replay

import (
	"context"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/wire"
)

// At full speed the shards of a tape have nothing to wait for in one another:
// each is a lane, a player of its own on a thread of its own that reads, decodes
// and sends the blocks of one shard. Ordinals come from the tape, so the one
// order over all shards is the same as from one goroutine.
//
// Paced play stays on one goroutine: what is due first must leave first, whatever
// its shard, and one clock keeps the schedule.

// allShards is the lane of a player that plays every shard itself.
const allShards = -1

// inLanes reports whether each shard is played by a lane of its own.
func (p *Player) inLanes() bool {
	_, concurrent := p.cfg.Publisher.(StoredPublisher)
	return concurrent && p.cfg.Shards > 1 && p.sendsBlocks()
}

// playLanes plays each shard on a thread of its own. It returns when all lanes have
// come to an end, or to the end of ctx: an order finds them together, each shard
// standing where it stands.
func (p *Player) playLanes(ctx context.Context) error {
	p.status.lanesAre(true)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		wg    sync.WaitGroup
		first error
		once  sync.Once
		ended = make([]bool, p.cfg.Shards)
	)
	for s := range p.cfg.Shards {
		lane := p.takeLane(s)
		wg.Go(func() {
			// The thread ends with the goroutine, and its CPU set with it.
			runtime.LockOSThread()
			err := pinTo(p.cpu(s))
			if err == nil {
				err = lane.playPasses(ctx)
			}
			if ended[s] = err == nil; !ended[s] {
				once.Do(func() { first = err })
				cancel(err)
			}
		})
	}
	wg.Wait()
	p.meet(ended)
	return first
}

// takeLane returns a player of one shard. It shares with p what does not change,
// the progress, and of where the shards stand its own.
func (p *Player) takeLane(s int) *Player {
	if p.lanes == nil {
		p.lanes = make([]*Player, p.cfg.Shards)
	}
	lane := p.lanes[s]
	if lane == nil {
		lane = &Player{
			cfg: p.cfg, shards: p.shards, asTape: p.asTape, lane: s, wait: p.wait, wall: p.wall,
			open: make([]*buffer, p.cfg.Shards), ordinals: p.ordinals, progress: p.progress, next: p.next, checked: p.checked,
			// For the parts of blocks at the borders of a range: two at a time.
			pool: newPool(p.cfg.BatchBytes, 4),
		}
		p.lanes[s] = lane
	}
	p.trails[s].reach(p.next[s]) // further than its latest record, where it waited for others
	lane.filter, lane.rounds = p.filter, p.rounds
	lane.lead, lane.epoch, lane.trails, lane.report = p.lead, p.epoch, p.trails, Report{}
	return lane
}

// meet takes over what the lanes did. A lane that has come to its end waits there
// for the others: were one of them behind it, the next pass would begin anew.
func (p *Player) meet(ended []bool) {
	behind := wire.Ordinal(0)
	for s, lane := range p.lanes {
		r := &lane.report
		p.report.Records += r.Records
		p.report.Bytes += r.Bytes
		p.report.Batches += r.Batches
		p.report.Passes = max(p.report.Passes, r.Passes)
		if !ended[s] && (behind == 0 || p.next[s] < behind) {
			behind = p.next[s]
		}
	}
	for s := range p.lanes {
		if ended[s] {
			p.next[s] = max(p.next[s], behind)
		}
	}
}

// cpu returns the CPU of the thread that plays a shard, or -1.
func (p *Player) cpu(s int) int {
	if p.cfg.CPUs == nil {
		return -1
	}
	return p.cfg.CPUs[s]
}

// pinTo moves the calling thread, which must be locked, to a CPU; below 0 it does
// nothing.
func pinTo(cpu int) error {
	if cpu < 0 {
		return nil
	}
	var want unix.CPUSet
	want.Set(cpu)
	if err := unix.SchedSetaffinity(0, &want); err != nil {
		return fmt.Errorf("replay: pin to CPU %d: %w", cpu, err)
	}
	return nil
}

// pin is pinTo that can be undone.
func pin(cpu int) (restore func(), err error) {
	if cpu < 0 {
		return func() {}, nil
	}
	var old unix.CPUSet
	if err := unix.SchedGetaffinity(0, &old); err != nil {
		return nil, fmt.Errorf("replay: read the thread's CPU set: %w", err)
	}
	return func() { _ = unix.SchedSetaffinity(0, &old) }, pinTo(cpu)
}

// note makes a batch that went out visible to who watches.
func (p *Progress) note(b *wire.Batch, at wire.Nanos) {
	p.Records.Add(uint64(b.Count))
	p.Bytes.Add(uint64(len(b.Payload)))
	p.Time.Store(int64(at))
}
