// Package cboe reads captures of Cboe Futures Exchange's multicast PITCH depth of
// book feed: messages over UDP. It follows the CFE Multicast PITCH specification
// 1.1.6; the names of messages and fields are its, in snake case. PITCH of Cboe's
// other exchanges has the same framing and, where a field is in both, mostly the same
// places; it is read too, but what differs there is not known here.
//
// A datagram is a head of 8 bytes (length, count, unit, sequence number) and
// messages, each with its length and type first. A record is one message; its body is
// the message from its length on, unchanged, so that the bodies of a datagram, one
// behind the other, are the datagram behind its head.
//
// # Topics
//
// A topic is prefix (Options.Topic), venue, ".", symbol: the exchange's own symbol of
// six characters, which the instrument definitions tie to an expiry of a product. The
// venue is Options.Dataset, or "XCBF". Messages that change an order name only the
// order; its symbol is the one it was added with. The last million orders or more are
// remembered. Messages about an order that is not known, and those about no symbol, go
// to the topic of their unit, venue, ".@" and its number.
//
// # Times, kinds
//
// Event time is the unit's last time message (type 0x20) and the nanoseconds of the
// message; a definition, which comes outside of that order, has its own seconds.
// Until the first time message of a unit, and for types not known here, there is no
// event time (FlagNoEventTime), and the capture time stands for it. So it is on
// exchanges whose time message has no date, until a time reference (type 0xb1) came.
// Receive time is the capture time.
//
// Orders and their executions are KindOrder, trades and their breaks KindTrade,
// trading status KindStatus, settlements and summaries KindStatistic, definitions
// KindDefinition, times, transactions and ends of session KindSystem, types not known
// here KindData.
//
// # Sequence numbers
//
// They count messages. A stream is a unit on a port, which the lines A and B of a feed
// have in common. Datagrams with number 0 are not in sequence, as definitions are not.
// A datagram without messages is a heartbeat, with the number of the next message.
//
// # Decoding
//
// Short prices have 2 decimals, long ones 4. The numbers of a variance block are given
// as they stand. What is behind the fields known here is given in hex, as is a message
// of a type that is not known.
package cboe
