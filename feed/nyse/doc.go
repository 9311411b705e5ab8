// Package nyse reads captures of the XDP feeds of the NYSE exchanges: messages over
// UDP. It follows the NYSE XDP common client specification 2.1, the Imbalances feed
// specification 2.1 and the Integrated feed specification 2.1; the names of messages
// and fields are theirs, in snake case.
//
// A datagram is a head of 16 bytes (size, delivery flag, count, sequence number,
// send time) and messages, each with its size and type first. A record is one
// message; its body is the message from its size on, unchanged, so that the bodies
// of a datagram, one behind the other, are the datagram behind its head.
//
// # Topics
//
// A topic is prefix (Options.Topic), venue, ".", symbol. The venue is
// Options.Dataset, or "XNYS": the feed does not say which of the exchanges it comes
// from. Messages carry a symbol index; its symbol is what the last symbol index
// mapping (type 3) in the capture said, or the index itself, in decimal, where none
// did. Messages about no symbol go to the topic venue, ".@system"; types not known
// here to venue, ".@other".
//
// # Times, kinds
//
// Event time is the message's source time. Messages that carry only its nanoseconds
// belong to the second that brings them nearest to the datagram's send time. Those
// without source time, such as the mappings, have the send time. Captures of test
// systems may replay another day: their source times then lie days before their send
// times. Receive time is the capture time.
//
// Mappings are KindDefinition, security status and session changes KindStatus,
// orders and their executions KindOrder, trades, crosses, their corrections and
// cancels KindTrade, quotes KindQuote, stock summaries KindStatistic, imbalances
// KindImbalance, control messages KindSystem, types not known here KindData. What
// comes in a refresh has FlagSnapshot.
//
// # Sequence numbers
//
// They count messages. A datagram does not name its channel, and nothing in it says
// which lines belong together. Each line is therefore a stream of its own, except
// with Options.AB "merge" and two values in Options.Groups: those are the lines A
// and B of one channel. A refresh does not follow the numbers of its line. Heartbeats
// and announcements of unavailable messages carry the number of the next message.
//
// # Decoding
//
// Prices are integers: the number of their decimals is the symbol's price scale
// code, which its mapping has. A message longer than its type has what follows in
// hex, and so has a message of a type that is not known.
package nyse
