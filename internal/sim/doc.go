// Package sim runs parts of Tapedeck against a world that it makes up: a clock, a
// network, disks and processes, all out of one seed. A run is a few minutes or hours
// of that world, takes some milliseconds, and is the same, byte for byte, whenever
// its seed is used again.
//
// A World is a queue of events in the order of their times. Between two events no
// time passes, and everything that happens happens on one goroutine; code that waits
// is a coroutine of the world (Process.Go, Process.Sleep). What decides is the
// project's own code, never a model of it: a scenario puts it into processes, does to
// them what happens to processes, and says what must hold.
//
//	deck    a tape that a pair plays, and readers of both: binarystar, subscriber
//	heal    a publisher, recorders, readers that heal what they miss: resync, pirate
//	bus     a broker, a service, Titanic and their clients: control, majordomo, titanic
//	buspair a pair of brokers, and all that: binarystar, too
//	lvc     shards, a pair of proxies of last values, plain readers: lvc, binarystar
//	pair    two servers of which one is active: control/binarystar
//	meter   who is too slow, seen with clocks that are set: snail
//
// Of deck the two players are a model, as replay plays by sockets and clocks of its own;
// who of them is active, and what readers make of their streams, is the project's. Of lvc
// the proxies are the project's down to the bytes that they write: a lvc.World gives them
// connections of this world (stream), and their readers speak ZMTP.
//
// What goes wrong in a world: messages are lost, repeated, late, overtaken; a link
// carries nothing, or only one way; a process is killed, stopped for a while, started
// again; a machine loses power, and its disk what was not synced; a disk is full; a
// clock is set, and runs fast or slow. Every run ends with a calm in which nothing
// goes wrong, so that what must happen at last can be asked for.
//
// A run that breaks a property ends at once. Its Violation names the seed; the same
// seed with a trace says what had happened.
package sim
