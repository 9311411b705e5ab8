package csv

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/colmap"
)

// preset is a named layout of a vendor's files.
type preset struct {
	name, title string
	columns     string                     // the column map
	zone        string                     // of times without one, "" is UTC
	symbol      func(*feed.Input) string   // from the input's name; nil where a column has it
	names       func(columns int) []string // of files without header; nil where there always is one
	match       func(*sample) bool         // whether a file's head is of this layout
}

// presets lists them all. No head is matched by two.
//
// Tardis: docs.tardis.dev, "Downloadable CSV files". Lean: the readme files in
// the Data folder of QuantConnect's Lean. Binance: the readme of
// binance/binance-public-data; times are ms, and us for spot from 2025 on.
var presets = []preset{
	{
		name: "tardis-trades", title: "Tardis trades",
		columns: "time=timestamp:us,receive=local_timestamp:us,topic=exchange+symbol,kind=trade",
		match:   hasHeader("exchange,symbol,timestamp,local_timestamp,id,side,price,amount"),
	},
	{
		name: "tardis-quotes", title: "Tardis quotes",
		columns: "time=timestamp:us,receive=local_timestamp:us,topic=exchange+symbol,kind=quote",
		match:   hasHeader("exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount"),
	},
	{
		name: "lean-trades", title: "Lean tick trades (QuantConnect), symbol and date from the file's name",
		columns: "time=#1:tod-ms,kind=trade", zone: "America/New_York", symbol: leanSymbol,
		names: fixedNames("time,price,size,exchange,condition,suspicious"),
		match: func(s *sample) bool { return s.leanTicks(6) },
	},
	{
		name: "lean-quotes", title: "Lean tick quotes (QuantConnect), symbol and date from the file's name",
		columns: "time=#1:tod-ms,kind=quote", zone: "America/New_York", symbol: leanSymbol,
		names: fixedNames("time,bid_price,bid_size,ask_price,ask_size,exchange,condition,suspicious"),
		match: func(s *sample) bool { return s.leanTicks(8) },
	},
	{
		name: "binance-trades", title: "Binance public data, trades and aggTrades, symbol from the file's name",
		columns: "time=#5,kind=trade", symbol: binanceSymbol,
		names: fixedNames("id,price,qty,quote_qty,time,is_buyer_maker,is_best_match"),
		match: func(s *sample) bool { return s.binance(binanceTrades) },
	},
	{
		name: "binance-trades", title: "",
		columns: "time=#6,kind=trade", symbol: binanceSymbol,
		names: fixedNames("agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker,is_best_match"),
		match: func(s *sample) bool { return s.binance(binanceAggTrades) },
	},
}

// fixedNames returns the names of the first columns; further ones are numbered.
func fixedNames(list string) func(int) []string {
	return func(columns int) []string {
		names := strings.Split(list, ",")
		for len(names) < columns {
			names = append(names, "column_"+strconv.Itoa(len(names)+1))
		}
		return names[:columns]
	}
}

func hasHeader(names string) func(*sample) bool {
	want := strings.Split(names, ",")
	return func(s *sample) bool { return s.header && slices.Equal(s.names, want) }
}

// leanTicks: no header; the time of day, numbers, then exchange, condition and
// a mark that is 0 or 1.
func (s *sample) leanTicks(columns int) bool {
	if s.header || s.columns != columns || len(s.records()) == 0 {
		return false
	}
	for i := range columns - 3 {
		if !s.allOf(i, isCount) {
			return false
		}
	}
	isMark := func(v string) bool { return v == "0" || v == "1" }
	return s.allOf(0, isDayMs) && s.allOf(columns-1, isMark) && !s.allOf(columns-3, isNumber)
}

func isCount(v string) bool { return isNumber(v) && !strings.ContainsAny(v, "-.") }

func isDayMs(v string) bool {
	_, err := colmap.TodMs.ParseTime([]byte(v))
	return err == nil
}

// Where the two layouts of Binance's dumps have the time; the mark whether the
// buyer is the maker follows it.
const (
	binanceTrades    = 4
	binanceAggTrades = 5
)

// binance reports whether the time is in the given column of a Binance dump.
// With a header its names decide, else the values.
func (s *sample) binance(time int) bool {
	if s.columns < time+2 || s.columns > time+3 {
		return false
	}
	if s.header {
		first, at, mark := colmap.Plain(s.names[0]), colmap.Plain(s.names[time]), colmap.Plain(s.names[time+1])
		ids := map[int][]string{binanceTrades: {"id", "tradeid"}, binanceAggTrades: {"aggtradeid"}}
		times := []string{"time", "timestamp", "transacttime"}
		return slices.Contains(ids[time], first) && slices.Contains(times, at) &&
			slices.Contains([]string{"isbuyermaker", "wasbuyermaker"}, mark)
	}
	for i := range time + 1 {
		if !s.allOf(i, isNumber) {
			return false
		}
	}
	return s.allOf(time, isEpoch) && s.allOf(time+1, isBool) && s.allOf(s.columns-1, isBool)
}

func isEpoch(v string) bool {
	n, err := colmap.Ns.ParseTime([]byte(v))
	return err == nil && n >= 1e11
}

func isBool(v string) bool { return strings.EqualFold(v, "true") || strings.EqualFold(v, "false") }

// findPreset returns the preset called name, or with name "" one that the head
// matches, or nil.
func findPreset(name string, s *sample) (*preset, error) {
	var list []string
	var byName *preset
	for i := range presets {
		p := &presets[i]
		if (name == "" || name == p.name) && p.match(s) {
			return p, nil
		}
		if name == p.name && byName == nil {
			byName = p
		}
		if p.title != "" {
			list = append(list, p.name)
		}
	}
	switch {
	case name == "":
		return nil, nil
	case byName == nil:
		return nil, fmt.Errorf("csv: unknown preset %q; known: %s", name, strings.Join(list, ", "))
	case byName.name == "binance-trades":
		// There are two layouts of it, and the head is of neither.
		return nil, fmt.Errorf("csv: this is neither of the layouts of %s; %s", name, s.describe())
	}
	return byName, nil
}
