package jsonl

import (
	"bytes"
	"errors"

	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

// binanceName names the preset, binancePrefix is what its topics begin with.
const (
	binanceName   = "binance"
	binancePrefix = "BINANCE"
)

// What the preset looks for in a line. The names are Binance's.
const (
	bStream     = iota
	bDataT      // data.T
	bDataE      // data.E
	bListE      // data.0.E, of streams that send arrays
	bEvent      // e, of raw streams
	bRawT       // T
	bRawE       // E
	bSymbol     // s
	bUpdate     // u, of the raw best bid and offer of spot, which has no e
	bLastUpdate // lastUpdateId, of a snapshot
	bResult
	bError
)

var binancePaths = [][]string{
	bStream: {"stream"}, bDataT: {"data", "T"}, bDataE: {"data", "E"}, bListE: {"data", "0", "E"},
	bEvent: {"e"}, bRawT: {"T"}, bRawE: {"E"}, bSymbol: {"s"}, bUpdate: {"u"},
	bLastUpdate: {"lastUpdateId"}, bResult: {"result"}, bError: {"error"},
}

var errNotBinance = errors.New("not a message of a Binance stream: it has no stream, no e and no lastUpdateId")

// binance tells what a line of Binance's is. It implements describer.
type binance struct {
	symbol string // what a snapshot is of, or ""
}

func (*binance) paths() [][]string { return binancePaths }

// describe appends the line's topic, and sets kind, flags and event time.
func (b *binance) describe(s *scanner, topic []byte, r *reading) ([]byte, error) {
	stream, ok := s.textOf(bStream)
	if ok && len(stream) > 0 {
		symbol, name := cutStream(stream)
		topic = appendUpper(topic, symbol)
		topic = append(topic, stream[len(symbol):]...)
		r.kind = binanceKind(name)
		return topic, b.times(s, r, bDataT, bDataE, bListE)
	}
	symbol, _ := s.textOf(bSymbol)
	event, _ := s.textOf(bEvent)
	switch {
	case s.has(bLastUpdate):
		if len(symbol) == 0 {
			topic = append(topic, b.symbol...)
		}
		topic = append(append(topic, symbol...), "@depthSnapshot"...)
		r.kind, r.flags = wire.KindQuote, wire.FlagSnapshot
		return topic, b.times(s, r, bRawT, bRawE)
	case len(event) > 0:
		name := streamName(event)
		topic = append(append(append(topic, symbol...), '@'), name...)
		r.kind = binanceKind([]byte(name))
		return topic, b.times(s, r, bRawT, bRawE)
	case len(symbol) > 0 && s.has(bUpdate):
		r.kind = wire.KindQuote
		return append(append(topic, symbol...), "@bookTicker"...), nil
	case s.has(bResult) || s.has(bError):
		r.kind = wire.KindSystem
		return append(topic, "@response"...), nil
	}
	return topic, errNotBinance
}

// times sets the event time: the matching engine's, which the first slot has,
// where it is that, else the first there is of the others.
func (b *binance) times(s *scanner, r *reading, matching int, made ...int) error {
	if r.kind == wire.KindTrade || r.kind == wire.KindQuote {
		if err := r.setEvent(s, matching, binancePaths[matching], colmap.Auto); err != nil || r.hasEvent {
			return err
		}
	}
	for _, slot := range made {
		if err := r.setEvent(s, slot, binancePaths[slot], colmap.Auto); err != nil || r.hasEvent {
			return err
		}
	}
	return nil
}

// cutStream returns the symbol that a stream's name begins with, empty where it
// is of all symbols (!ticker@arr), and the name of what it streams.
func cutStream(stream []byte) (symbol, name []byte) {
	if stream[0] == '!' {
		name = stream[1:]
	} else {
		at := bytes.IndexByte(stream, '@')
		if at < 0 {
			return nil, stream
		}
		symbol, name = stream[:at], stream[at+1:]
	}
	for i, c := range name {
		if c == '@' || c == '_' {
			return symbol, name[:i]
		}
	}
	return symbol, name
}

func appendUpper(dst, text []byte) []byte {
	for _, c := range text {
		if c >= 'a' && c <= 'z' {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// streamName is the name of the stream that sends an event.
func streamName(event []byte) string {
	switch string(event) {
	case "trade":
		return "trade"
	case "aggTrade":
		return "aggTrade"
	case "bookTicker":
		return "bookTicker"
	case "depthUpdate":
		return "depth"
	case "24hrTicker":
		return "ticker"
	case "24hrMiniTicker":
		return "miniTicker"
	case "markPriceUpdate":
		return "markPrice"
	}
	return string(event)
}

func binanceKind(name []byte) wire.Kind {
	switch string(name) {
	case "trade", "aggTrade":
		return wire.KindTrade
	case "bookTicker", "depth", "depth5", "depth10", "depth20":
		return wire.KindQuote
	case "kline", "continuousKline", "indexPriceKline", "markPriceKline":
		return wire.KindBar
	case "ticker", "miniTicker", "markPrice", "indexPrice", "avgPrice", "openInterest", "1hTicker", "4hTicker", "1dTicker":
		return wire.KindStatistic
	case "contractInfo":
		return wire.KindDefinition
	case "tradingStatus":
		return wire.KindStatus
	}
	return wire.KindData
}

// isBinance reports whether these lines are Binance's, all of them, and some by
// more than the shape of an answer.
func isBinance(texts [][]byte) bool {
	s, some := newScanner(binancePaths), false
	for _, text := range texts {
		var r reading
		if !s.scan(text) {
			return false
		}
		topic, err := (&binance{}).describe(s, nil, &r)
		if err != nil || bytes.IndexByte(topic, '@') < 0 && topic[0] != '!' {
			return false
		}
		some = some || r.kind != wire.KindSystem && (r.hasEvent || s.has(bStream) || s.has(bUpdate))
	}
	return some
}

// onlySymbol returns the symbol that the lines are of, or "" where they name
// none or more than one.
func onlySymbol(texts [][]byte) string {
	s, only := newScanner(binancePaths), ""
	for _, text := range texts {
		if !s.scan(text) {
			continue
		}
		symbol, _ := s.textOf(bSymbol)
		if stream, _ := s.textOf(bStream); len(stream) > 0 {
			symbol, _ = cutStream(stream)
		}
		if name := string(appendUpper(nil, symbol)); name != "" && only == "" {
			only = name
		} else if name != "" && name != only {
			return ""
		}
	}
	return only
}
