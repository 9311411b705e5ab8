// Package chp shares a table of keys and values with any number of clients in
// any language: the Clone pattern of the ZeroMQ guide and its specification,
// the Clustered Hashmap Protocol (CHP, ZeroMQ RFC 12). docs/WIRE.md, section
// "Clone", has the bytes.
//
// Server hands a snapshot to whoever asks for one and then publishes every
// update with a number. Its state is either a table of its own, which clients
// may change, or somebody else's Store, such as a cache of last values. Client
// keeps a copy of the table: it reads updates while the snapshot comes, checks
// that nothing is missing, and asks again when something is.
//
// The guide's own servers and clients work with both unchanged. What CHP lacks
// travels as properties of messages, which its clients carry and ignore: the
// epoch of the server's run, the number of entries at the end of a snapshot, and
// for each update the number of the one before it in each subtree, so that a
// client that listens to a subtree alone can see that it missed something.
//
// Data flow of a server: KVSETs (collector loop) and Server.Set and
// Server.Update (any goroutine) go under one lock into the state and an outbox,
// in the same order; the publishing loop sends the outbox. Snapshots are made
// by a loop of their own from captures, which cost a copy of a few hundred
// pointers under that lock however large the table is, and go to each requester
// as fast as its queue takes them.
//
// Ownership: bytes that are handed in are copied; a Message that was parsed
// borrows its frames; an Entry belongs to the table and never changes.
package chp
