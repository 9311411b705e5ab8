package itch

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/feed/pcap/pcaptest"
	"github.com/tapedeck/tapedeck/wire"
)

// TestMoldMerge holds that two lines give each message once, what is noted of
// gaps, heartbeats and ends, and that sessions have locate codes of their own.
func TestMoldMerge(t *testing.T) {
	const other = "000010059D"
	a, b, c := of('A', 1, 5, "AAPL"), of('D', 1, 6, ""), of('E', 1, 7, "")
	var f pcaptest.File
	f.UDP(day, lineA, moldPacket(session, 1, a))
	f.UDP(day, lineB, moldPacket(session, 1, a, b))
	f.UDP(day, lineB, moldPacket(other, 1, of('D', 1, 6, "")))
	f.UDP(day, lineA, moldPacket(session, 4, c))
	f.UDP(day, lineA, moldControl(session, 9, 0))
	f.UDP(day, lineA, moldControl(session, 9, endOfSession))
	src := mustOpen(t, f.Bytes(), "x.pcap", feed.Options{AB: "merge"})
	recs, bad, err := pcaptest.ReadAll(t, src)
	if err != io.EOF || len(bad) > 0 {
		t.Fatal(bad, err)
	}
	want := []string{"XNAS.AAPL:order", "XNAS.AAPL:order", "XNAS.#1:order", "XNAS.AAPL:order"}
	if d := cmp.Diff(want, list(recs)); d != "" {
		t.Error(d)
	}
	wantNotes := []string{"sequence numbers of messages: 5 missing in 2 gaps, 1 repeated",
		"session 000010059B: 3 to 3 missing", "session 000010059B: 5 to 8 missing",
		"heartbeats: 1", "ends of session: 1"}
	if notes := src.(feed.Noter).Notes(); !slices.Equal(notes, wantNotes) {
		t.Errorf("notes %q", notes)
	}
	if enc := src.Encoding(); enc.Format != Name || enc.Detail[keyVenue] != "XNAS" || enc.Detail[keyFraming] != framingMold {
		t.Errorf("encoding %v", enc)
	}
}

// TestMoldDays holds that a message is of the day that is nearest to its capture,
// in New York, whatever the clocks there do.
func TestMoldDays(t *testing.T) {
	newYork, err := time.LoadLocation(defaultZone)
	if err != nil {
		t.Fatal(err)
	}
	at := func(y int, m time.Month, d int, since time.Duration) int64 {
		return time.Date(y, m, d, 0, 0, 0, 0, newYork).Add(since).UnixNano()
	}
	const second = time.Second
	for _, tt := range []struct {
		name     string
		captured int64
		since    time.Duration
		opts     feed.Options
		want     int64
	}{
		{"winter", at(2024, 1, 5, 10*time.Hour), 10*time.Hour - second, feed.Options{}, at(2024, 1, 5, 10*time.Hour-second)},
		{"summer", at(2024, 7, 5, 10*time.Hour), 10*time.Hour - second, feed.Options{}, at(2024, 7, 5, 10*time.Hour-second)},
		{"captured after midnight", at(2024, 7, 6, second), 24*time.Hour - second, feed.Options{}, at(2024, 7, 5, 24*time.Hour-second)},
		{"captured before midnight", at(2024, 7, 5, 24*time.Hour-second), second, feed.Options{}, at(2024, 7, 6, second)},
		{"after midnight in UTC", at(2024, 7, 5, 21*time.Hour), 21 * time.Hour, feed.Options{}, at(2024, 7, 5, 21*time.Hour)},
		{"clocks forward", at(2024, 3, 10, 9*time.Hour), 9 * time.Hour, feed.Options{}, at(2024, 3, 10, 9*time.Hour)},
		{"clocks back", at(2024, 11, 3, 24*time.Hour+1800*second), 24*time.Hour + 1800*second, feed.Options{}, at(2024, 11, 3, 24*time.Hour+1800*second)},
		{"date given", at(2024, 7, 5, 0), 3 * time.Hour, feed.Options{Date: "2020-01-30"}, at(2020, 1, 30, 3*time.Hour)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f pcaptest.File
			f.UDP(tt.captured, lineA, moldPacket(session, 1, of('S', 0, uint64(tt.since), "")))
			recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, f.Bytes(), "x.pcap", tt.opts))
			if err != io.EOF || len(bad) > 0 || len(recs) != 1 {
				t.Fatal(recs, bad, err)
			}
			if r := recs[0]; int64(r.Event) != tt.want || int64(r.Receive) != tt.captured || r.Flags != 0 {
				t.Errorf("event %v, receive %v, want %v", r.Event, r.Receive, wire.Nanos(tt.want))
			}
		})
	}
}

// TestBadMold holds what is said of packets that are not sound.
func TestBadMold(t *testing.T) {
	a := of('A', 1, 5, "AAPL")
	good := moldPacket(session, 1, a)
	edit := func(off int, v byte) []byte {
		b := moldPacket(session, 2, a, a)
		b[off] = v
		return b
	}
	for _, tt := range []struct {
		name   string
		packet []byte
		before int
		want   error
	}{
		{"head cut", good[:19], 0, pcap.ErrForeign},
		{"session", edit(3, 0), 0, pcap.ErrForeign},
		{"count too high", edit(countOff+1, 3), 2, ErrBlocks},
		{"count too low", edit(countOff+1, 1), 1, ErrBlocks},
		{"message too long", edit(moldSize+38+1, 99), 1, ErrBlocks},
		{"message too short", edit(moldSize+38+1, 20), 1, ErrLength},
		{"message empty", edit(moldSize+1, 0), 0, ErrLength},
		{"time", edit(moldSize+prefixSize+timeOff, 0xff), 0, ErrTime},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var f pcaptest.File
			for _, p := range [][]byte{good, tt.packet, good} {
				f.UDP(day, lineA, p)
			}
			recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, f.Bytes(), "x.pcap", feed.Options{}))
			if err != io.EOF || len(recs) != 2+tt.before || len(bad) != 1 || !errors.Is(bad[0], tt.want) {
				t.Errorf("%d records, bad %v, %v, want %d and %v", len(recs), bad, err, 2+tt.before, tt.want)
			}
		})
	}
}

// TestManySessions holds that sessions beyond the limit are still read.
func TestManySessions(t *testing.T) {
	var f pcaptest.File
	for i := range 3 * sessionsMax {
		name := "000000000" + string(rune('0'+i%10))
		name = name[:8] + string(rune('A'+i/10%26)) + name[9:]
		f.UDP(day, lineA, moldPacket(name, 1, of('A', 1, 5, "AAPL")))
	}
	recs, bad, err := pcaptest.ReadAll(t, mustOpen(t, f.Bytes(), "x.pcap", feed.Options{}))
	if len(recs) != 3*sessionsMax || len(bad) > 0 || err != io.EOF {
		t.Errorf("%d records, %v, %v", len(recs), bad, err)
	}
}
