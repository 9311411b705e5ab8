// Package majordomo is service-oriented request-reply: broker, worker and client
// of the Majordomo pattern of the ZeroMQ guide.
//
//	Client, DEALER ══ ROUTER [ Broker ] ══ Worker (DEALER) ─▶ Handler
//
// On the wire it is MDP/0.1 (ZeroMQ RFC 7) with MMI (RFC 8), so clients, brokers
// and workers of others work with these. The ROUTER's identities not counted:
//
//	REQUEST     client to broker  [][MDPC01][service][body ...]
//	REPLY       broker to client  [][MDPC01][service][body ...]
//	READY       worker to broker  [][MDPW01][01][service]
//	REQUEST     broker to worker  [][MDPW01][02][client][][body ...]
//	REPLY       worker to broker  [][MDPW01][03][client][][body ...]
//	HEARTBEAT   both              [][MDPW01][04]
//	DISCONNECT  both              [][MDPW01][05]
//
// Names that begin with mmi. or tapedeck.broker. are the broker's own; a worker
// that offers one is sent away. It answers
//
//	mmi.service                [name] with [200] where the service has a worker, else [404]
//	mmi.ping                   with [200], our own; brokers of others say [501]
//	mmi.<other>                with [501]
//	tapedeck.broker.services   with a JSON array of ServiceState
//	tapedeck.broker.counters   with a JSON object, BrokerCounters
//	tapedeck.broker.<other>    with [501]
//
// # Numbers
//
// A client may put a number frame (control/pirate, AppendNumber) in front of its
// body. It names the request over all of the client's sockets and tries: numbers
// of 2^32 and above are taken to be nobody else's, so draw the first one at random;
// smaller ones are the client's own at its address. A numbered request that comes
// again while the broker has it is not done again: its reply goes to where it came
// from last. A broker that cannot have a numbered request answered says so, with a
// failed number frame and a Reason; others run into their own timeout. Our Worker
// takes the number off before the Handler sees the body, and puts it on the reply.
//
// # Several requests at once
//
// The protocol gives a worker one request at a time. With WorkerConfig.Prefetch ours
// takes more from a broker of ours, each in a message of its own as ever: it says so
// in the identity of its socket, where peers of others look for nothing. It answers
// them in their order. This is what makes many small requests cheap.
//
// # Two brokers
//
// Two brokers are a pair where each is told by BrokerConfig.Accept whether it is the
// active one. The passive one lists workers and beats, hands out nothing, and answers
// what clients ask, mmi. too, with a failed number frame and ReasonPassive, where they
// have sent a number; clients of others run into their timeout. One that becomes passive
// refuses so what no worker has, and sees through what workers have.
//
// A Worker with several endpoints is at all of them. A Client with several asks each for
// mmi.ping, and goes to one that does not refuse; it does so again when it is refused,
// when its connection ends, and when the broker owes it something and has been silent for
// two heartbeats, a ping included. What is outstanding it sends again, in its order. A
// request may so be given to a worker by both: handlers know the repeat by what is in
// the request, as those of control.Service do.
//
// # Otherwise than in the guide
//
// Reserved names are refused by the name of the service. A worker that dies at
// work is noticed by its silence, because ours beat while they work: it does not
// count for mmi.service any more, and its request goes to another worker, once,
// while its deadline lasts. So a request may be done twice, and handlers must not
// mind. Requests have deadlines. Services, requests, workers and bytes are bounded;
// a service is forgotten with its last worker and request. Clients of a service take
// turns. A client may be behind
// further ROUTERs. Our client holds what is outstanding and sends it again when its
// connection has broken and come back; our worker offers itself anew then. Both hear
// of that from the connection itself, where the transport has any.
//
// The broker's and the worker's decisions are pure: events and times go in, actions
// come out. Broker, Worker and Client put sockets and clocks around them.
package majordomo
