// Package shard says which shard a topic belongs to, at which endpoint a shard
// is served, and on which CPUs its threads run.
//
// It is pure: no sockets, no files, no look at the machine. What it needs to
// know of the machine (the CPUs that the process may use) is given to it.
//
// # Stability
//
// Tapes and streams outlive programs, so the map from topic to shard is part of
// the format and never changes:
//
//   - A topic's shard is XXH64(topic, seed 0) mod N, over the topic's bytes as
//     the record carries them. The same topic and the same N give the same shard
//     for ever, on every machine, in every version.
//   - Going from N to k*N shards splits every shard: what was in shard s is then
//     in the k shards that are congruent to s modulo N, and nowhere else.
//     Read the other way: shard s of a stream of k*N shards lies wholly in shard
//     s mod N of a stream of N shards. So a tape of 8 shards plays as 4, 2 or 1
//     without looking at its records; see Map.Within.
//   - Between other numbers of shards every record must be hashed anew.
package shard
