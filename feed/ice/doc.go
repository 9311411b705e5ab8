// Package ice reads captures of ICE's iMpact multicast feed: messages over UDP. It
// follows the ICE iMpact Multicast Feed Message Specification 1.1.33; the names of
// messages and fields are its, in snake case.
//
// A datagram is a head of 16 bytes (session, sequence number, count, time in ms) and
// messages, each a type of one letter, the length of its body and the body. A record
// is one message; its body is the message from its type on, unchanged, so that the
// bodies of a datagram, one behind the other, are the datagram behind its head.
//
// # Topics
//
// A topic is prefix (Options.Topic), venue, ".", market id. The venue is
// Options.Dataset, or "ICE": the feed does not say which of the exchanges a market is
// of. Messages about no market (bundle markers, texts, strips and the like) go to the
// topic of their channel, venue, ".@" and the port, since the datagram does not name
// its channel either. A trade of an option without a market id ('W') goes to its
// underlying market.
//
// # Times, kinds
//
// Event time is the datagram's time, in ms, one for all its messages, so that it
// orders them. Times of their own, which are of different units or of another moment
// (when an order was entered), are among the decoded fields. Receive time is the
// capture time.
//
// Orders are KindOrder; price levels and indications KindQuote; trades, their
// corrections and cancels KindTrade; market statistics, open interest, open, close and
// settlement prices, indices and snapshots of a market KindStatistic; states, events
// and price limits KindStatus; new expiries, options and strategies KindDefinition;
// bundle markers, texts, requests for quotes and the like KindSystem; types not known
// here KindData. Messages of the snapshot channels have FlagSnapshot.
//
// # Sequence numbers
//
// They count messages. A stream is a session on a port; the lines A and B of a
// channel are merged only where they have the same port. A datagram without messages
// is a heartbeat, with the number of the next message.
//
// # Decoding
//
// Prices are integers: the number of their decimals is among a market's definition.
// Strategies and special fields, whose parts vary, have what follows their fixed
// fields in hex, and so have longer messages of later versions. A type that is not
// known here has all of it in hex.
package ice
