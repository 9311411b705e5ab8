// Package export writes the records of a tape as a file of the outside.
//
// The targets are
//
//	original  the file that the records came from: dbn, csv, jsonl, lines,
//	          length-prefixed, and itch files
//	dbn       a DBN file: the file head and the bodies as they are
//	csv       records of one CSV file as they came; of anything else the decoded
//	          fields as columns
//	jsonl     one JSON object a record, as tapedeck cat --json prints it
//	parquet   columns for the record and for the decoded fields of its body
//	pcap      UDP: itch in MoldUDP64, and the datagrams of a pcap tape
//
// # What comes back byte for byte
//
// Original, dbn, and csv of CSV give back the content of the file that was
// imported, before any compression, if the whole tape is written and the import
// left no bad place out. What they cannot give back is told in Report.Notes: line
// ends that were mixed, blank lines.
//
// Of a selection they give the same file with fewer records. A DBN file head is
// then that of the original query, its start and end included, since a selection
// lies within them; only the record count that version 1 may have is set to
// undefined.
//
// # Columns
//
// Targets with columns walk over the records twice: first to learn which fields
// there are and what they hold, then to write. The record's own columns come
// first: topic, topic_seq, kind, event_time, receive_time, flags; then, in the
// order in which they first occur, the fields. A field of the same name as a
// column before it is named body_ and its name; one that a body has twice is
// named with _2, and so on. A record without a field leaves its column empty.
// Bodies that no encoding fits stand in a column body_base64. There may be
// ColumnsMax columns of fields.
//
// In CSV, lines end in LF, times are nanoseconds since 1970 UTC, and a field is
// quoted where RFC 4180 asks for it.
//
// In Parquet, times are TIMESTAMP (ns, UTC), body holds the body's bytes, and a
// field is BOOLEAN, INT64, UINT64 where it has values beyond INT64, DOUBLE, or
// STRING, whichever holds all of its values exactly. The file is written in row
// groups of bounded size.
//
// # Captures
//
// A capture is pcap in nanoseconds with Ethernet, IPv4 or IPv6 and UDP around each
// datagram; its time is the record's receive time. ITCH goes out as MoldUDP64
// 1.00: messages with the same receive time share a packet as far as the MTU
// allows; sequence numbers count from 1.
//
// # Memory
//
// No target holds more than a few records, but parquet, which holds a row group,
// at most RowGroupBytes of values.
package export
