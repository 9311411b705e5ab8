// Package hostile is a peer that nobody wants: it connects to ports where ZMTP 3
// (ZeroMQ RFC 23) or HTTP is spoken, and says what is wrong at every level.
//
//	greeting    none, cut off, of other versions, with other mechanisms
//	handshake   commands that are none, metadata that lie about their lengths;
//	            of CURVE (RFC 26) each step: made up, cut off, changed, of another key
//	framing     lengths up to 2^63, unknown flags, frames that are never finished
//	messages    made up, and good ones with bits, lengths, numbers and frames changed
//	words       subscriptions by the thousand, long ones, words of readers changed
//
// It writes bytes to connections of its own, so nothing of ours and nothing of libzmq
// keeps it from what a library would not let it say. All that it says follows from a
// seed; how much of it is taken before a connection is cut depends on the peer.
package hostile
