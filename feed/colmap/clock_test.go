package colmap

import (
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

func location(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	must(t, err)
	return loc
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func nanos(t testing.TB, rfc string) wire.Nanos {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, rfc)
	must(t, err)
	return wire.Nanos(at.UnixNano())
}

func TestClock(t *testing.T) {
	const day = "2024-08-08"
	tests := []struct {
		unit Unit
		zone string
		text string
		want string // RFC 3339; "" for an error
	}{
		{S, "UTC", "1723075200", "2024-08-08T00:00:00Z"},
		{S, "UTC", "1723075200.123456789", "2024-08-08T00:00:00.123456789Z"},
		{S, "UTC", "1723075200.1234567891234", "2024-08-08T00:00:00.123456789Z"},
		{S, "UTC", "-1.5", "1969-12-31T23:59:58.5Z"},
		{S, "UTC", "99999999999", ""},
		{Ms, "UTC", "1723075200123", "2024-08-08T00:00:00.123Z"},
		{Ms, "UTC", "1723075200123.0", "2024-08-08T00:00:00.123Z"},
		{Ms, "UTC", "1723075200123.", ""},
		{Ms, "UTC", "1.7e12", ""},
		{Ms, "UTC", "abc", ""},
		{Ms, "UTC", "-", ""},
		{Ms, "UTC", "+1", ""},
		{Ms, "UTC", "", ""},
		{Us, "UTC", "1723075200123456", "2024-08-08T00:00:00.123456Z"},
		{Ns, "UTC", "1723075200123456789", "2024-08-08T00:00:00.123456789Z"},
		{Ns, "UTC", "9223372036854775807", "2262-04-11T23:47:16.854775807Z"},
		{Ns, "UTC", "9223372036854775808", ""},
		{Ns, "UTC", "17230752001234567890", ""},

		{ISO, "UTC", "2024-08-08T09:30:00Z", "2024-08-08T09:30:00Z"},
		{ISO, "UTC", "2024-08-08 09:30:00.5", "2024-08-08T09:30:00.5Z"},
		{ISO, "UTC", "2024-08-08T09:30:00,123", "2024-08-08T09:30:00.123Z"},
		{ISO, "UTC", "2024-08-08T09:30", "2024-08-08T09:30:00Z"},
		{ISO, "UTC", "2024-08-08", "2024-08-08T00:00:00Z"},
		{ISO, "UTC", "20240808", "2024-08-08T00:00:00Z"},
		{ISO, "UTC", "20240808 093000", "2024-08-08T09:30:00Z"},
		{ISO, "UTC", "20240808T093000.25Z", "2024-08-08T09:30:00.25Z"},
		{ISO, "UTC", "2024/08/08 09:30:00", "2024-08-08T09:30:00Z"},
		{ISO, "UTC", "2024.08.08 09:30:00", "2024-08-08T09:30:00Z"},
		{ISO, "UTC", "2024-08-08T09:30:00+02:00", "2024-08-08T07:30:00Z"},
		{ISO, "UTC", "2024-08-08T09:30:00.1-0530", "2024-08-08T15:00:00.1Z"},
		{ISO, "UTC", "2024-08-08T09:30:00+02", "2024-08-08T07:30:00Z"},
		{ISO, "UTC", "2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"},
		{ISO, "America/New_York", "2024-08-08T09:30:00", "2024-08-08T13:30:00Z"},
		{ISO, "America/New_York", "2024-08-08T09:30:00Z", "2024-08-08T09:30:00Z"},
		{ISO, "America/New_York", "2024-01-08T09:30:00", "2024-01-08T14:30:00Z"},
		{ISO, "UTC", "2024-02-30T00:00:00Z", ""},
		{ISO, "UTC", "2023-02-29T00:00:00Z", ""},
		{ISO, "UTC", "2024-13-01T00:00:00Z", ""},
		{ISO, "UTC", "2024-08-08T24:00:00Z", ""},
		{ISO, "UTC", "2024-08-08T09:60:00Z", ""},
		{ISO, "UTC", "2024-08-08T", ""},
		{ISO, "UTC", "2024-08-08Tx", ""},
		{ISO, "UTC", "2024-08-08T09:3", ""},
		{ISO, "UTC", "2024-08-08T09:30:", ""},
		{ISO, "UTC", "2024-08-08T09:30:00.", ""},
		{ISO, "UTC", "2024-08-08T09:30:00X", ""},
		{ISO, "UTC", "2024-08-08T09:30:00+2", ""},
		{ISO, "UTC", "2024-08-08T09:30:00+02:", ""},
		{ISO, "UTC", "2024-08/08", ""},
		{ISO, "UTC", "0001-01-01T00:00:00Z", ""},
		{ISO, "UTC", "202408081", ""},

		{Tod, "UTC", "09:30:00.123", "2024-08-08T09:30:00.123Z"},
		{Tod, "UTC", "09:30", "2024-08-08T09:30:00Z"},
		{Tod, "UTC", "093000", "2024-08-08T09:30:00Z"},
		{Tod, "America/New_York", "09:30:00", "2024-08-08T13:30:00Z"},
		{Tod, "America/New_York", "23:00:00", "2024-08-09T03:00:00Z"},
		{Tod, "Asia/Tokyo", "01:00:00", "2024-08-07T16:00:00Z"},
		{Tod, "UTC", "9:30", ""},
		{Tod, "UTC", "25:30", ""},
		{TodMs, "America/New_York", "34200000", "2024-08-08T13:30:00Z"},
		{TodS, "UTC", "34200.5", "2024-08-08T09:30:00.5Z"},
		{TodUs, "UTC", "1", "2024-08-08T00:00:00.000001Z"},
		{TodNs, "UTC", "86399999999999", "2024-08-08T23:59:59.999999999Z"},
		{TodNs, "UTC", "86400000000000", ""},
		{TodMs, "UTC", "-1", ""},
	}
	midnight, _, err := ParseDate([]byte(day))
	must(t, err)
	for _, tt := range tests {
		c := NewClock(tt.unit, midnight, location(t, tt.zone))
		got, err := c.Parse([]byte(tt.text))
		again, errAgain := c.Parse([]byte(tt.text)) // from what is kept
		if again != got || (err == nil) != (errAgain == nil) {
			t.Errorf("%v %q: %v %v, then %v %v", tt.unit, tt.text, got, err, again, errAgain)
		}
		if tt.want == "" {
			if err == nil {
				t.Errorf("%v %q gave %d", tt.unit, tt.text, got)
			}
			continue
		}
		if err != nil || got != nanos(t, tt.want) {
			t.Errorf("%v %q in %s: %v, error %v, want %s", tt.unit, tt.text, tt.zone, time.Unix(0, int64(got)).UTC(), err, tt.want)
		}
	}
}

// TestClockKeepsNoWrongDate: what is kept of the last date is not taken for a
// longer or another one.
func TestClockKeepsNoWrongDate(t *testing.T) {
	c := NewClock(ISO, 0, time.UTC)
	for _, text := range []string{"20240808", "202408081", "2024-08-08", "2024-08-09", "20240808"} {
		got, err := c.Parse([]byte(text))
		fresh := NewClock(ISO, 0, time.UTC)
		want, wantErr := fresh.Parse([]byte(text))
		if got != want && err == nil || (err == nil) != (wantErr == nil) {
			t.Errorf("%s: %d %v, want %d %v", text, got, err, want, wantErr)
		}
	}
}

func TestZone(t *testing.T) {
	wall := func(text string) wire.Nanos { return nanos(t, text+"Z") }
	for _, tt := range []struct{ zone, wall, want string }{
		{"America/New_York", "2024-03-10T01:59:59.999999999", "2024-03-10T06:59:59.999999999Z"},
		{"America/New_York", "2024-03-10T02:30:00", "2024-03-10T07:30:00Z"}, // does not occur
		{"America/New_York", "2024-03-10T03:00:00", "2024-03-10T07:00:00Z"},
		{"America/New_York", "2024-11-03T00:59:59", "2024-11-03T04:59:59Z"},
		{"America/New_York", "2024-11-03T01:30:00", "2024-11-03T05:30:00Z"}, // occurs twice: the first
		{"America/New_York", "2024-11-03T02:00:00", "2024-11-03T07:00:00Z"},
		{"Europe/Berlin", "2024-10-27T02:59:59", "2024-10-27T00:59:59Z"},
		{"Europe/Berlin", "2024-10-27T03:00:00", "2024-10-27T02:00:00Z"},
		{"Asia/Kolkata", "2024-08-08T05:30:00", "2024-08-08T00:00:00Z"},
		{"Australia/Lord_Howe", "2024-04-07T01:45:00", "2024-04-06T14:45:00Z"}, // half an hour
		{"Pacific/Apia", "2011-12-31T00:00:00", "2011-12-30T10:00:00Z"},        // a day left out
		{"UTC", "2024-08-08T05:30:00", "2024-08-08T05:30:00Z"},
		{"America/New_York", "2076-12-31T12:00:00", "2076-12-31T17:00:00Z"}, // the last day of a leap year, by rule
		{"America/New_York", "2077-01-01T00:00:00", "2077-01-01T05:00:00Z"},
		{"America/New_York", "2077-07-01T00:00:00", "2077-07-01T04:00:00Z"},
		{"Australia/Sydney", "2076-12-31T12:00:00", "2076-12-31T01:00:00Z"},
		{"Australia/Sydney", "2077-01-01T23:00:00", "2077-01-01T12:00:00Z"},
	} {
		// From nothing, and coming from both sides.
		for _, before := range []string{tt.wall, "1980-01-01T00:00:00", "2100-01-01T00:00:00", "2024-11-03T06:00:00", "2024-11-03T00:30:00"} {
			z := newZone(location(t, tt.zone))
			z.utc(wall(before))
			if got := z.utc(wall(tt.wall)); got != nanos(t, tt.want) {
				t.Errorf("%s in %s after %s: %v, want %s", tt.wall, tt.zone, before, time.Unix(0, int64(got)).UTC(), tt.want)
			}
		}
	}
}

// TestZoneAgreesWithTime walks a year and a half by 17 minutes through zones and
// compares with the time package wherever a wall clock time occurs once.
func TestZoneAgreesWithTime(t *testing.T) {
	for _, name := range []string{"America/New_York", "Europe/London", "Asia/Tokyo", "Australia/Lord_Howe", "America/Sao_Paulo"} {
		loc := location(t, name)
		z := newZone(loc)
		for at := time.Date(2017, 9, 1, 0, 0, 0, 0, time.UTC); at.Year() < 2019; at = at.Add(17 * time.Minute) {
			local := at.In(loc)
			_, offset := local.Zone()
			wall := wire.Nanos(at.UnixNano()) + wire.Nanos(offset)*secondNs
			twice := !time.Unix(0, int64(wall)).Add(-time.Duration(offset) * time.Second).Equal(at) // never: keeps the sum honest
			for _, shift := range []time.Duration{-time.Hour, -30 * time.Minute} {
				earlier := at.Add(shift)
				_, o := earlier.In(loc).Zone()
				twice = twice || wire.Nanos(earlier.UnixNano())+wire.Nanos(o)*secondNs == wall
			}
			if twice {
				continue // the earlier one is taken, which TestZone shows
			}
			if got := z.utc(wall); got != wire.Nanos(at.UnixNano()) {
				t.Fatalf("%s: %v became %v", name, local, time.Unix(0, int64(got)).UTC())
			}
		}
	}
}

func FuzzClock(f *testing.F) {
	for _, seed := range []string{"2024-08-08T09:30:00.5Z", "20240808", "09:30", "1723075200.5", "-1", "2024-08-08 09:30+02:00", "2077-01-01"} {
		f.Add(seed, uint8(ISO))
	}
	loc := location(f, "America/New_York")
	f.Fuzz(func(t *testing.T, text string, u uint8) {
		c := NewClock(Unit(u%uint8(len(unitNames))), 0, loc)
		got, err := c.Parse([]byte(text))
		if err != nil || c.unit != ISO {
			return
		}
		// What RFC 3339 allows must be read as the time package reads it.
		if want, err := time.Parse(time.RFC3339Nano, text); err == nil && want.Second() < 60 && int64(got) != want.UnixNano() {
			t.Errorf("%q is %d, want %d", text, got, want.UnixNano())
		}
	})
}
