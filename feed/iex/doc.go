// Package iex reads captures of the feeds of the Investors Exchange: TOPS 1.5 and
// 1.6, DEEP 1.0 and DEEP+ 1.0 in IEX-TP 1. It follows the IEX Transport Protocol
// Specification, the TOPS, DEEP and DEEP+ specifications; the names of message
// types and fields are theirs.
//
// A record's body is the message as it is, from its type on, without the length
// before it.
//
// # Topics
//
// A topic is prefix (Options.Topic), "IEXG.", symbol. A system event, which has no
// symbol, goes to "IEXG.@system"; a message of a type that is not known here, or
// whose symbol is not printable, to "IEXG.@other".
//
// # Times, kinds
//
// Event time is the message's time stamp, receive time the capture time. A message
// of an unknown type has no event time (FlagNoEventTime).
//
// Quote and price level updates are KindQuote; trade reports and breaks KindTrade;
// official prices KindStatistic; auction information KindImbalance; the security
// directory KindDefinition; trading, operational halt, short sale and retail
// liquidity states and security events KindStatus; system events KindSystem; the
// messages of DEEP+ about one order or a whole book, executions included,
// KindOrder; unknown types KindData.
//
// # Sequence numbers
//
// A stream is protocol, channel and session. The numbers count messages. Inside a
// session they may start again at 1, as test captures do: the records are kept,
// and the restarts are noted. Segments without messages are heartbeats; they are
// counted, and the number they carry shows a gap before the next message does.
//
// # Bad input
//
// A segment whose lengths contradict each other and a message that is shorter than
// its type are a *feed.BadRecord; what came before it in the segment is delivered.
// Messages may be longer than known: the specifications reserve the right to add
// fields. See package pcap for what else a capture may bring.
package iex
