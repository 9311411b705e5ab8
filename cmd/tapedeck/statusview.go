package main

import (
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/control"
)

// statusText is a status for people: at most so many columns wide and lines high,
// where those are not 0.
func statusText(s *control.Status, readers []control.ReaderState, width, height int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "tapedeck %s on %s, up %v, bus %s\n", s.Version, s.Host, time.Duration(s.Uptime).Round(time.Second), strings.Join(s.Bus.Endpoints, ", "))
	fmt.Fprintf(&b, "tapes in %s", s.Tapes)
	if s.Metrics != "" {
		fmt.Fprintf(&b, ", metrics at %s", s.Metrics)
	}
	b.WriteByte('\n')
	section := func(text string) { b.WriteString("\n" + text + "\n") }
	switch {
	case len(s.Decks) > 0:
		section(deckTable(s.Decks))
	case s.Limits.Decks > 0:
		section("no deck is open: tapedeck deck play TAPE opens one")
	}
	if len(readers) > 0 {
		section(readerTable(readers))
	}
	if len(s.Recorders) > 0 {
		section(recorderTable(s.Recorders))
	}
	if len(s.LVC) > 0 {
		section(lvcTable(s.LVC))
	}
	for i := range s.Pairs {
		section(pairLine(&s.Pairs[i]))
	}
	if j := s.Jobs; j != (control.JobCounts{}) {
		section(jobCounts(j))
	}
	if waiting := servicesText(s.Bus.Services); waiting != "" {
		section(waiting)
	}
	return fit(strings.TrimRight(b.String(), "\n"), width, height)
}

// pairLine is one half of a pair.
func pairLine(p *control.PairState) string {
	heard := "heard"
	if p.Silent {
		heard = "silent"
	}
	return fmt.Sprintf("pair: %s %s is %s in epoch %d; the other one: %s, %s", p.Part, p.Role, p.State, p.Epoch, p.Peer, heard)
}

func jobCounts(j control.JobCounts) string {
	var parts []string
	for _, x := range []struct {
		n    int
		what string
	}{{j.Running, "running"}, {j.Stored, "stored"}, {j.Failed, "failed"}, {j.Done, "done"}, {j.Cancelled, "cancelled"}, {j.Expired, "expired"}} {
		if x.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", x.n, x.what))
		}
	}
	return "jobs: " + strings.Join(parts, ", ")
}

// servicesText names what is not as usual: services without workers, and those
// where requests wait.
func servicesText(services []control.ServiceState) string {
	var parts []string
	for _, x := range services {
		switch {
		case x.Workers == 0:
			parts = append(parts, x.Service+" has no worker")
		case x.Waiting > 0:
			parts = append(parts, fmt.Sprintf("%s has %d waiting", x.Service, x.Waiting))
		}
	}
	if parts == nil {
		return ""
	}
	return "services: " + strings.Join(parts, ", ")
}

func lvcTable(list []control.LVCState) string {
	return table("LAST VALUES\tTOPICS\tRECORDS\tREADERS\tAT", len(list), func(i int) string {
		x := &list[i]
		state := ""
		if x.Partial {
			state = " (partial)"
		}
		return fmt.Sprintf("%s\t%s%s\t%s\t%d\t%s", x.Name, thousands(uint64(x.Topics)), state, thousands(x.Records), x.Readers, strings.Join(x.Plain, ", "))
	})
}

// table lines up rows, whose cells are separated by tabs, below a head.
func table(head string, rows int, row func(i int) string) string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, head)
	for i := range rows {
		fmt.Fprintln(w, row(i))
	}
	_ = w.Flush()
	return strings.TrimRight(b.String(), "\n")
}

// fit cuts text to a terminal.
func fit(text string, width, height int) string {
	lines := strings.Split(text, "\n")
	if height > 0 && len(lines) > height {
		more := len(lines) - height + 1
		lines = append(lines[:max(height-1, 0)], fmt.Sprintf("... and %s", count(uint64(more), "line")))
	}
	for i, line := range lines {
		line = strings.TrimRight(line, " ")
		if width > 0 && utf8.RuneCountInString(line) > width {
			line = string([]rune(line)[:width-1]) + "…"
		}
		lines[i] = line
	}
	return strings.Join(lines, "\n")
}
