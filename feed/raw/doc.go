// Package raw reads a plain stream of anything: one record per line, or one per
// length prefix. It knows nothing of what the records say, so the user gives
// the topic, and the time of a record is when it came.
//
// Format lines: a record per line, LF or CRLF, the line end not part of the
// body. A blank line is a record with an empty body, so that there are as many
// records as lines.
//
// Format length-prefixed: an unsigned length, then as many bytes of body, and so
// on. The preset says how the length is written:
//
//	u32be  4 bytes, the most significant first; the default
//	u32le  4 bytes, the least significant first
//	u16be  2 bytes, the most significant first
//	u16le  2 bytes, the least significant first
//
// Records have no event time (wire.FlagNoEventTime). The time of receipt is when
// the read that completed the record returned; records that came together have
// the same. What was read to recognise the input, up to feed.HeadSize bytes of
// content, has the time of the first read behind it.
//
// Neither format is ever recognised by content: any file has lines.
package raw
