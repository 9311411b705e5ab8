package jsonl

import (
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

func TestBinance(t *testing.T) {
	type want struct {
		topic string
		event wire.Nanos // 0 where there is none
		kind  wire.Kind
		flags wire.RecordFlags
	}
	for _, tt := range []struct {
		name, text string
		want       want
	}{
		{"trade", `{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256322,"T":1723161256321,"s":"BTCUSDT"}}`,
			want{"BINANCE.BTCUSDT@trade", 1723161256321e6, wire.KindTrade, 0}},
		{"depth in us", `{"stream":"ethbtc@depth@100ms","data":{"e":"depthUpdate","E":1723161256322001,"s":"ETHBTC"}}`,
			want{"BINANCE.ETHBTC@depth@100ms", 1723161256322001e3, wire.KindQuote, 0}},
		{"partial depth", `{"stream":"ethbtc@depth20@100ms","data":{"lastUpdateId":1,"bids":[]}}`,
			want{"BINANCE.ETHBTC@depth20@100ms", 0, wire.KindQuote, 0}},
		{"spot best bid and offer", `{"stream":"bnbusdt@bookTicker","data":{"u":1,"s":"BNBUSDT","b":"1","B":"2"}}`,
			want{"BINANCE.BNBUSDT@bookTicker", 0, wire.KindQuote, 0}},
		{"delivery contract", `{"stream":"btcusdt_240927@aggTrade","data":{"E":1723161256322,"T":1723161256320}}`,
			want{"BINANCE.BTCUSDT_240927@aggTrade", 1723161256320e6, wire.KindTrade, 0}},
		{"kline", `{"stream":"btcusdt@kline_1m","data":{"E":1723161256322,"k":{"T":1723161256999}}}`,
			want{"BINANCE.BTCUSDT@kline_1m", 1723161256322e6, wire.KindBar, 0}},
		{"mark price: T is the next funding", `{"stream":"btcusdt@markPrice@1s","data":{"E":1723161256322,"T":1723190400000}}`,
			want{"BINANCE.BTCUSDT@markPrice@1s", 1723161256322e6, wire.KindStatistic, 0}},
		{"all tickers", `{"stream":"!ticker@arr","data":[{"e":"24hrTicker","E":1723161256322},{"E":2}]}`,
			want{"BINANCE.!ticker@arr", 1723161256322e6, wire.KindStatistic, 0}},
		{"raw trade", `{"e":"trade","E":1723161256322,"s":"BTCUSDT","T":1723161256320}`,
			want{"BINANCE.BTCUSDT@trade", 1723161256320e6, wire.KindTrade, 0}},
		{"raw depth", `{"e":"depthUpdate","E":1723161256322,"s":"BTCUSDT"}`,
			want{"BINANCE.BTCUSDT@depth", 1723161256322e6, wire.KindQuote, 0}},
		{"raw best bid and offer", `{"u":400900217,"s":"BNBUSDT","b":"25.35","B":"31.21","a":"25.36","A":"40.66"}`,
			want{"BINANCE.BNBUSDT@bookTicker", 0, wire.KindQuote, 0}},
		{"futures snapshot", `{"lastUpdateId":5,"E":1723161256322,"T":1723161256320,"bids":[],"asks":[]}`,
			want{"BINANCE.XRPUSDT@depthSnapshot", 1723161256320e6, wire.KindQuote, wire.FlagSnapshot}},
		{"spot snapshot", `{"lastUpdateId":5,"bids":[],"asks":[]}`,
			want{"BINANCE.XRPUSDT@depthSnapshot", 0, wire.KindQuote, wire.FlagSnapshot}},
		{"answer", `{"result":null,"id":1}`, want{"BINANCE.@response", 0, wire.KindSystem, 0}},
		{"refusal", `{"error":{"code":2},"id":1}`, want{"BINANCE.@response", 0, wire.KindSystem, 0}},
		{"unknown stream", `{"stream":"btcusdt@future","data":{}}`, want{"BINANCE.BTCUSDT@future", 0, wire.KindData, 0}},
		{"liquidation", `{"stream":"btcusdt@forceOrder","data":{"E":1723161256322,"o":{"T":1}}}`,
			want{"BINANCE.BTCUSDT@forceOrder", 1723161256322e6, wire.KindData, 0}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := "1723161255000000001 " + tt.text + "\n"
			if strings.Contains(tt.want.topic, "XRP") {
				text += "1723161255000000002 {\"stream\":\"xrpusdt@trade\",\"data\":{\"T\":1723161256321}}\n"
			}
			opts := feed.Options{}
			if tt.want.kind == wire.KindSystem {
				opts.Preset = "binance" // an answer alone does not tell
			}
			src, err := openText(t, text, opts)
			must(t, err)
			got := rows(t, src)[0]
			want := row{topic: tt.want.topic, body: tt.text, event: tt.want.event, receive: 1723161255000000001, kind: tt.want.kind, flags: tt.want.flags}
			if want.event == 0 {
				want.event = want.receive
				want.flags |= wire.FlagNoEventTime
			}
			if got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
			if src.Encoding().Detail["preset"] != "binance" {
				t.Errorf("detail %v", src.Encoding().Detail)
			}
		})
	}
}

func TestBinanceOddities(t *testing.T) {
	text := strings.Join([]string{
		`1 {"lastUpdateId":5,"bids":[]}`,
		`2 {"stream":"a@trade","data":{"T":1723161256321}}`,
		`3 {"stream":"b@trade","data":{"T":1723161256321}}`,
		`4 {"something":"else"}`,
		`5 {"stream":"a@trade","data":{"T":"x"}}`,
		`6 {"stream":"a@trade","data":[]}`,
	}, "\n")
	src, err := openText(t, text, feed.Options{Preset: "binance", Topic: "BIN/", TimeUnit: "s"})
	must(t, err)
	var got []string
	for _, r := range rows(t, src) {
		got = append(got, r.topic+r.bad)
	}
	want := []string{
		"BIN/@depthSnapshot", // of which of the two symbols is not known
		"BIN/A@trade", "BIN/B@trade",
		"line 4: not a message of a Binance stream: it has no stream, no e and no lastUpdateId",
		`line 5: time at data.T: "x": not a number`,
		"BIN/A@trade",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	// Lines of another venue are not taken for Binance's.
	if src, err := openText(t, `{"ts":1723161256321,"stream":"btc-usd","s":"x"}`, feed.Options{}); err != nil || rows(t, src)[0].topic != "btc-usd" {
		t.Errorf("error %v", err)
	}
}
