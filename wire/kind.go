package wire

import (
	"fmt"
	"strconv"
)

// Kind says what a record is, whatever the vendor calls it. Readers that keep
// last values or filter by meaning look at it; everything else carries it
// unchanged. Unknown kinds are legal and carried as they are.
type Kind uint8

// The kinds. Their numbers are part of the wire format.
const (
	KindData       Kind = 0  // no meaning known: an opaque item
	KindOrder      Kind = 1  // a change of one order in a book
	KindQuote      Kind = 2  // best bid and offer, or a price level
	KindTrade      Kind = 3  // a trade
	KindBar        Kind = 4  // open, high, low, close over an interval
	KindDefinition Kind = 5  // reference data of an instrument
	KindStatus     Kind = 6  // trading status
	KindStatistic  Kind = 7  // settlement, open interest, volume and the like
	KindImbalance  Kind = 8  // auction imbalance
	KindSystem     Kind = 9  // the feed about itself: heartbeats, mappings, errors
	KindDelete     Kind = 10 // the topic has no last value any more
	KindNotice     Kind = 11 // Tapedeck about itself: squawks, deck state
)

var kindNames = [...]string{
	KindData: "data", KindOrder: "order", KindQuote: "quote", KindTrade: "trade",
	KindBar: "bar", KindDefinition: "definition", KindStatus: "status",
	KindStatistic: "statistic", KindImbalance: "imbalance", KindSystem: "system",
	KindDelete: "delete", KindNotice: "notice",
}

// String returns the kind's name, or its number where it has none.
func (k Kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return strconv.Itoa(int(k))
}

// ParseKind is the inverse of Kind.String.
func ParseKind(s string) (Kind, error) {
	for k, name := range kindNames {
		if s == name {
			return Kind(k), nil
		}
	}
	if n, err := strconv.ParseUint(s, 10, 8); err == nil {
		return Kind(n), nil
	}
	return 0, fmt.Errorf("wire: unknown kind %q", s)
}
