// Package resync makes a stream whole again: what a reader missed it asks for,
// out of band, and puts where it belongs.
//
//	live stream ─▶ Healer ─▶ next handler          (all records, once, in order)
//	                 │  ▲
//	     gap: refill │  │ chunks with their original sequences
//	                 ▼  │
//	               Client ══ DEALER ── ROUTER ══ server ─▶ Refills, Snapshots
//
// Refills is a source of what a stream has sent before, Snapshots one of last
// values: a recorder's or a player's tape, a last-value cache. The protocol
// between client and server is in docs/RESYNC.md; its messages begin with the
// signature TPRS, and Parse and the Append functions are all there is to it.
//
// The healing itself is a state machine per shard: live, gap, request, merge, live.
// It is pure: events go in, actions come out, and a simulation runs it through
// thousands of bad days. The order of a shard is always kept: while sequences are
// missing, what came after them is held, in a bounded buffer. What cannot be had is
// told as a gap, never left out in silence.
//
// SaveResume and LoadResume keep where a reader has come to in a file, so that it
// can go on after a crash.
package resync
