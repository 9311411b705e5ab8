// Package itch reads Nasdaq TotalView-ITCH 5.0, and the feeds of Nasdaq BX and PSX
// that have the same messages: files, in which each message follows its length
// (two bytes, big-endian), and captures of MoldUDP64. It follows the Nasdaq
// TotalView-ITCH 5.0 and the MoldUDP64 1.00 specifications; the names of message
// types and fields are theirs.
//
// A record's body is the message as it is, from its type on, without the length
// before it.
//
// # Topics
//
// A topic is prefix (Options.Topic), venue, ".", symbol. The venue is the market
// identifier code that Options.Dataset gives, such as XBOS for BX or XPSX for PSX.
// Without it, it is that of the line in a capture where the line is a known one,
// and else XNAS: nothing in the messages tells the three feeds apart.
//
// The symbol is the stock that the message names, or that a message before it
// named for the same stock locate code, in the stock directory or elsewhere. A
// message whose locate code has no symbol yet goes to "#" and the code, such as
// "XNAS.#8103". Messages about the market as a whole, which have neither, go to
// "@system". In a capture each MoldUDP64 session has locate codes of its own.
//
// # Times
//
// Messages carry nanoseconds since midnight in New York, or in Options.Zone. The
// day is Options.Date. Without it, a file's day is the one that its name holds; a
// capture's is the day of the capture time, or the one before or after where that
// is nearer to it. Nanoseconds are counted from midnight on also on the two days a
// year on which clocks change. Receive time is the capture time; a file has none
// (FlagNoReceiveTime).
//
// # Kinds
//
// KindOrder for A, F, E, C, X, D, U; KindTrade for P, Q, B; KindDefinition for R;
// KindStatus for H, Y, L, W, K, J, h, O; KindStatistic for V; KindImbalance for I;
// KindQuote for N; KindSystem for S; KindData for types that are not known, which
// are carried as they are.
//
// # Sequence numbers
//
// In a capture a stream is a MoldUDP64 session and the numbers count messages.
// Heartbeats and ends of session are counted and noted.
//
// # Bad input
//
// A message whose length is not that of its type, or whose time lies beyond the
// end of the day, is a *feed.BadRecord. In a file the source goes on where
// believable messages begin again. A message that the file ends in is a
// *feed.BadRecord too, the last thing before io.EOF. A length of 0 ends a session
// and is noted. See package pcap for captures.
//
// # Memory
//
// A file is read through one buffer of 256 KiB. There is one topic for each of the
// 65,536 locate codes at most, per session in a capture, for 64 sessions.
package itch
