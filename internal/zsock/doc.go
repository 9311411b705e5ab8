// Package zsock is the one place that touches ZeroMQ. It gives the rest of the
// project sockets that send a batch without copying it and receive one where
// libzmq put it, and contexts whose I/O thread runs on a chosen CPU.
//
// Sockets are opened and configured through github.com/pebbe/zmq4; the hot
// calls go through a small C shim on the same socket. The shim takes the raw
// handle out of zmq4's Socket, whose layout a test and a check at start hold.
// That is simpler to keep right than a second way to open sockets, and leaves
// every option to the binding.
//
// A socket belongs to one goroutine, which should be locked to its thread while
// it uses the hot calls. EINTR, which Go's preemption signals cause at any
// time, is retried inside C.
package zsock
