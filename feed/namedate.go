package feed

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
)

// Dates as vendors put them into file names: YYYYMMDD, MMDDYYYY or YYYY-MM-DD,
// also with _ between.
var (
	dashedDate = regexp.MustCompile(`(?:^|\D)(\d{4})[-_](\d{2})[-_](\d{2})(?:\D|$)`)
	plainDate  = regexp.MustCompile(`(?:^|\D)(\d{8})(?:\D|$)`)
)

// NameDate returns the date that the input's name holds, as YYYY-MM-DD, for
// formats that carry only the time of day. The name of a zip's member is asked
// first, since the zip may have been renamed. It reports false where there is no
// date, and gives an error where one name holds two.
func NameDate(in *Input) (string, bool, error) {
	for _, name := range []string{in.Inner, in.Name} {
		if name == "" || name == "-" {
			continue
		}
		base := path.Base(strings.ReplaceAll(name, `\`, "/"))
		dates := datesIn(base)
		if len(dates) == 0 {
			continue
		}
		for _, d := range dates[1:] {
			if d != dates[0] {
				return "", false, fmt.Errorf("the name %q holds two dates, %s and %s; say which with --date", base, dates[0], d)
			}
		}
		return dates[0], true, nil
	}
	return "", false, nil
}

// datesIn returns the dates in a name, as YYYY-MM-DD.
func datesIn(name string) []string {
	var dates []string
	add := func(year, month, day string) bool {
		date := year + "-" + month + "-" + day
		_, err := time.Parse(time.DateOnly, date)
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
