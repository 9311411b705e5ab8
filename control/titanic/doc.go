// Package titanic keeps jobs that outlive processes: requests to services on the
// bus, stored before they are accepted, asked for until there is a reply, which is
// kept until somebody has taken it. It is the Titanic pattern of the ZeroMQ guide.
//
//	Add, titanic.request ─▶ [ log ] ─▶ dispatcher ─▶ broker ═▶ the service
//	Get, titanic.reply   ◀─ [     ] ◀─ reply ◀─────────────────────┘
//	CloseJob, titanic.close ─▶ gone
//
// On the wire it is the Titanic Service Protocol (ZeroMQ RFC 9, 9/TSP) over the
// Majordomo protocol: three services, which clients of others use unchanged.
//
//	titanic.request  [service][body ...]  [200][id], [400] bad, [500]
//	titanic.reply    [id]                 [200][reply ...], [300] not yet, [400] there will be none, [500]
//	titanic.close    [id]                 [200], also where it is not known; [500]
//
// # What holds
//
// A job is accepted when it is on the disk: Add has returned, titanic.request has
// said 200. From then on it is asked for until it is answered, cancelled, closed,
// has expired or has failed. Its service is asked at least once, and perhaps more
// often: after a timeout, and where a process died between asking and storing the
// reply. Services must not mind, or know the repeat; a request that says who sent it
// (docs/CONTROL.md) says the same each time. The first reply that was stored is the
// reply, for ever: whoever was told it is never told another one. Nobody is told
// anything that a crash could take back.
//
// With a key a job can be added again, by a client that does not know whether it
// was, and is the same job. titanic.request derives a key from a control request's
// client and number, or from the number frame of our clients; requests of others
// have none, and each makes a job, as the specification says.
//
// # Otherwise than in the guide
//
// There is one preallocated log instead of a file for each message and a queue that
// only grows; what is in it is known by an index, rebuilt when it is opened, and a
// log that is mostly dead is replaced by one that holds what is alive. A job has one
// record that accepts it, so that no crash leaves half of one. Many are asked for at
// once, services take turns, and one without a worker costs a question now and then.
// A job that is closed, or has expired, while its service is at it leaves nothing
// behind. Jobs, bytes and times are bounded. docs/CONTROL.md, "The job log", has the
// format.
//
// The machine (what a record means) and the schedule (who is asked next) are pure.
// The store puts a file around the one, the dispatcher the bus around the other.
package titanic
