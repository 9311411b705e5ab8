package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/wire"
)

// deckLine is a deck in one line.
func deckLine(d *control.DeckState) string {
	text := fmt.Sprintf("%s: %s at %s", d.Deck, d.Phase, d.Speed)
	if d.Error != "" {
		text += ": " + d.Error
	}
	text += ", " + deckPlace(d)
	if d.Loop != nil {
		text += fmt.Sprintf(", looping %s to %s", tapeTime(d.Loop.From), tapeTime(d.Loop.To))
	}
	if len(d.Topics) > 0 {
		text += ", only " + strings.Join(d.Topics, ", ")
	}
	return text + ", " + count(uint64(d.Readers), "reader")
}

// deckPlace is where a deck is.
func deckPlace(d *control.DeckState) string {
	text := thousands(d.Records) + " of " + count(d.TotalRecords, "record")
	if d.PositionTime != 0 {
		text = tapeTime(d.PositionTime) + deckShare(d) + ", " + text
	}
	return text
}

// deckShare is how far through the tape's time a deck is, " (34 %)"; "" where that
// cannot be said.
func deckShare(d *control.DeckState) string {
	if span := d.LastTime - d.FirstTime; span > 0 && d.PositionTime >= d.FirstTime && d.PositionTime <= d.LastTime {
		return fmt.Sprintf(" (%.0f %%)", 100*float64(d.PositionTime-d.FirstTime)/float64(span))
	}
	return ""
}

// tapeTime is a time on a tape, as people read it, in milliseconds.
func tapeTime(ns int64) string {
	if ns == 0 {
		return "-"
	}
	return wire.Nanos(ns).Time().UTC().Format("2006-01-02 15:04:05.000")
}

// took says how long a command took.
func took(us int64) string {
	if us <= 0 {
		return ""
	}
	return fmt.Sprintf(" (took %v)", round(us*int64(time.Microsecond)))
}

// deckText is all of a deck, for people.
func deckText(d *control.DeckState) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	mode := "lossless"
	switch {
	case len(d.Barrier) > 0:
		mode = "in lock-step"
	case !d.Lossless:
		mode = "live"
	}
	row("deck", "%s: %s at %s, %s", d.Deck, d.Phase, d.Speed, mode)
	if d.Error != "" {
		row("error", "%s", d.Error)
	}
	row("tapes", "%s, by the %s clock", strings.Join(d.Tapes, ", "), d.Clock)
	if d.FirstTime != 0 {
		row("from", "%s to %s", tapeTime(d.FirstTime), tapeTime(d.LastTime))
	}
	row("at", "%s", deckPlace(d))
	row("", "ordinal %s, pass %d, epoch %d", thousands(d.Ordinal), d.Pass+1, d.Epoch)
	if d.Loop != nil {
		row("loop", "%s to %s", tapeTime(d.Loop.From), tapeTime(d.Loop.To))
	}
	if len(d.Topics) > 0 {
		row("topics", "%s", strings.Join(d.Topics, ", "))
	}
	if d.Squeeze > 0 {
		row("squeeze", "gaps above %v; %v left out so far", time.Duration(d.Squeeze), round(d.Squeezed))
	}
	if len(d.Barrier) > 0 {
		row("barrier", "%s", strings.Join(d.Barrier, ", "))
	}
	if d.Faults != "" {
		row("faults", "%s", d.Faults)
	}
	if p := d.Pacing; p != nil {
		row("pacing error", "p50 %v, p99 %v, max %v", round(p.P50), round(p.P99), round(p.Max))
	}
	row("readers", "%d, at %s", d.Readers, strings.Join(d.Shards, ","))
	if d.Resync != "" {
		row("resync", "%s", d.Resync)
	}
	if p := d.Pair; p != nil {
		row("pair", "%s, %s in epoch %d; %s", p.Role, p.State, p.Epoch, standbyText(p))
		if len(p.Other) > 0 {
			row("the other", "%s", strings.Join(p.Other, ","))
		}
	}
	_ = w.Flush()
	return strings.TrimRight(b.String(), "\n")
}

// standbyText says whether the passive one of a pair could go on.
func standbyText(p *control.DeckPair) string {
	switch {
	case p.Error != "":
		return "nobody could take over: " + p.Error
	case !p.Ready:
		return "nobody could take over yet"
	case p.State == "active":
		return "the other one is ready to take over"
	}
	return "ready to take over"
}

// deckTable is several decks, one a line.
func deckTable(decks []control.DeckState) string {
	return table("DECK\tPHASE\tSPEED\tPOSITION\tRECORDS\tREADERS", len(decks), func(i int) string {
		d := &decks[i]
		return fmt.Sprintf("%s\t%s\t%s\t%s%s\t%s of %s\t%d", d.Deck, d.Phase, d.Speed, tapeTime(d.PositionTime), deckShare(d),
			thousands(d.Records), thousands(d.TotalRecords), d.Readers)
	})
}
