package cboe

import (
	"github.com/tapedeck/tapedeck/feed/fixed"
	"github.com/tapedeck/tapedeck/wire"
)

// clockUse says how a message's time is found.
type clockUse uint8

const (
	byClock   clockUse = iota // the unit's seconds, and nanoseconds in the message
	setsClock                 // it is a time message
	reference                 // it is a time reference
	stamped                   // it has seconds of its own
	timeless                  // nothing is known
)

// orderUse says what a message does with an order.
type orderUse uint8

const (
	noOrder orderUse = iota
	adds             // and names its symbol
	changes
	deletes
)

// messageType is what is known about one type of message.
type messageType struct {
	name      string // "" where the type is not known
	kind      wire.Kind
	clock     clockUse
	order     orderUse
	symbolOff int // of the symbol, 0 where there is none
	sizeMin   int // what reading the time, the order and the symbol needs
	fields    []fixed.Field
	size      int // of the fields, head included
}

// Types that are handled one by one.
const (
	typeTime       = 0x20
	typeReference  = 0xb1
	typeDefinition = 0xbb
)

const (
	symbolSize = 6
	orderOff   = nanosOff + nanosSize
	orderSize  = 8

	// Time message: seconds since midnight, seconds since 1970. The other exchanges
	// of Cboe leave out the latter.
	timeOff   = headSize
	epochOff  = headSize + 4
	timeSize  = headSize + 4
	epochSize = headSize + 8

	// Time reference: the midnight in s since 1970, s since then, ns.
	refMidnightOff = headSize
	refTimeOff     = headSize + 4
	refNanosOff    = headSize + 8
	refSize        = headSize + 12

	// Definition: seconds of its time, since 1970.
	stampOff = 12
)

func num(name string, size int) fixed.Field { return fixed.Field{Name: name, Size: size} }
func sig(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.Int}
}
func text(name string, size int) fixed.Field {
	return fixed.Field{Name: name, Size: size, Type: fixed.Text}
}
func char(name string) fixed.Field { return fixed.Field{Name: name, Size: 1, Type: fixed.Char} }
func pad(size int) fixed.Field     { return fixed.Field{Size: size} }
func price(name string) fixed.Field {
	return fixed.Field{Name: name, Size: 8, Type: fixed.Price, Digits: 4}
}

// Fields that several types have.
var (
	nanos      = num("time_offset", nanosSize)
	order      = num("order_id", orderSize)
	side       = char("side_indicator")
	shortQty   = num("quantity", 2)
	longQty    = num("quantity", 4)
	symbol     = text("symbol", symbolSize)
	shortPrice = fixed.Field{Name: "price", Size: 2, Type: fixed.Price, Digits: 2}
	longPrice  = price("price")
	execution  = num("execution_id", 8)
	condition  = char("trade_condition")
	date       = num("trade_date", 4)
)

// message is a type whose fields are those behind the head.
func message(name string, kind wire.Kind, use orderUse, fields ...fixed.Field) messageType {
	t := messageType{name: name, kind: kind, order: use, fields: fixed.Layout(headSize, fields...), sizeMin: orderOff, size: headSize}
	for _, f := range fields {
		if f.Name == symbol.Name {
			t.symbolOff = t.size
			t.sizeMin = t.size + symbolSize
		}
		t.size += f.Size
	}
	if use != noOrder {
		t.sizeMin = max(t.sizeMin, orderOff+orderSize)
	}
	return t
}

// with is a type with another use of the clock, which needs so many bytes.
func with(use clockUse, size int, t messageType) messageType {
	t.clock = use
	t.sizeMin = size
	return t
}

// types are those of CFE PITCH 1.1.6.
var types = func() (all [256]messageType) {
	for i := range all {
		all[i] = messageType{clock: timeless, sizeMin: headSize, size: headSize}
	}
	for id, t := range map[byte]messageType{
		typeTime:       with(setsClock, timeSize, message("time", wire.KindSystem, noOrder, num("time", 4), num("epoch", 4))),
		typeReference:  with(reference, refSize, message("time_reference", wire.KindSystem, noOrder, num("midnight_reference", 4), num("time", 4), nanos, date)),
		typeDefinition: with(stamped, stampOff+4, message("futures_instrument_definition", wire.KindDefinition, noOrder, definitionFields...)),

		0x21: message("add_order_long", wire.KindOrder, adds, nanos, order, side, longQty, symbol, longPrice),
		0x22: message("add_order_short", wire.KindOrder, adds, nanos, order, side, shortQty, symbol, shortPrice),
		0x23: message("order_executed", wire.KindOrder, changes, nanos, order, num("executed_quantity", 4), execution, condition),
		0x25: message("reduce_size_long", wire.KindOrder, changes, nanos, order, num("canceled_quantity", 4)),
		0x26: message("reduce_size_short", wire.KindOrder, changes, nanos, order, num("canceled_quantity", 2)),
		0x27: message("modify_order_long", wire.KindOrder, changes, nanos, order, longQty, longPrice),
		0x28: message("modify_order_short", wire.KindOrder, changes, nanos, order, shortQty, shortPrice),
		0x29: message("delete_order", wire.KindOrder, deletes, nanos, order),

		0x2a: message("trade_long", wire.KindTrade, noOrder, nanos, order, side, longQty, symbol, longPrice, execution, condition),
		0x2b: message("trade_short", wire.KindTrade, noOrder, nanos, order, side, shortQty, symbol, shortPrice, execution, condition),
		0x2c: message("trade_break", wire.KindTrade, noOrder, nanos, execution),
		0xbc: message("transaction_begin", wire.KindSystem, noOrder, nanos),
		0xbd: message("transaction_end", wire.KindSystem, noOrder, nanos),

		0x31: message("trading_status", wire.KindStatus, noOrder, nanos, symbol, pad(2), char("trading_status"), pad(3)),
		0xb9: message("settlement", wire.KindStatistic, noOrder, nanos, symbol, date, price("settlement_price"), char("issue")),
		// The flags at the end of a summary are left to "rest".
		0xba: message("end_of_day_summary", wire.KindStatistic, noOrder, nanos, symbol, date, num("open_interest", 4), price("high_price"),
			price("low_price"), price("open_price"), price("close_price"), num("total_volume", 4), num("block_volume", 4), num("ecrp_volume", 4)),
		0x97: message("unit_clear", wire.KindSystem, noOrder, nanos),
		0x2d: message("end_of_session", wire.KindSystem, noOrder, nanos),
	} {
		all[id] = t
	}
	return all
}()

var definitionFields = []fixed.Field{
	nanos, symbol, num("unit_timestamp", 4), text("report_symbol", 6), num("futures_flags", 1), num("expiration_date", 4),
	num("contract_size", 2), char("listing_state"), price("price_increment"), num("leg_count", 1), num("leg_offset", 1),
	num("variance_block_offset", 1),
}

// Places of the counts in a definition.
const (
	legCountOff       = 38
	legOffsetOff      = 39
	varianceOffsetOff = 40
)

var legFields = fixed.Layout(0, sig("leg_ratio", 4), text("leg_symbol", symbolSize))

const legSize = 10

var varianceFields = fixed.Layout(0, sig("realized_variance", 8), num("num_expected_prices", 2), num("num_elapsed_returns", 2),
	num("previous_settlement", 8), sig("discount_factor", 8), num("initial_strike", 8), sig("previous_armvm", 8), sig("fed_funds_rate", 8))

const varianceSize = 52
