// Package wire is the batch and record layout of Tapedeck: what travels as one
// ZeroMQ message on a shard, and what a tape stores as one block.
//
// A message on a shard has two frames, or three when the ordinals of its records
// do not follow one another, as in a stream of several shards:
//
//	[header 80 bytes][payload: records][order: one varint per record but the first]
//
// The header says which epoch and shard the records belong to, the sequence of
// the first one, how many there are, and when they were sent. The payload is
// consecutive records, each a 24-byte head, the topic and the body. The order
// frame restores the publisher's one order over all shards.
//
// Everything is little-endian. docs/WIRE.md holds the offset tables and is
// precise enough to write a reader in another language; testkit/wire holds
// vectors for it.
//
// Record, Batch, Walk and OrderWalk are views: they borrow the bytes they were
// parsed from and are valid only as long as those bytes are. AppendX functions
// append to a caller's slice and return it. Nothing here allocates per record
// or per good batch, starts goroutines, or does I/O.
package wire
