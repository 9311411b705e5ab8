// Package freelance asks one of several servers, without a broker: the Freelance
// pattern of the ZeroMQ guide, in its three models.
//
//	Sequential   one server after the other, each by a socket of its own: any
//	             REP server that answers [body ...] with [reply ...]
//	Shotgun      all at once, and the first answer counts: servers that answer
//	             [number][body ...] with [number][reply ...]
//	Routed       the best one, by who is alive: servers of the Freelance Protocol
//	             (ZeroMQ RFC 10/FLP), whose ROUTER has its public endpoint for an
//	             identity
//
// On the wire, the frames that ROUTERs add or take not counted:
//
//	ping      client to server   ["PING"]
//	pong      server to client   ["PONG"]
//	request   client to server   [control][body ...]
//	reply     server to client   [control][reply ...]
//
// control is the number of the request in ASCII, which the server gives back.
//
// What is done otherwise than in the guide: several requests are in flight; one is
// sent again when its try has run out, not whenever the client wakes; a server that
// answers pings and no requests is left alone for a while that grows; what is due is
// kept in order of time; nothing sleeps while it connects; and who answered is told.
//
// Servers may see a request more than once, and several may: they must not mind.
package freelance
