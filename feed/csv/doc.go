// Package csv reads market data from CSV and its relatives: comma, semicolon,
// tab or | between fields, with or without a header, quoted as in RFC 4180,
// LF or CRLF line ends, with or without a byte order mark.
//
// A record's body is the line as it stands in the file, without its line end;
// line ends inside quoted fields stay. Its topic is made of columns, such as
// exchange and symbol joined with a dot, or is given by the file's name or the
// user. Records keep the order of the file, whatever their times. Blank lines
// are passed over and counted in the encoding's detail.
//
// How columns are found: a preset that the user names; a column map that the
// user gives; else a preset whose header or first records the file has; else
// the names in the header (timestamp, time, ts, datetime, date and time;
// local_timestamp, ts_recv; symbol, ticker, instrument, pair; exchange, venue).
//
// # The column map
//
// A column map is a list of items with commas between them:
//
//	time=timestamp:us,receive=local_timestamp:us,topic=exchange+symbol,kind=trade
//
//	time=COLUMN[:UNIT]       event time
//	time=DATE+TIME[:UNIT]    event time, the date in a column of its own
//	receive=...              time of receipt, in the same ways
//	topic=COLUMN[+COLUMN...] topic: the columns' values joined with dots
//	kind=KIND                data, order, quote, trade, bar, ... for all records
//
// There must be a time or a receive. Without topic the user gives the topic. A
// COLUMN is a name of the header, or #N for the Nth column, from 1. A name that
// holds any of , + : = # or a quote goes into double quotes, quotes in it
// doubled.
//
// A UNIT is one of
//
//	s ms us ns                  count since 1970 UTC, perhaps with a fraction
//	iso                         date and time: 2024-08-08T09:30:00.123456Z
//	tod                         time of day: 09:30:00.123
//	tod-s tod-ms tod-us tod-ns  count since midnight
//
// and is told from the first records where it is left out. Times of day take
// their date from the options or else from the file's name, which may hold it
// as YYYYMMDD, MMDDYYYY or YYYY-MM-DD. Times without a zone are in the zone of
// the options, UTC by default; a clock time that daylight saving makes occur
// twice is the first of the two.
//
// A quoted field that is never closed would take the rest of the file in: the
// scanner then reports the line that it began on and goes on at the next.
package csv
