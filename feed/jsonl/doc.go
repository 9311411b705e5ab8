// Package jsonl reads JSON lines: one JSON object or array a line (RFC 8259),
// alone or behind the time of its receipt and a blank or tab, as captures of web
// sockets are written:
//
//	1723161255088176367 {"stream":"btcusdt@trade","data":{"e":"trade",...}}
//
// Lines end in LF or CRLF; a byte order mark is passed over, and so are blank
// lines, which are counted in the encoding's detail. A record's body is the JSON
// text as it stands, without what is before it and without the line end. Every
// line is checked to be JSON to its last byte; one that is not is a bad record.
//
// # The column map
//
// It is that of package colmap, which is that of feed/csv with paths for names:
//
//	receive=#1:ns,time=data.T:ms,topic=stream,kind=trade
//
// #1 is the time before the JSON, the line's first column. A path leads through
// objects by name and through arrays by index, from 0: data.0.E. Of a key that
// an object has twice the last counts, as in encoding/json. Strings, numbers and
// booleans can be part of a topic; null is no value.
//
// Where there is a time before the JSON and the map does not say what it is, it
// is the time of receipt. Without a map the names decide: those of feed/csv at
// the top or one level below (timestamp, time, ts; symbol, instrument; ...),
// then stream, topic, channel and subject as topic. The user's topic is the
// prefix where the lines name one, and else the topic.
//
// # Binance
//
// The preset binance is recognised by its lines. It reads web socket messages of
// Binance's spot and futures markets, from combined streams (stream and data)
// and raw ones, and book snapshots as the REST interface answers them:
//
//	line                              topic                          kind
//	stream btcusdt@trade, @aggTrade   BINANCE.BTCUSDT@trade          trade
//	stream btcusdt@bookTicker         BINANCE.BTCUSDT@bookTicker     quote
//	stream btcusdt@depth@0ms          BINANCE.BTCUSDT@depth@0ms      quote
//	stream btcusdt@kline_1m           BINANCE.BTCUSDT@kline_1m       bar
//	stream ...@ticker, @markPrice     BINANCE.BTCUSDT@ticker         statistic
//	stream !ticker@arr                BINANCE.!ticker@arr            statistic
//	e trade, s BTCUSDT (raw)          BINANCE.BTCUSDT@trade          as above
//	lastUpdateId, no stream           BINANCE.BTCUSDT@depthSnapshot  quote, FlagSnapshot
//	result or error, id               BINANCE.@response              system
//
// A snapshot does not say what it is of: it is of the one symbol that the first
// lines of the file name, and where they name none or several its topic is
// BINANCE.@depthSnapshot. The user's topic takes the place of BINANCE.
//
// The event time is T, when the matching engine made it, of trades, quotes and
// depth, and E, when the message was made, of everything else (where T may be
// another thing, such as the time of the next funding) and where there is no T;
// in ms or us by its size. See "Web Socket Streams for Binance" and "USDⓈ-M
// Futures, Websocket Market Streams" in Binance's API documentation.
package jsonl
