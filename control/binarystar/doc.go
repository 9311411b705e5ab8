// Package binarystar makes two servers one: of a primary and a backup one is
// active and serves, the other is passive and takes over when the active one is
// gone. It is the Binary Star pattern of the ZeroMQ guide.
//
// A server becomes active in place of its peer only when both are true: the peer
// has been silent for two heartbeats, and a client asks. Silence alone may be a
// broken link between two servers that are both well; a request alone may be a
// client's mistake. The client is the third vote that keeps two from being active.
//
// Machine decides, and is pure: events and times go in, what is to be done comes
// out. Pair puts sockets and a clock around it.
//
// What is done otherwise than in the guide, each with a test of its own:
//
//   - Each time that a server becomes active is an epoch, greater than any either
//     has heard of. The primary's are even and the backup's odd, so no two are the
//     same. What an active server of an earlier epoch says is fenced: refused,
//     counted, and no sign of life.
//   - A primary that starts serves nobody before it has heard its backup, which may
//     be active, or has waited as long as a silence counts.
//   - Two that are active do not stop: the one of the earlier epoch yields.
//   - Two that are passive do not stop: the primary becomes active.
//   - A backup that has never heard its primary can be promoted by an operator.
//   - Whoever serves only subscribers, who ask nothing, votes by a request of its own
//     over the way that clients take.
//   - A backup can give the work back to a primary that has been well for a while.
//   - A request is refused with a reason.
package binarystar
