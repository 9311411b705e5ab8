package sim

import (
	"errors"
	"strings"
	"testing"
)

// TestBugsAreFound: each property of each scenario is broken by some seed when what it
// is about is done wrong on purpose.
func TestBugsAreFound(t *testing.T) {
	const seeds = 200
	for _, c := range []struct {
		scenario string
		bug      bug
		want     string // of the violation
	}{
		{"pair", bugPairForgets, "in which the"},
		{"pair", bugPairAccepts, "accepts a request, in state passive"},
		{"pair", bugPairDeaf, "both have been active"},
		{"pair", bugPairPast, "is not served"},
		{"pair", bugPairSilent, "changes follow"},
		{"deck", bugDeckPair, "not all readers come to the end"},
		{"deck", bugDeckBefore, "comes next"},
		{"deck", bugDeckCut, "nothing is wrong but with the pair"},
		{"deck", bugDeckSkip, "again"},
		{"deck", bugDeckGap, "is not told"},
		{"heal", bugHealRecord, "is another record"},
		{"heal", bugHealResume, "where"},
		{"heal", bugHealGone, "and a recorder has some of it"},
		{"heal", bugHealSilent, "and does not say so"},
		{"heal", bugHealComplete, "is said to be complete"},
		{"heal", bugHealEnd, "not all readers come to the end"},
		{"bus", bugBusLedger, "was done 2 times"},
		{"bus", bugBusResult, "its client is told"},
		{"bus", bugBusSync, "does not know it"},
		{"bus", bugBusClose, "Titanic has jobs"},
		{"buspair", bugBusLedger, "was done 2 times"},
		{"buspair", bugBusPairDeaf, "2 brokers of the pair are active"},
		{"lvc", bugLVCLose, "comes next"},
		{"lvc", bugLVCTwice, "again, or late"},
		{"lvc", bugLVCDropped, "and has counted 0 as dropped"},
		{"lvc", bugLVCLoud, "and is passive"},
		{"lvc", bugLVCWarm, "it had at no time"},
		{"lvc", bugLVCSnapshot, "a snapshot has"},
		{"lvc", bugLVCGap, "it had at no time"},
		{"lvc", bugLVCGap, "has not told of the gap"},
		{"lvc", bugLVCForgets, "in which the"},
		{"lvc", bugLVCAgain, "again"},
		{"lvc", bugLVCOld, "goes back"},
		{"lvc", bugLVCHad, "has missed record"},
		{"lvc", bugLVCIdle, "not all readers have"},
		{"lvc", bugLVCDeaf, "all is calm, and the primary is active: true, the backup: true"},
		{"meter", bugMeterWall, "a reader that is well is named"},
		{"meter", bugMeterLag, "is slow is not named"},
		{"meter", bugMeterLoss, "is slow is not named"},
	} {
		t.Run(c.scenario+": "+string(c.bug), func(t *testing.T) {
			s, err := Named(c.scenario)
			if err != nil {
				t.Fatal(err)
			}
			var others []string
			for seed := range uint64(seeds) {
				var v *Violation
				if !errors.As(s.with(c.bug, seed, nil), &v) {
					continue
				}
				if strings.Contains(v.What, c.want) {
					return
				}
				others = append(others, v.What)
			}
			t.Errorf("no violation %q in %d seeds, but %d others: %.1000q", c.want, seeds, len(others), others)
		})
	}
}
