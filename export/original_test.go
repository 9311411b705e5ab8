package export

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// Small files come back byte for byte.
func TestOriginal(t *testing.T) {
	const row = "2024-08-08T09:30:00Z,X,1"
	lines := feed.Options{Format: "lines", Topic: "T"}
	table := feed.Options{Columns: "time=#1:iso,topic=#2", Header: "yes"}
	bare := feed.Options{Columns: "time=#1:iso,topic=#2", Header: "no"}
	stamped := feed.Options{Format: "jsonl", Columns: "receive=#1:us,topic=s"}
	timed := feed.Options{Format: "jsonl", Columns: "time=#1:s,topic=s"}
	for _, c := range []struct {
		name, content string
		opts          feed.Options
	}{
		{"csv.csv", "time,sym,n\n" + row + "\n" + row + "\n", table},
		{"no last line end", "time,sym,n\n" + row + "\n" + row, table},
		{"crlf", "time,sym,n\r\n" + row + "\r\n" + row + "\r\n", table},
		{"crlf without the last", "time,sym,n\r\n" + row + "\r\n" + row, table},
		{"cr at the end", "time,sym,n\n" + row + "\r", table},
		{"bom", "\xef\xbb\xbftime,sym,n\n" + row + "\n", table},
		{"no header", row + "\n" + row + "\n", bare},
		{"quotes", "\"ti\"\"me\",sym,n\n" + `2024-08-08T09:30:00Z,"X",` + "\"a\nb\"\n", table},
		{"semicolons", strings.ReplaceAll("time,sym,n\n"+row+"\n", ",", ";"), table},
		{"header not utf-8", "time,s\xffym,n\n" + row + "\n" + row + "\n", table},
		{"lines", "a\n\nb\n", lines},
		{"lines, crlf", "a\r\n\r\nb", lines},
		{"lines, one empty", "\n", lines},
		{"u32be", "\x00\x00\x00\x03abc\x00\x00\x00\x00", feed.Options{Format: "length-prefixed", Topic: "T"}},
		{"u32le", "\x03\x00\x00\x00abc", feed.Options{Format: "length-prefixed", Topic: "T", Preset: "u32le"}},
		{"u16be", "\x00\x03abc", feed.Options{Format: "length-prefixed", Topic: "T", Preset: "u16be"}},
		{"u16le", "\x03\x00abc", feed.Options{Format: "length-prefixed", Topic: "T", Preset: "u16le"}},
		{"json", `{"time":1700000000,"symbol":"x"}` + "\n" + `{"symbol":"y","time":1700000001}`, feed.Options{Format: "jsonl"}},
		{"json behind us", "1700000000000001 {\"s\":\"x\"}\n1700000000000002 {\"s\":\"y\"}\n", stamped},
		{"json behind a tab", "1700000000000001\t{\"s\":\"x\"}\r\n1700000000000002\t{\"s\":\"y\"}\r\n", stamped},
		{"json behind s", "\xef\xbb\xbf1700000000 {\"s\":\"x\"}\n1700000001 {\"s\":\"y\"}\n", timed},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := importBytes(t, "in.txt", []byte(c.content), c.opts)
			got, rep := write(t, "original", m.config())
			if diff := cmp.Diff(c.content, string(got)); diff != "" {
				t.Error(diff)
			}
			if len(rep.Notes) > 0 || rep.Records != uint64(m.count) {
				t.Errorf("report %+v; there are %d records", rep, m.count)
			}
		})
	}
}

