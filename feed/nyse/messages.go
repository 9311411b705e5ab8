package nyse

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/wire"
)

// shape says what stands at the start of a message, behind its head.
type shape uint8

const (
	plain  shape = iota // neither source time nor symbol index
	timed               // source time
	index               // symbol index
	full                // source time, symbol index
	nanosy              // nanoseconds of the source time, symbol index
)

// Offsets of the source time, or of its nanoseconds, and of the symbol index.
const sourceTimeOff = headSize

var indexOff = [...]int{index: 4, full: 12, nanosy: 8}

// sizeMin is how long a message of a shape is at least.
var sizeMin = [...]int{plain: headSize, timed: 12, index: 8, full: 16, nanosy: 12}

// messageType is what is known about one type of message.
type messageType struct {
	name   string // "" where the type is not known
	kind   wire.Kind
	shape  shape
	fields []fixed.Field
}

const (
	typeMapping = 3
	typesMax    = 256
)

func num(name string, size int) fixed.Field { return fixed.Field{Name: name, Size: size} }
func text(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.Text}
}
func char(name string) fixed.Field { return fixed.Field{Name: name, Size: 1, Type: fixed.Char} }
func pad(size int) fixed.Field     { return fixed.Field{Size: size} }

// message is a type with its fields behind the head and what its shape has.
func message(name string, kind wire.Kind, s shape, fields ...fixed.Field) messageType {
	var first []fixed.Field
	switch s {
	case timed:
		first = []fixed.Field{num("source_time", 4), num("source_time_ns", 4)}
	case index:
		first = []fixed.Field{num("symbol_index", 4)}
	case full:
		first = []fixed.Field{num("source_time", 4), num("source_time_ns", 4), num("symbol_index", 4)}
	case nanosy:
		first = []fixed.Field{num("source_time_ns", 4), num("symbol_index", 4)}
	}
	return messageType{name, kind, s, fixed.Layout(headSize, append(first, fields...)...)}
}

// Fields that several types end or begin with.
var (
	sequence = num("symbol_seq_num", 4)
	order    = num("order_id", 8)
	price    = num("price", 4)
	volume   = num("volume", 4)
	source   = text("source_id", 10)
	product  = num("product_id", 1)
	channel  = num("channel_id", 1)
	first    = num("begin_seq_num", 4)
	last     = num("end_seq_num", 4)
)

// types are those of the common client, imbalances and integrated feeds.
var types = [typesMax]messageType{
	1:           message("sequence_number_reset", wire.KindSystem, timed, product, channel),
	2:           message("source_time_reference", wire.KindSystem, plain, num("id", 4), sequence, num("source_time", 4)),
	typeMapping: message("symbol_index_mapping", wire.KindDefinition, index, mappingFields...),
	10:          message("retransmission_request", wire.KindSystem, plain, first, last, source, product, channel),
	11:          message("request_response", wire.KindSystem, plain, num("request_seq_num", 4), first, last, source, product, channel, char("status")),
	12:          message("heartbeat_response", wire.KindSystem, plain, source),
	13:          message("symbol_index_mapping_request", wire.KindSystem, index, source, product, channel, num("retransmit_method", 1)),
	15:          message("refresh_request", wire.KindSystem, index, source, product, channel),
	31:          message("message_unavailable", wire.KindSystem, plain, first, last, product, channel),
	32:          message("symbol_clear", wire.KindSystem, full, num("next_source_seq_num", 4)),
	34:          message("security_status", wire.KindStatus, full, statusFields...),
	35:          message("refresh_header", wire.KindSystem, plain, num("current_refresh_pkt", 2), num("total_refresh_pkts", 2), num("last_seq_num", 4), num("last_symbol_seq_num", 4)),

	100: message("add_order", wire.KindOrder, nanosy, sequence, order, price, volume, char("side"), text("firm_id", 5), num("num_parity_splits", 1)),
	101: message("modify_order", wire.KindOrder, nanosy, sequence, order, price, volume, num("position_change", 1), num("prev_price_parity_splits", 1), num("new_price_parity_splits", 1)),
	102: message("delete_order", wire.KindOrder, nanosy, sequence, order, num("num_parity_splits", 1)),
	103: message("order_execution", wire.KindOrder, nanosy, sequence, order, num("trade_id", 4), price, volume, num("printable_flag", 1), num("num_parity_splits", 1), num("db_exec_id", 4)),
	104: message("replace_order", wire.KindOrder, nanosy, sequence, order, num("new_order_id", 8), price, volume, num("prev_price_parity_splits", 1), num("new_price_parity_splits", 1)),
	105: message("imbalance", wire.KindImbalance, full, imbalanceFields...),
	106: message("add_order_refresh", wire.KindOrder, full, sequence, order, price, volume, char("side"), text("firm_id", 5), num("num_parity_splits", 1)),
	110: message("non_displayed_trade", wire.KindTrade, nanosy, sequence, num("trade_id", 4), price, volume, num("printable_flag", 1), num("db_exec_id", 4)),
	111: message("cross_trade", wire.KindTrade, nanosy, sequence, num("cross_id", 4), price, volume, char("cross_type")),
	112: message("trade_cancel", wire.KindTrade, nanosy, sequence, num("trade_id", 4)),
	113: message("cross_correction", wire.KindTrade, nanosy, sequence, num("cross_id", 4), volume),
	114: message("retail_price_improvement", wire.KindQuote, nanosy, sequence, char("rpi_indicator")),
	223: message("stock_summary", wire.KindStatistic, full, num("high_price", 4), num("low_price", 4), num("open", 4), num("close", 4), num("total_volume", 4)),
}

