package csv

import (
	"fmt"
	"path"
	"regexp"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// What a file's name says, as vendors name their files: the date as YYYYMMDD,
// MMDDYYYY or YYYY-MM-DD (also with _ between), and the symbol. The name of a
// zip's member is asked first, since the zip may have been renamed.

var (
	dashedDate = regexp.MustCompile(`(?:^|\D)(\d{4})[-_](\d{2})[-_](\d{2})(?:\D|$)`)
	plainDate  = regexp.MustCompile(`(?:^|\D)(\d{8})(?:\D|$)`)
	anyDate    = regexp.MustCompile(`\d{4}[-_]\d{2}(?:[-_]\d{2})?|\d{8}|\d{6}`)
	suffixes   = regexp.MustCompile(`(?i)(\.(csv|txt|tsv|dat|gz|zst|zip))+$`)
	binanceOf  = regexp.MustCompile(`^([A-Za-z0-9_]+)-(?:aggTrades|trades)-`)
)

// nameWords are words in names that are no symbol.
var nameWords = map[string]bool{
	"trade": true, "trades": true, "quote": true, "quotes": true, "tick": true, "ticks": true,
	"openinterest": true, "second": true, "minute": true, "hour": true, "daily": true,
	"lean": true, "equity": true, "usa": true, "option": true, "future": true, "futureoption": true,
	"forex": true, "crypto": true, "cryptofuture": true, "cfd": true, "index": true,
	"data": true, "csv": true,
}

// names returns the names to ask, without folder and suffixes.
func names(in *feed.Input) []string {
	var list []string
	for _, name := range []string{in.Inner, in.Name} {
		base := suffixes.ReplaceAllString(path.Base(strings.ReplaceAll(name, `\`, "/")), "")
		if name != "" && name != "-" && base != "" {
			list = append(list, base)
		}
	}
	return list
}

// dateFromName returns the date that the input's name holds, as YYYY-MM-DD, and
// its midnight. It reports false where there is none, and gives an error where
// one name holds two dates.
func dateFromName(in *feed.Input) (string, wire.Nanos, bool, error) {
	for _, name := range names(in) {
		dates := datesIn(name)
		if len(dates) == 0 {
			continue
		}
		for _, d := range dates[1:] {
			if d != dates[0] {
				return "", 0, false, fmt.Errorf("the name %q holds two dates, %s and %s; say which with --date", name, dates[0], d)
			}
		}
		day, _, err := parseDate([]byte(dates[0]))
		return dates[0], day, err == nil, err
	}
	return "", 0, false, nil
}

// datesIn returns the dates in a name, as YYYY-MM-DD.
func datesIn(name string) []string {
	var dates []string
	add := func(year, month, day string) bool {
		date := year + "-" + month + "-" + day
		_, _, err := parseDate([]byte(date))
		// Other centuries are numbers that happen to look like a date. This also
		// keeps YYYYMMDD and MMDDYYYY apart: no month is 19 or 20.
		if err != nil || year < "1900" || year > "2099" {
			return false
		}
		dates = append(dates, date)
		return true
	}
	for rest := name; ; {
		m := dashedDate.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		add(rest[m[2]:m[3]], rest[m[4]:m[5]], rest[m[6]:m[7]])
		rest = rest[m[7]:]
	}
	for rest := name; ; {
		m := plainDate.FindStringSubmatchIndex(rest)
		if m == nil {
			break
		}
		d := rest[m[2]:m[3]]
		if !add(d[:4], d[4:6], d[6:]) {
			add(d[4:], d[:2], d[2:4])
		}
		rest = rest[m[3]:]
	}
	return dates
}

// leanSymbol returns the symbol that a Lean file's name holds, in upper case,
// or "". Members are named YYYYMMDD_symbol_Trade_Tick.csv and zips
// .../symbol/YYYYMMDD_trade.zip.
func leanSymbol(in *feed.Input) string {
	for _, name := range names(in) {
		var before, after string // the words nearest to the date
		spot := anyDate.FindStringIndex(name)
		if spot == nil {
			spot = []int{len(name), len(name)}
		}
		for _, word := range words(name[:spot[0]]) {
			before = word
		}
		for _, word := range words(name[spot[1]:]) {
			if after == "" {
				after = word
			}
		}
		if before == "" {
			before = after
		}
		if before != "" {
			return strings.ToUpper(before)
		}
	}
	folder := path.Base(path.Dir(in.Name))
	if in.Name != "-" && len(words(folder)) == 1 && strings.Trim(folder, "./") != "" {
		return strings.ToUpper(folder)
	}
	return ""
}

// words returns the parts of a name that may be a symbol.
func words(s string) []string {
	var list []string
	for _, w := range strings.FieldsFunc(s, func(r rune) bool { return strings.ContainsRune("-_ ", r) }) {
		if !nameWords[strings.ToLower(w)] {
			list = append(list, w)
		}
	}
	return list
}

// binanceSymbol returns the symbol that a Binance dump's name holds, or "".
func binanceSymbol(in *feed.Input) string {
	for _, name := range names(in) {
		if m := binanceOf.FindStringSubmatch(name); m != nil {
			return strings.ToUpper(m[1])
		}
	}
	return ""
}
