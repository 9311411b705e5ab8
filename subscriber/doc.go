// Package subscriber is the Black Box: it receives the shards of a stream, one
// locked and pinned receive loop per shard, checks continuity, and hands each
// batch to a Handler where libzmq received it.
//
// Per shard the loop holds the epoch, the next sequence and the rolling hash.
// Sequences that never arrive are reported as gaps [from, to), repeated ones
// are dropped and counted, frames that are no batches are refused and counted.
// At the end mark the shard knows whether it has seen everything. A publisher that
// goes elsewhere in its source begins a new epoch and says how far the one before
// had come: a loss at its end is a gap of that epoch, and nothing is broken off.
//
// A Handler is called from the receive loops: for one shard never concurrently,
// for different shards concurrently.
//
// Workers put N goroutines behind the loops, every one attached to every shard.
// A batch stays where it was received until the last worker has let go of it:
//
//	shard 0 ── loop ──┐ pool      ┌── worker 0
//	shard 1 ── loop ──┼─ lease ───┼── worker 1
//	shard 2 ── loop ──┘           └── worker 2
//
// The loop looks at each record once, to write down whose it is, and each worker
// goes straight to its own; that costs less than every worker skipping what
// belongs to others (BenchmarkDispatchCost). A Between may stand before the pools,
// to make the stream whole before it is shared out.
//
// A reader in lock-step tells the publisher, by a subscription like all that it has to
// say, what it has handled of each shard: a publisher that plays in lock-step sends
// nothing more before that. It belongs behind no Conflater and no Gate, which return
// from what they have not handed on.
//
// A Conflater and a Gate stand before a Handler that may be too slow: the one
// hands over the latest record of each topic only, the other nothing until a fresh
// snapshot is there. While they are not at work batches pass as if there were none.
package subscriber
