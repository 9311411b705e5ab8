package csv

import (
	"path"
	"regexp"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/wire"
)

// What a file's name says, as vendors name their files: the date (feed.NameDate)
// and the symbol. The name of a zip's member is asked first, since the zip may
// have been renamed.

var (
	anyDate   = regexp.MustCompile(`\d{4}[-_]\d{2}(?:[-_]\d{2})?|\d{8}|\d{6}`)
	suffixes  = regexp.MustCompile(`(?i)(\.(csv|txt|tsv|dat|gz|zst|zip))+$`)
	binanceOf = regexp.MustCompile(`^([A-Za-z0-9_]+)-(?:aggTrades|trades)-`)
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

// dateFromName is feed.NameDate with the midnight of the date.
func dateFromName(in *feed.Input) (string, wire.Nanos, bool, error) {
	date, ok, err := feed.NameDate(in)
	if !ok {
		return "", 0, false, err
	}
	day, _, err := colmap.ParseDate([]byte(date))
	return date, day, err == nil, err
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
