package csv

import (
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
)

func TestDateFromName(t *testing.T) {
	for _, tt := range []struct{ name, want string }{
		{"lean-equity-tick-spy-20131008_trade.csv", "2013-10-08"},
		{"a.zip!20131008_spy_Trade_Tick.csv", "2013-10-08"},
		{"20200101.zip!x_20131008.csv", "2013-10-08"},
		{"20200101.zip!x.csv", "2020-01-01"},
		{"01302020.NASDAQ_ITCH50.csv.gz", "2020-01-30"},
		{"/2020-01-01/BTCUSDT-trades-2024-08-08.csv", "2024-08-08"},
		{"x_2024_08_08_y.csv", "2024-08-08"},
		{"20121011.csv", "2012-10-11"},
		{"10112012.csv", "2012-10-11"},
		{"20240808-20240808.csv", "2024-08-08"},
		{"20240808-20240809.csv", "two"},
		{"trades-12345678901.csv", ""},
		{"13322024.csv", ""},
		{"20240230.csv", ""},
		{"x.csv", ""},
		{"-", ""},
	} {
		date, _, ok, err := dateFromName(named(tt.name))
		switch {
		case tt.want == "two":
			if err == nil {
				t.Errorf("%s: no error", tt.name)
			}
		case err != nil || date != tt.want || ok != (tt.want != ""):
			t.Errorf("%s: %q %v %v, want %q", tt.name, date, ok, err, tt.want)
		}
	}
}

func named(name string) *feed.Input {
	path, inner, _ := strings.Cut(name, "!")
	return &feed.Input{Name: path, Inner: inner}
}

func TestSymbolFromName(t *testing.T) {
	for _, tt := range []struct {
		of         func(*feed.Input) string
		name, want string
	}{
		{leanSymbol, "lean-equity-tick-spy-20131008_trade.csv", "SPY"},
		{leanSymbol, "lean-equity-tick-aig-20131007_quote.zip!20131007_aig_Quote_Tick.csv", "AIG"},
		{leanSymbol, "/d/equity/usa/tick/brk.b/20131007_trade.zip!20131007_brk.b_Trade_Tick.csv", "BRK.B"},
		{leanSymbol, "/d/equity/usa/tick/spy/20131007_trade.csv", "SPY"},
		{leanSymbol, "/d/tick/20131007_trade.csv", ""},
		{leanSymbol, "20131007_trade.csv", ""},
		{leanSymbol, "spy.csv", "SPY"},
		{leanSymbol, "-", ""},
		{binanceSymbol, "BTCUSDT-trades-2024-08-08.csv", "BTCUSDT"},
		{binanceSymbol, "x.zip!ETHUSDT-aggTrades-2024-08.csv", "ETHUSDT"},
		{binanceSymbol, "BTCUSD_240927-trades-2024-08-08.csv.zst", "BTCUSD_240927"},
		{binanceSymbol, "trades.csv", ""},
	} {
		if got := tt.of(named(tt.name)); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
