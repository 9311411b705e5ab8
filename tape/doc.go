// Package tape is the storage format of Tapedeck: recordings that are written
// once, survive a crash at any instant, and are read at the speed of memory.
//
// A tape is a directory. manifest.json says what it is; numbered segments hold
// blocks; an index beside each closed segment lists its blocks; topics lists
// the topics. docs/TAPE.md has the offset tables and is precise enough to write
// a reader in another language; testkit/tape holds a golden tape.
//
// A block is one batch of one shard exactly as it travels (payload, then order
// frame), stored plain or compressed. A plain block of a mapped segment goes to
// a socket without a copy.
//
// Writing: Create or OpenAppend, then Append, AppendFields or AppendBatch from
// any number of goroutines, one shard's records in order; Sync, Close or Abort.
// The writer hashes, compresses and writes behind a bounded queue, and keeps
// the promise of Config.SyncInterval.
//
// Reading: Open, which never changes anything on disk, then Reader for blocks
// or Records for records in the one order over all shards, or ReadSeq for any
// range of a shard's sequences. Writer.Live reads by sequence while the tape is
// being written, up to the record that was appended last. Verify checks every
// byte; Recover cuts the torn tail of a tape whose writer died, keeping what it
// cut aside.
//
// Ownership of bytes: what goes in is borrowed until return, and copied. What
// comes out is borrowed until the reader's next step, or until Release where
// the caller has called Retain.
package tape
