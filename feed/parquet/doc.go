// Package parquet reads Parquet files as records: one a row, in the file's
// order. It needs the file itself: Parquet has its directory at the end, so it
// cannot be read from a pipe or out of gzip, zstd or a zip. Columns may be
// compressed with snappy, gzip, brotli, zstd or lz4, or not; encrypted files are
// refused. What is held in memory is one page of each column, however long the
// file or a row group is. A page of more than 256 MiB or 2^24 values, or
// a directory of more than 128 MiB, is refused.
//
// # Bodies
//
// A record's body is its row as a JSON object without blanks, the columns in the
// order of the schema and every one present:
//
//	BOOLEAN                     true or false
//	INT32, INT64, INT(n)        a number, all digits of it
//	DECIMAL                     a number with the digits behind the point that
//	                            the scale says, exactly: 12.340
//	FLOAT, DOUBLE, FLOAT16      the shortest number that reads as the same; "NaN",
//	                            "Infinity" and "-Infinity" are strings
//	STRING, ENUM, JSON          a string
//	UUID                        a string: f81d4fae-7dec-11d0-a765-00a0c91e6bf6
//	TIMESTAMP, TIME, DATE       a number, as stored: a count of the column's unit
//	INT96                       a number: ns since 1970 (or a string in hex where
//	                            that is not within the years 1678 to 2262)
//	other byte arrays, BSON,    a string in hex; so are the 16-byte fixed point
//	INTERVAL, VARIANT's parts   numbers of some writers, which nothing describes
//	null                        null
//	group                       an object
//	repeated, LIST              an array
//	MAP                         an array of {"key":...,"value":...}, in order
//
// A string column whose text is not UTF-8 makes its row a bad record. The
// encoding's detail has the schema, so that units and types are known later.
//
// # Times and topics
//
// The column map is that of package colmap, names joined with dots for columns
// inside groups:
//
//	time=ts_event:ns,receive=ts_init,topic=venue+symbol,kind=trade
//
// Without a map the columns' names decide, as in feed/csv, and where no name
// does, the one TIMESTAMP column is the time. A TIMESTAMP column has its unit;
// one that is not adjusted to UTC is taken for UTC. A DATE is midnight. Numbers
// without a type have the unit of the map or the options, or else each is read
// by its size. Text is a date and time, or a number.
//
// Where no column is a symbol the topic is the user's, or else the file's name
// without its folder and suffixes: btcusdt-trades.parquet is btcusdt-trades.
//
// A row group that cannot be read is one bad record, and reading goes on behind
// it. See the Parquet project's parquet-format: README, LogicalTypes and
// parquet.thrift.
package parquet
