package dbn

import (
	"time"
)

// dayNs is one UTC day, ns.
const dayNs = 86_400_000_000_000

// epochDay converts a date, the decimal number YYYYMMDD, to days since the Unix
// epoch. It refuses what is not a day of the calendar from 1970 on.
func epochDay(v uint32) (uint32, bool) {
	y, m, d := int(v/10000), time.Month(v/100%100), int(v%100)
	if y < 1970 || y > 9999 {
		return 0, false
	}
	t := time.Date(y, m, d, 0, 0, 0, 0, time.UTC)
	if t.Month() != m || t.Day() != d {
		return 0, false
	}
	return uint32(t.Unix() / (24 * 60 * 60)), true
}
