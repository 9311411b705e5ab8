// Package colmap is the column map of formats whose records are rows of named
// values: it says which value is the event time, which the time of receipt,
// and which make the topic. It reads maps as users write them in --columns,
// guesses them from names, and reads the times that they point at.
//
//	time=data.T:ms,receive=#1:ns,topic=stream,kind=trade
//
//	time=COLUMN[:UNIT]       event time
//	receive=COLUMN[:UNIT]    time of receipt
//	topic=COLUMN[+COLUMN...] topic: the columns' values joined with dots
//	kind=KIND                data, order, quote, trade, bar, ... for all records
//
// There must be a time or a receive. A COLUMN is a path of names joined with
// dots, data.T being T inside data, or #N for the Nth column, from 1. A name
// that holds any of , + : = # . or a quote goes into double quotes, quotes in
// it doubled.
//
// A UNIT is s, ms, us or ns (a count since 1970 UTC, perhaps with a fraction) or
// iso (2024-08-08T09:30:00.123456Z; UTC where it names no zone). Where it is
// left out each value is read by what it looks like: counts of the years 1973
// to 5138 differ in size by unit.
//
// A Grammar may have names with dots in them in the place of paths, and times of
// day. See package csv for those.
package colmap
