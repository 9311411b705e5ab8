package feed

import (
	"strings"
	"testing"
)

func TestNameDate(t *testing.T) {
	for _, tt := range []struct{ name, inner, want, err string }{
		{"01302020.NASDAQ_ITCH50.gz", "", "2020-01-30", ""},
		{"/data/20010101/nasdaq-20200130-aapl.itch", "", "2020-01-30", ""},
		{`C:\x\data_feeds_20180127_IEXTP1_TOPS1.6.pcap.gz`, "", "2018-01-27", ""},
		{"trades-2024_02_29.csv", "", "2024-02-29", ""},
		{"trades-2023-02-29.csv", "", "", ""},
		{"renamed-20200101.zip", "20131008_trade.csv", "2013-10-08", ""},
		{"20131008.zip", "trade.csv", "2013-10-08", ""},
		{"20200130-20200130.itch", "", "2020-01-30", ""},
		{"20200130-20200131.itch", "", "", "holds two dates, 2020-01-30 and 2020-01-31"},
		{"202001301.itch", "", "", ""},
		{"18000101.itch", "", "", ""},
		{"-", "", "", ""},
		{"", "", "", ""},
	} {
		got, ok, err := NameDate(&Input{Name: tt.name, Inner: tt.inner})
		if tt.err != "" {
			if err == nil || !strings.Contains(err.Error(), tt.err) {
				t.Errorf("%s: error %v, want %q", tt.name, err, tt.err)
			}
			continue
		}
		if got != tt.want || ok != (tt.want != "") || err != nil {
			t.Errorf("%s: %q, %v, %v, want %q", tt.name, got, ok, err, tt.want)
		}
	}
}
