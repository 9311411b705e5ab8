package colmap

import (
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// Names of columns, in order of preference, in lower case without anything that
// is not a letter or digit.
var (
	timeNames = []string{
		"tsevent", "eventtime", "exchangetimestamp", "exchangetime", "timestamp", "datetime", "ts",
		"time", "transacttime", "tradetime", "tradetimestamp", "utctimestamp", "timestamputc", "utctime", "opentime", "date",
	}
	receiveNames = []string{
		"localtimestamp", "tsrecv", "receivetime", "receivedtime", "receivetimestamp", "recvtime",
		"receivedat", "localtime", "capturetime", "capturetimestamp", "tsinit",
	}
	symbolNames = []string{
		"symbol", "ticker", "instrument", "pair", "sym", "instid", "instrumentname", "rawsymbol",
		"contract", "security", "productid", "market", "ric", "isin", "instrumentid", "securityid",
	}
	exchangeNames = []string{"exchange", "venue", "exch", "mic", "source", "publisher"}
	unitSuffixes  = map[string]Unit{
		"s": S, "ms": Ms, "us": Us, "ns": Ns, "millis": Ms, "micros": Us, "nanos": Ns,
	}
)

// Names are the names of a row's columns, for guessing what they are.
type Names []string

// Plain writes a column's name in lower case, letters and digits alone.
func Plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r > 0x7f:
			return r
		}
		return -1
	}, name)
}

// Time returns the column that is called most as event times are, or -1, and
// the unit that its name ends in.
func (n Names) Time() (int, Unit) { return n.best(timeNames) }

// Receive is Time for the time of receipt.
func (n Names) Receive() (int, Unit) { return n.best(receiveNames) }

func (n Names) best(list []string) (int, Unit) {
	for _, known := range list {
		for i, name := range n {
			rest, ok := strings.CutPrefix(Plain(name), known)
			if !ok {
				continue
			}
			if u := unitSuffixes[rest]; rest == "" || u != Auto && (u != S || apart(name)) {
				return i, u
			}
		}
	}
	return -1, Auto
}

// apart reports whether the last letter of a name stands on its own: time_s is a
// time in seconds, times are not.
func apart(name string) bool {
	return len(name) > 1 && len(Plain(name[len(name)-2:])) == 1
}

// Topic returns the columns that a topic is made of: those called as exchange
// and symbol are, or the symbol's alone, or none.
func (n Names) Topic() []int { return n.TopicOf(n.Find(symbolNames...)) }

// TopicOf is Topic where the symbol's column is known, -1 for none.
func (n Names) TopicOf(symbol int) []int {
	if symbol < 0 {
		return nil
	}
	if exchange := n.Find(exchangeNames...); exchange >= 0 {
		return []int{exchange, symbol}
	}
	return []int{symbol}
}

// Find returns the first column that has the earliest of the names, which are
// in lower case, letters and digits alone; -1 where there is none.
func (n Names) Find(list ...string) int {
	for _, want := range list {
		for i, name := range n {
			if Plain(name) == want {
				return i
			}
		}
	}
	return -1
}

// Kind tells the kind of rows by the names of their columns.
func (n Names) Kind() wire.Kind {
	has := func(list ...string) bool { return n.Find(list...) >= 0 }
	switch {
	case has("open") && has("high") && has("low") && has("close"):
		return wire.KindBar
	case has("bid", "bidprice", "bidpx", "bestbid") && has("ask", "askprice", "askpx", "bestask"):
		return wire.KindQuote
	case has("price", "px") && has("side", "issell", "isbuyermaker", "buyermaker", "tradeid", "aggressorside") &&
		has("amount", "size", "qty", "quantity", "volume") && !has("issnapshot", "orderid", "action"):
		return wire.KindTrade
	}
	return wire.KindData
}
