// Package snail says who is too slow, and what is to be done about it: the
// Suicidal Snail of the ZeroMQ guide, with its flaws mended.
//
//	headers, gaps ──▶ Meter ──▶ Verdict ──▶ Ladder (Policy) ──▶ Action, Squawk     in the reader
//	reports, TCP queues ──────▶ Registry ──────────────────────▶ Squawk, List()     in the publisher
//
// A Meter watches one shard from the reader's side. Lag is the reader's clock
// minus the batch's send time, never its event time: replays are old by nature.
// The clocks' skew is estimated and taken off. Loss counts as slowness: where a
// publisher's queue is short it drops before it delays, and lag alone would see
// nothing. A handler that does not return is seen by Tick.
//
// A Registry is what a publisher or a proxy knows of its readers: what each one
// reports, and what the TCP queue of its connection says without its help.
//
// The package is pure: callers tell the time, and no goroutine is started.
package snail
