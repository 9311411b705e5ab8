// Package recorder writes tapes: from a stream, batch by batch as it arrives, or
// from a source of records such as a vendor file.
//
// A recorded batch keeps its epoch, sequences, ordinals and all three clocks;
// its records are the publisher's bytes unchanged. A gap in the stream is a gap
// on the tape. What an import writes gets its numbers here: one epoch for the
// import, a sequence per shard and per topic, and ordinals in source order.
//
// While it goes on recording, a Recorder gives out any range of what it has, also
// what is not on the disk yet, so that subscribers can fill their gaps from it.
package recorder
