// Package replay is the deck: it plays a tape to a publisher, as fast as readers
// take it or at a factor of the tape's own pace.
//
// At full speed, with as many shards as the tape has and no topic filter, a
// stored block goes out as it is: the publisher gets the bytes of the mapped
// segment or of the decoder's buffer, and nothing of ours touches a record.
// Each shard is played by a thread of its own, if the publisher is a
// StoredPublisher. Otherwise records are gathered into batches, one open batch per shard. A
// batch goes out when it is full or when the next record is not yet due; nothing
// waits for a batch to fill.
//
// Pacing counts from one anchor on the monotonic clock, so errors do not add up,
// and keeps a histogram of how late each record left.
//
// In lock-step it waits after every window of records until the readers that the
// publisher knows by name have handled it; batches are then cut by rule, so that the
// same tape gives the same stream on every run.
//
// Squeezed, an idle stretch of the tape lasts no longer than is wanted; what happens on
// either side of it keeps its pace.
//
// While it plays, a Player takes commands from any goroutine: Seek, Pause, Resume,
// Step, SetSpeed, SetSqueeze, Loop, Unloop, SetTopics, Stop. A command breaks off what plays by its context,
// which every wait looks at in any case; each shard then stands behind the last of
// its records that went out, and play goes on from there in whatever way is wanted
// now. So commands cost a record nothing, and wait for no reader. A seek, each round of a
// loop, and another topic filter begin a new epoch of the stream, with every topic's
// last values before the place first. State and Wait say where the player is, and what
// it does it also tells its readers, on the stream itself: see Noticer.
//
// The player also gives again what it has sent, sequence by sequence, to whoever
// missed some of it: Extents, Read, Find. It remembers of one record in a thousand
// or less where it was on the tape; the tape has the rest.
package replay
