// Package merge plays several tapes as one: a replay.Source whose records are those
// of all tapes, in the order of one of their times.
//
// The order is that of package timeorder, so it is the one that a tape has which
// was merged from them: each tape keeps its own order, also where its times go back,
// and among equal keys the tapes come in the order given.
//
// A record's place is the sum of where all tapes stand before it: each at the place
// of its next record. So places follow from the records alone, are dense where those
// of the tapes are, and nothing is written down to find one again: a place is found
// by a binary search over the time at which the tapes stand there, in the tapes' own
// indexes and then in about one block of each shard.
package merge
