package sim

import (
	"bytes"
	"errors"
	"flag"
	"testing"
)

var seeds = flag.Uint64("sim.seeds", 100, "how many seeds of every scenario")

// TestSeeds runs the first seeds of every scenario: no property is violated.
func TestSeeds(t *testing.T) {
	n := *seeds
	if testing.Short() {
		n = min(n, 10)
	}
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			var v *Violation
			err := Many([]Scenario{s}, 0, n, nil)
			if errors.As(err, &v) {
				tail, xerr := Explain(v)
				t.Fatalf("%v\nrun it again: SEED=%d SCENARIO=%s make sim (%v)\n%s", v, v.Seed, v.Scenario, xerr, tail)
			}
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestSameAgain: a seed makes the same run, byte for byte, whenever it is used.
func TestSameAgain(t *testing.T) {
	for _, s := range Scenarios() {
		t.Run(s.Name, func(t *testing.T) {
			for seed := range uint64(5) {
				var first, again bytes.Buffer
				err := s.Run(seed, &first)
				aerr := s.Run(seed, &again)
				if err != nil || aerr != nil {
					t.Fatal(err, aerr)
				}
				if !bytes.Equal(first.Bytes(), again.Bytes()) {
					t.Fatalf("seed %d: the traces differ (%d and %d bytes)", seed, first.Len(), again.Len())
				}
				if first.Len() == 0 {
					t.Fatalf("seed %d: nothing happened", seed)
				}
			}
		})
	}
}