var mappingFields = []fixed.Field{
	text("symbol", 11), pad(1), num("market_id", 2), num("system_id", 1), char("exchange_code"), num("price_scale_code", 1),
	char("security_type"), num("lot_size", 2), num("prev_close_price", 4), num("prev_close_volume", 4), num("price_resolution", 1),
	char("round_lot"), num("mpv", 2), num("unit_of_trade", 2), pad(2),
}

// Symbol in a mapping.
const (
	symbolOff  = 8
	symbolSize = 11
)

var statusFields = []fixed.Field{
	sequence, char("security_status"), char("halt_condition"), pad(4), num("price_1", 4), num("price_2", 4),
	char("ssr_triggering_exchange_id"), num("ssr_triggering_volume", 4), num("time", 4), char("ssr_state"), char("market_state"),
	char("session_state"),
}

var imbalanceFields = []fixed.Field{
	sequence, num("reference_price", 4), num("paired_qty", 4), num("total_imbalance_qty", 4), num("market_imbalance_qty", 4),
	num("auction_time", 2), char("auction_type"), char("imbalance_side"), num("continuous_book_clearing_price", 4),
	num("closing_only_clearing_price", 4), num("ssr_filing_price", 4), num("indicative_match_price", 4), num("upper_collar", 4),
	num("lower_collar", 4), num("auction_status", 1), num("freeze_status", 1), num("num_extensions", 1),
}

var unknownType messageType

// typeOf returns what is known about a message that take has returned.
func typeOf(m []byte) *messageType {
	if id := binary.LittleEndian.Uint16(m[typeOff:]); id < typesMax {
		return &types[id]
	}
	return &unknownType
}

// ErrBody: bytes that are not one message.
var ErrBody = errors.New("nyse: body is not a message")

// decode takes a message apart into the fields of its type. Integers are uint64,
// letters and texts strings. The error wraps ErrBody.
func decode(dst []feed.Field, _ feed.Encoding, _ wire.Kind, body []byte) ([]feed.Field, error) {
	m, ok := take(body)
	if !ok || len(m) != len(body) {
		return dst, fmt.Errorf("%w: %d bytes, which is not what its size says", ErrBody, len(body))
	}
	t := typeOf(m)
	name, end := t.name, headSize
	if name == "" {
		name = "unknown"
	}
	if len(m) < sizeMin[t.shape] {
		return dst, fmt.Errorf("%w: %d bytes for a %s", ErrBody, len(m), name)
	}
	dst = append(dst,
		feed.Field{Name: "message", Value: name},
		feed.Field{Name: "type", Value: uint64(binary.LittleEndian.Uint16(m[typeOff:]))})
	dst = fixed.Append(dst, binary.LittleEndian, t.fields, m)
	if n := len(t.fields); n > 0 {
		end = t.fields[n-1].Off + t.fields[n-1].Size
	}
	if binary.LittleEndian.Uint16(m[typeOff:]) == typeMapping {
		end += 2 // reserved
	}
	if end < len(m) {
		dst = append(dst, feed.Field{Name: "rest", Value: hex.EncodeToString(m[end:])})
	}
	return dst, nil
}
