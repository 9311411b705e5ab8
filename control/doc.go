// Package control is what is said on the control bus: the schema of requests and
// replies, the services with the types of their commands' arguments and results,
// and both ends of it.
//
//	Client ─▶ majordomo.Client ══ broker ══ majordomo.Worker ─▶ Service ─▶ Command.Do
//
// A request and a reply are two frames, as the body of a request and a reply of
// the Majordomo protocol: a signature, and one JSON object that a person can read
// and any language can produce. docs/CONTROL.md is the schema as prose, and
// testkit/control has golden vectors of it.
//
// A client gives each command its own id and a number, and may say it as often as
// it likes: a Service does it once and gives everybody who repeats it the same
// reply. Where a command takes long, whoever asks is told so (Pending) and asks
// again, which is a repeat like any other; so no request has to wait longer than a
// broker or a client wants to keep it.
//
// Times are nanoseconds since 1970-01-01T00:00:00Z, in fields that end in _time;
// durations in nanoseconds, in fields that end in _ns. What people write (places
// on a tape, speeds, durations of arguments) is text in the form of the flags of
// the command line.
package control
