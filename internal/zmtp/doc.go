// Package zmtp speaks the publisher's side of ZMTP 3.0 (RFC 23/ZMTP), the protocol
// under ZeroMQ sockets, with the mechanisms NULL and CURVE (RFC 26/CURVEZMQ): enough
// to serve SUB and XSUB sockets of any implementation.
//
// libzmq's own XPUB can answer one subscriber alone (see internal/zsock,
// ManualLastValue), but not when a peer leaves at the same moment, not without
// holding up everybody else for as long as the answer takes to hand over, and
// without saying what it drops for whom. Here each connection has its own
// queue, so all three are the caller's to decide.
//
//	listener, endpoint, err := zmtp.Listen("tcp://*:7200")
//	conn, err := listener.Accept()
//	s, err := zmtp.Handshake(conn)
//	for { event, err := s.Next() ... }        // what the subscriber says
//	conn.Write(zmtp.AppendFrame(nil, ...))    // what it is sent
//
// Version 3.0 is announced and no later one: libzmq 4.3.4 writes wrong lengths in
// the SUBSCRIBE command of 3.1 for topics of 246 to 255 bytes. In 3.0 only those of
// 255 bytes are wrong, which can be told and is mended here.
package zmtp
