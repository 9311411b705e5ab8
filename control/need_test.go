package control

import "testing"

func TestNeedOfRequest(t *testing.T) {
	frames := func(command string) [][]byte {
		f, err := AppendRequest(nil, &Request{Client: ClientID{1}, Number: 1, Command: command})
		if err != nil {
			t.Fatal(err)
		}
		return f
	}
	for _, tc := range []struct {
		service string
		frames  [][]byte
		want    Need
	}{
		{ServiceDeck, frames("state"), NeedLook},
		{ServiceDeck, frames("commands"), NeedLook},
		{ServiceDeck, frames("seek"), NeedChange},
		{ServiceDeck, frames("unheard-of"), NeedChange},
		{ServiceDeck, [][]byte{[]byte("state")}, NeedChange},
		{ServiceDeck, nil, NeedChange},
		{ServiceTapes, frames("last"), NeedRead},
		{ServiceStatus, frames("status"), NeedLook},
		{ServiceJobImport, frames("commands"), NeedChange},
		{"titanic.request", frames("list"), NeedChange},
	} {
		if got := NeedOfRequest(tc.service, tc.frames); got != tc.want {
			t.Errorf("%s %q: %d, want %d", tc.service, tc.frames, got, tc.want)
		}
	}
}
