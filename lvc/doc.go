// Package lvc keeps the last value of every topic of a stream and serves it: to
// any ZeroMQ SUB client on the plain stream (docs/WIRE.md, section 12), and to
// whoever asks for a snapshot.
//
//	subscriber ── HandleBatch ──▶ table ──▶ hub ══ plain stream ══▶ SUB clients
//	                                │  ▲                             │
//	                                │  └──── subscription: capture ◀─┘
//	                                ├──▶ Snapshot (resync, CHP)
//	                                └──▶ tap
//
// One lock holds table and filters together. Whoever has it takes a batch in,
// writes its records once as they go out, and puts them into the queue of every
// reader that wants them; or takes a subscription in and fixes the moment of its
// answer. Both are short: sockets are written, and answers of many topics put
// together, by each reader's own goroutine, which looks at the table in slices. A
// value that is replaced before a slice comes to it is set aside, so an answer is
// the table at one instant, the records behind it in the queue go on from exactly
// there, and nobody else waits or hears of it.
//
// A slow reader fills its own queue, of so many bytes, and loses what comes
// beyond that, alone; when it has caught up it is given the last values anew.
//
// The table and everything in index.go and capture.go are pure.
package lvc
