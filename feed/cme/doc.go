// Package cme reads captures of CME Group's market data platform, MDP 3.0: SBE
// messages over UDP. It follows CME's MDP 3.0 message specification and the FIX
// Simple Binary Encoding 1.0; the names of messages and fields are theirs, in snake
// case.
//
// A datagram is a head of 12 bytes (sequence number, sending time) and messages,
// each a size of two bytes, an SBE head (block length, template, schema, version),
// a block and repeating groups. A record is one message; its body is the message
// from its size on, unchanged, so that the bodies of a datagram, one behind the
// other, are the datagram behind its head.
//
// # Topics
//
// A topic is prefix (Options.Topic), "GLBX.", security id: of the message's block,
// or of its first group if all entries have the same one. A message without one, or
// with entries of more than one security, goes to the topic of its channel,
// "GLBX.@" and its number, such as "GLBX.@310". The channel is not in the datagram:
// it is the last three digits of the port, as CME numbers them (14310 and 15310 are
// the lines A and B of channel 310).
//
// # Times, kinds
//
// Event time is the datagram's sending time, one for all its messages; the time of
// the match, TransactTime, is among the decoded fields. Receive time is the capture
// time.
//
// Books are KindQuote, orders KindOrder, trade summaries KindTrade, volume and
// statistics KindStatistic, limits and security status KindStatus, instrument
// definitions KindDefinition, quote requests KindQuote, heartbeats, logins and
// channel resets KindSystem, unknown templates KindData. Messages of the snapshot
// feeds have FlagSnapshot.
//
// # Sequence numbers
//
// They count datagrams. A stream is what has one port but for the line (14310 and
// 15310), and one feed: incremental, snapshots, snapshots of orders, replay of
// definitions, told apart by the first message, since CME sends them to the same
// port of different groups. The snapshot and replay feeds number each loop from 1.
//
// # Decoding
//
// Blocks and groups have the length that the message says, whatever length its
// template has here, so later versions of the schema are read too. A group is one
// field, a JSON array of objects. Of definitions of options and spreads only what
// all definitions have in common is decoded; that, and templates not known here,
// have their bytes in hex.
package cme
