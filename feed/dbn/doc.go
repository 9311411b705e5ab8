// Package dbn reads the Databento Binary Encoding, DBN, versions 1, 2 and 3: whole
// files, and fragments, which are records without a file head. It follows the
// DBN specification that Databento publishes; the names of fields and types here
// are that specification's.
//
// A record's body is the vendor's record, unchanged, from its length byte on,
// with the ts_out behind it where the stream has one. The bodies in their order
// are the file's content after the file head; Head gives that head back from
// the Encoding, so that a file can be written again byte for byte.
//
// # Topics
//
// A topic is prefix, dataset, ".", symbol. The prefix is Options.Topic, as it
// is. The dataset is the one of the file head. Where none is named, as in a
// fragment, it is Options.Dataset; without that option the dataset that the
// record's publisher id belongs to, or "DBN" where that is not known. The
// symbol is the first of these that there is:
//
//   - what the latest symbol mapping record (rtype 0x16) before the record, or
//     the record itself, gave to its instrument id: the raw symbol, if the record
//     says which of its two symbols that is, else the one it resolves to. It
//     holds from its place in the stream on; its start_ts and end_ts are not
//     looked at;
//   - what the file head maps to the instrument id on the record's day: the
//     symbol that the instrument id stands for where ids were asked for, else the
//     symbol that was asked for. A mapping holds for whole UTC days, the end day
//     excluded. The day is that of the index time: ts_recv where the kind has a
//     defined one, else ts_event. Where several mappings hold, the first counts;
//   - for a definition, the raw_symbol that it carries. It names the definition
//     only: other records of that instrument keep the topic that they had;
//   - the instrument id, in decimal.
//
// A symbol that is empty, is not UTF-8, has control characters or does not fit
// in a topic is passed over.
//
// # Times, kinds, flags
//
// Event time is ts_event, receive time is ts_recv; FlagNoEventTime and
// FlagNoReceiveTime stand where one is undefined, lies beyond the year 2262 or,
// for the receive time, where the kind of record has none; the time is then the
// other one. A record with neither has both flags and the receive time of the
// record before it (at first the start time of the file head, else 0), which
// keeps its place in the stream. FlagSnapshot is F_SNAPSHOT of the flags.
//
// The kind follows the rtype: KindOrder for mbo; KindTrade for mbp-0, tcbbo and
// for mbp-1 in a file of schema tbbo; KindQuote for the other mbp, bbo, cmbp and
// cbbo; KindBar, KindStatus, KindDefinition, KindStatistic, KindImbalance for
// ohlcv, status, definition, statistics, imbalance; KindSystem for error, symbol
// mapping and system records; KindData for rtypes that are not known, which are
// carried as they are.
//
// # Bad input
//
// A record whose length is none that its type has is a *feed.BadRecord. Behind
// it the source goes on where the next believable record begins. A record that
// the input ends in is a *feed.BadRecord too, the last thing before io.EOF.
// Errors in the file head, a second file head and errors of the reader are
// final. A file that was cut exactly between two records cannot be told from a
// whole one: DBN has neither a record count that is kept nor an end mark.
//
// # Memory
//
// A source reads through one buffer of 256 KiB. Beside it there are the mapped
// symbols of the file head, at most one topic for each of the last 2^20
// instruments, and a symbol for each instrument that symbol mapping records
// name, at most 2^21. A file head may have 256 MiB; one above 4 KiB is kept in the
// Encoding as a zstd frame.
package dbn
