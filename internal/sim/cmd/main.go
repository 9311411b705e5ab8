// Command cmd runs the project's simulations over many seeds, on all CPUs.
//
//	go run ./internal/sim/cmd -seeds 10000
//	go run ./internal/sim/cmd -seed 4711 -scenario pair
//
// With -seed it runs that one, and writes what happens. The exit code is 1 where a
// property does not hold; then the least seed is named, and the end of its trace
// follows.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/tapedeck/tapedeck/internal/sim"
)

func main() {
	seeds := flag.Uint64("seeds", 1000, "how many seeds")
	first := flag.Uint64("first", 0, "the first seed")
	seed := flag.Uint64("seed", 0, "run this seed alone, and write what happens")
	only := flag.String("scenario", "", "run this scenario alone")
	flag.Parse()
	one := false
	flag.Visit(func(f *flag.Flag) { one = one || f.Name == "seed" })
	if err := run(*seeds, *first, *seed, one, *only); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(seeds, first, seed uint64, one bool, only string) error {
	scenarios := sim.Scenarios()
	if only != "" {
		s, err := sim.Named(only)
		if err != nil {
			return err
		}
		scenarios = []sim.Scenario{s}
	}
	if one {
		return trace(scenarios, seed)
	}
	begun := time.Now()
	var through atomic.Uint64
	err := sim.Many(scenarios, first, seeds, func() {
		if n := through.Add(1); n%1000 == 0 {
			fmt.Fprintf(os.Stderr, "sim: %d of %d seeds, %v\n", n, seeds, time.Since(begun).Round(time.Second))
		}
	})
	var v *sim.Violation
	if errors.As(err, &v) {
		tail, xerr := sim.Explain(v)
		_, werr := os.Stdout.Write(tail)
		fmt.Printf("\nrun it again: SEED=%d SCENARIO=%s make sim\n", v.Seed, v.Scenario)
		return errors.Join(err, xerr, werr)
	}
	if err != nil {
		return err
	}
	fmt.Printf("%d seeds of %d scenarios, from %d: no violation, %v\n", seeds, len(scenarios), first, time.Since(begun).Round(100*time.Millisecond))
	return nil
}

func trace(scenarios []sim.Scenario, seed uint64) error {
	for _, s := range scenarios {
		if err := s.Run(seed, io.Writer(os.Stdout)); err != nil {
			return err
		}
	}
	return nil
}
