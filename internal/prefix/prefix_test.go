package prefix

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, tc := range []struct {
		prefixes []string
		topic    string
		want     bool
	}{
		{nil, "A", true},
		{[]string{""}, "A", true},
		{[]string{"A", ""}, "B", true},
		{[]string{"XNAS.AAPL"}, "XNAS.AAPL", true},
		{[]string{"XNAS.AAPL"}, "XNAS.AAPLW", true},
		{[]string{"XNAS.AAPL."}, "XNAS.AAPLW", false},
		{[]string{"XNAS.AAPL"}, "XNAS.AAP", false},
		{[]string{"A", "AB", "ABC"}, "ABX", true},
		{[]string{"B", "A.B", "A"}, "A.C", true},
		{[]string{"B", "C"}, "A", false},
		{[]string{"B", "C"}, "D", false},
		{[]string{"\xff"}, "\xff\xff", true},
	} {
		s := New(tc.prefixes)
		if got := s.Match([]byte(tc.topic)); got != tc.want {
			t.Errorf("New(%q).Match(%q) = %v, want %v", tc.prefixes, tc.topic, got, tc.want)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("A,AB,B.C", "AB")
	f.Add(",", "")
	f.Fuzz(func(t *testing.T, list, topic string) {
		prefixes := strings.Split(list, ",")
		want := false
		for _, p := range prefixes {
			want = want || strings.HasPrefix(topic, p)
		}
		s := New(prefixes)
		if got := s.Match([]byte(topic)); got != want {
			t.Errorf("New(%q).Match(%q) = %v, want %v", prefixes, topic, got, want)
		}
	})
}
