package shard_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/shard"
)

func TestParseCPUs(t *testing.T) {
	for _, c := range []struct {
		list, canonical string
		cpus            []shard.CPU
	}{
		{"0", "0", []shard.CPU{0}},
		{"0,2-5", "0,2-5", []shard.CPU{0, 2, 3, 4, 5}},
		{"5,3,4,0-1", "0-1,3-5", []shard.CPU{0, 1, 3, 4, 5}},
		{"7-7,7", "7", []shard.CPU{7}},
		{" 1 , 3 \n", "1,3", []shard.CPU{1, 3}},
		{"62-65,1023", "62-65,1023", []shard.CPU{62, 63, 64, 65, 1023}},
	} {
		set, err := shard.ParseCPUs(c.list)
		if err != nil {
			t.Errorf("%q: %v", c.list, err)
			continue
		}
		if got := set.List(); !slices.Equal(got, c.cpus) || set.Len() != len(c.cpus) || set.String() != c.canonical {
			t.Errorf("%q: %v, length %d, string %q; want %v, %q", c.list, got, set.Len(), set, c.cpus, c.canonical)
		}
		for cpu := shard.NoCPU; cpu <= shard.CPUMax; cpu++ {
			if set.Contains(cpu) != slices.Contains(c.cpus, cpu) {
				t.Errorf("%q: Contains(%d) = %v", c.list, cpu, set.Contains(cpu))
			}
		}
	}
}

func TestParseCPUsRefuses(t *testing.T) {
	for list, want := range map[string]string{
		"":                     "empty",
		"  ":                   "empty",
		",":                    "entry 1: number missing",
		"0,,2":                 "entry 2: number missing",
		"0,2-":                 "entry 2: number missing",
		"-3":                   "entry 1: number missing",
		"a":                    `entry 1: "a" is not a number`,
		"0,1-b":                `entry 2: "b" is not a number`,
		"0x1":                  "is not a number",
		"+1":                   "is not a number",
		"1 2":                  "is not a number",
		"1-2-3":                "is not a number",
		"5-2":                  `entry 1: range "5-2" runs backwards`,
		"1024":                 "CPU 1024 is above 1023",
		"0-4294967296":         "CPU 4294967296 is above 1023",
		"99999999999999999999": "is above 1023",
	} {
		set, err := shard.ParseCPUs(list)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), `example: "0,2-5"`) {
			t.Errorf("%q: %v, want %q and an example", list, err, want)
		}
		if set != (shard.CPUSet{}) {
			t.Errorf("%q: error and set %v", list, set)
		}
	}
}

func TestCPUSetAlgebra(t *testing.T) {
	a, b := cpus(t, "0-3,70"), cpus(t, "2-5,70,71")
	if got := a.Intersect(b); got != cpus(t, "2-3,70") {
		t.Errorf("Intersect: %v", got)
	}
	if got := a.Without(b); got != cpus(t, "0-1") {
		t.Errorf("Without: %v", got)
	}
	if a != cpus(t, "0-3,70") {
		t.Errorf("an operation changed its operand: %v", a)
	}
	var none shard.CPUSet
	if none.String() != "" || none.Len() != 0 || len(none.List()) != 0 {
		t.Errorf("the zero set is %q", none)
	}
}

func cpus(t testing.TB, list string) shard.CPUSet {
	t.Helper()
	if list == "" {
		return shard.CPUSet{}
	}
	set, err := shard.ParseCPUs(list)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func FuzzParseCPUs(f *testing.F) {
	for _, s := range []string{"0,2-5", "1023", "0-1023", "5-2", "1,,2", " 3 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, list string) {
		set, err := shard.ParseCPUs(list)
		if err != nil {
			return
		}
		if set.Len() == 0 {
			t.Fatal("accepted a list without a CPU")
		}
		again, err := shard.ParseCPUs(set.String())
		if err != nil || again != set {
			t.Fatalf("%q became %q: %v", list, set, err)
		}
	})
}
