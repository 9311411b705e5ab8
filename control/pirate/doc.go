// Package pirate is reliable request-reply: the Lazy Pirate client and the
// Paranoid Pirate queue and worker of the ZeroMQ guide.
//
//	Client, REQ ══ ROUTER [ Queue ] ROUTER ══ Worker (DEALER) ─▶ Handler
//
// On the wire it is the Paranoid Pirate Protocol of the ZeroMQ RFCs (6/PPP), so
// clients, queues and workers of others work with these. What a worker and its
// queue say to each other, the ROUTER's identity not counted:
//
//	READY      worker to queue   [01]
//	HEARTBEAT  both              [02]
//	DOWN       both              [03]                  ours: I take, or send, no more
//	REQUEST    queue to worker   [client][][body ...]
//	REPLY      worker to queue   [client][][body ...]
//
// A client is a REQ, or a DEALER that sends the empty frame itself.
//
// What is done otherwise than in the guide: a heartbeat never makes a busy worker
// ready. A worker that dies at work is noticed by its silence, because ours beat
// while they work; its request goes to another worker, once, while its deadline
// lasts. So a request may be done twice: handlers must not mind. Queues are
// bounded, in requests and bytes. A request that cannot be answered is answered
// with the reason, but only to a client that understands it, because it put a
// number frame (see AppendNumber) in front of its request; others run into their
// own timeout, as they do with any queue. DOWN lets a worker leave, and a queue
// tell a worker that it does not know it, without waiting for a silence; a peer
// that does not know the byte ignores it.
//
// The state machines are pure: events and times go in, actions come out. Queue,
// Worker and Client put sockets and clocks around them.
package pirate
