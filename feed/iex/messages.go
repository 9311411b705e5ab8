package iex

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/wire"
)

// Every message begins alike: type, one byte of the type's own, time stamp, and
// but for system events a symbol.
const (
	timeOff    = 2
	symbolOff  = 10
	symbolSize = 8
	systemSize = 10

	priceDigits = 4
)

// message describes a message type. Its size is 0 where the type is not known.
type message struct {
	name   string
	size   int // bytes; a message may be longer
	kind   wire.Kind
	fields []fixed.Field // behind the type
}

var (
	timestamp = fixed.Field{Name: "timestamp", Off: timeOff, Size: 8, Type: fixed.Int}
	symbol    = fixed.Field{Name: "symbol", Off: symbolOff, Size: symbolSize, Type: fixed.Text}
)

func char(name string, off int) fixed.Field {
	return fixed.Field{Name: name, Off: off, Size: 1, Type: fixed.Char}
}
func number(name string, off, size int) fixed.Field {
	return fixed.Field{Name: name, Off: off, Size: size, Type: fixed.Uint}
}
func price(name string, off int) fixed.Field {
	return fixed.Field{Name: name, Off: off, Size: 8, Type: fixed.Price, Digits: priceDigits}
}

// Trade reports and trade breaks have the same fields, so have the two sides of a
// price level, and a new order and its change.
var (
	tradeFields = []fixed.Field{number("sale_condition_flags", 1, 1), timestamp, symbol,
		number("size", 18, 4), price("price", 22), number("trade_id", 30, 8)}
	levelFields = []fixed.Field{number("event_flags", 1, 1), timestamp, symbol,
		number("size", 18, 4), price("price", 22)}
)

// messages are the message types by their letter: those of TOPS and DEEP, then
// those that DEEP+ has beside them.
var messages = [256]message{
	'S': {"system event", systemSize, wire.KindSystem, []fixed.Field{char("system_event", 1), timestamp}},
	'D': {"security directory", 31, wire.KindDefinition, []fixed.Field{number("flags", 1, 1), timestamp, symbol,
		number("round_lot_size", 18, 4), price("adjusted_poc_price", 22), number("luld_tier", 30, 1)}},
	'H': {"trading status", 22, wire.KindStatus, []fixed.Field{char("trading_status", 1), timestamp, symbol,
		{Name: "reason", Off: 18, Size: 4, Type: fixed.Text}}},
	'I': {"retail liquidity indicator", 18, wire.KindStatus, []fixed.Field{char("retail_liquidity_indicator", 1), timestamp, symbol}},
	'O': {"operational halt status", 18, wire.KindStatus, []fixed.Field{char("operational_halt_status", 1), timestamp, symbol}},
	'P': {"short sale price test status", 19, wire.KindStatus, []fixed.Field{number("short_sale_price_test_status", 1, 1),
		timestamp, symbol, char("detail", 18)}},
	'E': {"security event", 18, wire.KindStatus, []fixed.Field{char("security_event", 1), timestamp, symbol}},

	'Q': {"quote update", 42, wire.KindQuote, []fixed.Field{number("flags", 1, 1), timestamp, symbol,
		number("bid_size", 18, 4), price("bid_price", 22), price("ask_price", 30), number("ask_size", 38, 4)}},
	'8': {"price level update buy", 30, wire.KindQuote, levelFields},
	'5': {"price level update sell", 30, wire.KindQuote, levelFields},
	'T': {"trade report", 38, wire.KindTrade, tradeFields},
	'B': {"trade break", 38, wire.KindTrade, tradeFields},
	'X': {"official price", 26, wire.KindStatistic, []fixed.Field{char("price_type", 1), timestamp, symbol,
		price("official_price", 18)}},
	'A': {"auction information", 80, wire.KindImbalance, []fixed.Field{char("auction_type", 1), timestamp, symbol,
		number("paired_shares", 18, 4), price("reference_price", 22), price("indicative_clearing_price", 30),
		number("imbalance_shares", 38, 4), char("imbalance_side", 42), number("extension_number", 43, 1),
		number("scheduled_auction_time", 44, 4), price("auction_book_clearing_price", 48),
		price("collar_reference_price", 56), price("lower_auction_collar", 64), price("upper_auction_collar", 72)}},

	'a': {"add order", 38, wire.KindOrder, []fixed.Field{char("side", 1), timestamp, symbol,
		number("order_id", 18, 8), number("size", 26, 4), price("price", 30)}},
	'M': {"order modify", 38, wire.KindOrder, []fixed.Field{number("modify_flags", 1, 1), timestamp, symbol,
		number("order_id", 18, 8), number("size", 26, 4), price("price", 30)}},
	'R': {"order delete", 26, wire.KindOrder, []fixed.Field{timestamp, symbol, number("order_id", 18, 8)}},
	'L': {"order executed", 46, wire.KindOrder, []fixed.Field{number("sale_condition_flags", 1, 1), timestamp, symbol,
		number("order_id", 18, 8), number("size", 26, 4), price("price", 30), number("trade_id", 38, 8)}},
	'C': {"clear book", 18, wire.KindOrder, []fixed.Field{timestamp, symbol}},
}

// ErrBody: bytes that are not one message.
var ErrBody = errors.New("iex: body is not a message")

// decode takes a message apart into the fields of its type. Prices are exact
// decimal strings, time stamps int64 nanoseconds, letters and texts strings. A message
// of an unknown type is given in hex. The error wraps ErrBody.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	if len(body) == 0 {
		return dst, fmt.Errorf("%w: it is empty", ErrBody)
	}
	m := &messages[body[0]]
	if m.size == 0 {
		return append(dst, feed.Field{Name: "message", Value: "unknown"},
			feed.Field{Name: "payload", Value: hex.EncodeToString(body)}), nil
	}
	if len(body) < m.size {
		return dst, fmt.Errorf("%w: %d bytes for a %s of %d", ErrBody, len(body), m.name, m.size)
	}
	dst = append(dst, feed.Field{Name: "message", Value: m.name})
	return fixed.Append(dst, binary.LittleEndian, m.fields, body), nil
}