// What cannot come back is told.
func TestOriginalNotes(t *testing.T) {
	table := feed.Options{Columns: "time=#1:iso,topic=#2", Header: "no"}
	stamped := feed.Options{Format: "jsonl", Columns: "receive=#1:s,topic=s"}
	const row = "2024-08-08T09:30:00Z,X"
	for _, c := range []struct {
		name, content, want string
		opts                feed.Options
		notes               int
	}{
		{"mixed line ends", row + "\r\n" + row + "\n", row + "\n" + row + "\n", table, 1},
		{"blank lines", row + "\n\n" + row + "\n", row + "\n" + row + "\n", table, 1},
		{"odd times", "01 {\"s\":1}\n1.25\t{\"s\":1}\n", "1 {\"s\":1}\n1.25 {\"s\":1}\n", stamped, 1},
	} {
		m := importBytes(t, "in.txt", []byte(c.content), c.opts)
		got, rep := write(t, "original", m.config())
		if string(got) != c.want || len(rep.Notes) != c.notes {
			t.Errorf("%s: %q, notes %q; want %q", c.name, got, rep.Notes, c.want)
		}
	}
}

func TestAppendCount(t *testing.T) {
	for _, c := range []struct {
		at     wire.Nanos
		digits int
		want   string
	}{
		{0, 9, "0"}, {1_500_000_000, 9, "1.5"}, {1, 9, "0.000000001"}, {-1, 9, "-0.000000001"},
		{-1_500_000_000, 9, "-1.5"}, {1_234_567, 3, "1234.567"}, {math.MaxInt64, 0, "9223372036854775807"},
		{math.MinInt64, 9, "-9223372036.854775808"},
	} {
		if got := string(appendCount(nil, c.at, c.digits)); got != c.want {
			t.Errorf("%d by %d digits: %s, want %s", c.at, c.digits, got, c.want)
		}
	}
}

// dbnFile is a DBN file of version v with n records of an unknown type, each of 24
// bytes.
func dbnFile(v byte, n int) []byte {
	const fixed = 100 // metadata without lists
	le := binary.LittleEndian
	b := append([]byte("DBN"), v)
	b = le.AppendUint32(b, fixed+5*4)
	head := make([]byte, fixed+5*4)
	copy(head, "GLBX.MDP3")
	le.PutUint64(head[18:], 1_700_000_000_000_000_000) // start
	le.PutUint64(head[26:], math.MaxUint64)            // end
	le.PutUint64(head[dbnCountOff-8:], uint64(n))      // record count of version 1
	stypes := 42                                       // behind the limit
	if v == 1 {
		stypes += 8
	}
	head[stypes], head[stypes+1] = 0, 1
	if v > 1 {
		le.PutUint16(head[stypes+3:], 71) // symbol length
	}
	b = append(b, head...)
	for i := range n {
		rec := make([]byte, 24)
		rec[0], rec[1] = 6, 0x77
		le.PutUint32(rec[4:], 5)
		le.PutUint64(rec[8:], uint64(1_700_000_000_000_000_000+i))
		b = append(b, rec...)
	}
	return b
}

// A whole tape gives the file; of a part only the record count that version 1 has
// is no longer said.
func TestDBNPart(t *testing.T) {
	for v := byte(1); v <= 3; v++ {
		file := dbnFile(v, 5)
		m := importBytes(t, "x.dbn", file, feed.Options{})
		if m.count != 5 {
			t.Fatalf("version %d: %d records", v, m.count)
		}
		cfg := m.config()
		if got, _ := write(t, "dbn", cfg); !bytes.Equal(got, file) {
			t.Errorf("version %d: the file differs", v)
		}
		cfg.Part = true
		cfg.Open = func() Records { return &walk{rest: m.data[:2*len(m.data)/5]} }
		got, rep := write(t, "dbn", cfg)
		want := bytes.Clone(file[:len(file)-3*24])
		if v == 1 {
			copy(want[dbnCountOff:], bytes.Repeat([]byte{0xff}, 8))
		}
		if !bytes.Equal(got, want) || rep.Records != 2 {
			t.Errorf("version %d, part:\n%x\nwant\n%x", v, got, want)
		}
		again := importBytes(t, "again.dbn", got, feed.Options{})
		if !bytes.Equal(again.data, m.data[:2*len(m.data)/5]) {
			t.Errorf("version %d: the part does not come back", v)
		}
	}
}
