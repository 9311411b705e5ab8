package control

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestPlaces(t *testing.T) {
	for _, x := range []struct {
		text string
		want Place
	}{
		{"start", Place{Kind: AtStart}},
		{"1703514600000000000", Place{Kind: AtTime, Time: 1703514600000000000}},
		{"2023-12-25T14:30:00.000000001Z", Place{Kind: AtTime, Time: 1703514600000000001}},
		{"2023-12-25T15:30:00+01:00", Place{Kind: AtTime, Time: 1703514600000000000}},
		{"1969-12-31T23:59:59Z", Place{Kind: AtTime, Time: -1e9}},
		{"@open", Place{Kind: AtMark, Mark: "open"}},
		{"+10m", Place{Kind: ByDistance, Offset: 10 * time.Minute}},
		{"-1h5s", Place{Kind: ByDistance, Offset: -time.Hour - 5*time.Second}},
		{"+0s", Place{Kind: ByDistance}},
	} {
		got, err := ParsePlace(x.text)
		if err != nil || got != x.want {
			t.Errorf("%s is %+v, %v, want %+v", x.text, got, err, x.want)
			continue
		}
		again, err := ParsePlace(got.String())
		if err != nil || again != got {
			t.Errorf("%s says %s, which is %+v, %v", x.text, got, again, err)
		}
	}
	for _, bad := range []string{"", "@", "+", "-5", "+10", "end", "0500-01-01T00:00:00Z", "9223372036854775808", "2023-12-25", strings.Repeat("9", 1<<10)} {
		_, err := ParsePlace(bad)
		var refused *Error
		if !errors.As(err, &refused) || refused.Code != BadRequest || refused.Try == "" || len(refused.Reason) > 200 {
			t.Errorf("%.40q: %v", bad, err)
		}
	}
}

func TestNames(t *testing.T) {
	for _, name := range []string{"es", "a-b_c.D9", "..a", strings.Repeat("x", 64)} {
		if err := CheckName("deck", name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"", ".", "..", "a/b", "ä", "a b", "a\x00", strings.Repeat("x", 65)} {
		if !errors.Is(CheckName("deck", name), &Error{Code: BadRequest}) {
			t.Errorf("%q is taken as a name", name)
		}
	}
}
