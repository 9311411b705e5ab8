// Package pcap reads captures of UDP: pcap and pcapng, in microseconds or
// nanoseconds, of either byte order. It is the layer that the packet formats
// share, and a format of its own for datagrams of which no more is known.
//
// A packet format is a Protocol: a function that recognises a datagram by its
// content, and a Parser that gives the messages in one datagram after the other.
// Everything else is done here, in this order:
//
//   - the capture is taken apart into packets, by the readers of gopacket. The snap
//     length of its head is ignored, since 0 stands there as often as a limit that
//     is not kept;
//   - frames (Ethernet with any number of VLAN tags, raw IP, Linux cooked captures
//     1 and 2, BSD loopback) are taken apart into IPv4 or IPv6 and UDP, by the layers
//     of gopacket. Checksums are not looked at. Packets that are not UDP are counted,
//     tunnels among them;
//   - datagrams are chosen by where they go (Options.Groups). A Line is one such
//     destination, as a rule one of the lines A and B of a feed;
//   - the Parser says which sequence numbers a datagram carries, and a Sequencer
//     finds gaps, repetitions and restarts. With Options.AB "merge" each message is
//     delivered once, from whichever line brought it first; with "keep", the
//     default, each as often as it was captured.
//
// Receive time is the capture time. A packet without one, as a simple packet block
// of pcapng has none, gives FlagNoReceiveTime.
//
// # The generic format
//
// Each datagram is a record: the topic is prefix (Options.Topic), group, ":",
// port, such as "233.200.79.0:61000"; the body is the payload; event and receive
// time are the capture time; the kind is KindData.
//
// # Bad input
//
// A *feed.BadRecord stands for a datagram that is not delivered though it is one
// of those asked for: fragments of IP packets (they are not put together), what
// was not captured whole, heads that contradict each other, and what the Parser
// cannot take apart. So it does for a capture that ends inside a packet or whose
// framing makes no sense; that one is the last thing before io.EOF. A datagram
// that is not of the protocol at all, on a line that has brought none that is, is
// left out and noted; if a capture has only such datagrams the source ends with
// ErrNone in place of io.EOF.
//
// # Memory
//
// A source reads through one buffer of 256 KiB. A packet is copied out of it into
// another one, which grows with what comes of larger packets, to 16 MiB and half as
// much again. It follows up to 65,536 lines and as many streams on them, each
// with up to 1,024 gaps that late datagrams may still fill.
package pcap
