// Package synth makes up market data: a feed.Source that gives the same records
// for the same Config on every machine and in every version, at tens of millions
// of records a second.
//
// Topics are named SYN.A0001, SYN.A0002 and so on, and the first are the most
// popular (Zipf). Arrivals are a Poisson process whose rate changes between calm,
// burst and quiet phases. Bodies have a small fixed layout:
//
//	0   u64  number of the record in the stream, from 0
//	8   u32  number of the topic, from 0
//	12  u32  number of the record in its topic, from 0
//	16  i64  price, 1e-9; a random walk per topic
//	24  u32  size
//	28  u8   side: 'B' bid, 'A' ask; of a trade, the aggressor
//	29  u8   layout version, 1
//	30  u16  zero
//	32       padding, pseudo-random
//
// all little-endian. The numbers let a reader check a stream end to end with
// nothing but the bodies (see Head). The padding is cut from one block of 64 KiB,
// because that is fast; so it compresses better than random bytes, and these
// bodies say nothing about compression.
//
// The same bytes for ever: all random numbers come from SplitMix64 (Steele, Lea,
// Flood 2014), and floating point is used only where every machine rounds alike;
// see exact.go. A change of what is generated needs a new layout version and a
// new name in Encoding, never a silent change.
package synth
