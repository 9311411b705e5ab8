// Package pcaptest is what the tests of packet formats share: captures made by
// hand, whole captures read into memory, and what must hold for any capture.
package pcaptest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// Content returns the unpacked content of a file.
func Content(t testing.TB, path string) []byte {
	t.Helper()
	in, err := feed.OpenInput(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Input is content as feed opens it.
func Input(b []byte) *feed.Input {
	return &feed.Input{Reader: bytes.NewReader(b), Name: "test", Head: b[:min(len(b), feed.HeadSize)]}
}

// Open starts reading content; an error fails the test.
func Open(t testing.TB, f feed.Format, b []byte, opts feed.Options) feed.Source {
	t.Helper()
	src, err := f.Open(t.Context(), Input(b), opts)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// Record is a record of which the bytes are copied.
type Record struct {
	feed.Record
	Topic string
	Body  string
}

// ReadAll reads a source to its end. It returns the bad records and the final
// error beside the records. A record that wire cannot store fails the test.
func ReadAll(t testing.TB, src feed.Source) (recs []Record, bad []error, final error) {
	t.Helper()
	var store []byte
	for {
		r, err := src.Next()
		var b *feed.BadRecord
		switch {
		case errors.As(err, &b):
			bad = append(bad, err)
			continue
		case err != nil:
			return recs, bad, err
		}
		if store, err = wire.AppendRecord(store[:0], &wire.Fields{Topic: r.Topic, Body: r.Body,
			Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}); err != nil {
			t.Fatalf("record %d: %v", len(recs), err)
		}
		recs = append(recs, Record{*r, string(r.Topic), string(r.Body)})
	}
}

// Read reads content to its end; whatever is wrong with it fails the test.
func Read(t testing.TB, f feed.Format, b []byte, opts feed.Options) ([]Record, feed.Source) {
	t.Helper()
	src := Open(t, f, b, opts)
	recs, bad, err := ReadAll(t, src)
	if err != io.EOF || len(bad) > 0 {
		t.Fatalf("final error %v, bad records %v", err, bad)
	}
	return recs, src
}

// Fields decodes a body into a map by name; an error fails the test.
func Fields(t testing.TB, f feed.Format, r *Record) map[string]any {
	t.Helper()
	fields, err := f.Decode(nil, feed.Encoding{Format: f.Name}, r.Kind, []byte(r.Body))
	if err != nil {
		t.Fatalf("%x: %v", r.Body, err)
	}
	m := make(map[string]any, len(fields))
	for _, f := range fields {
		if _, twice := m[f.Name]; twice {
			t.Fatalf("two fields are called %s", f.Name)
		}
		m[f.Name] = f.Value
	}
	return m
}

// Notes returns what a source remarks on its input.
func Notes(src feed.Source) string { return strings.Join(src.(feed.Noter).Notes(), "; ") }

// Datagram is one packet of a capture made by hand.
type Datagram struct {
	Time    wire.Nanos
	Group   [4]byte // the zero value stands for 233.0.0.1
	Port    uint16
	Payload []byte
}

// Capture is a pcap of nanoseconds, of raw IPv4.
func Capture(packets ...Datagram) []byte {
	const magicNanos, linkRaw, ipSize, udpSize = 0xa1b23c4d, 101, 20, 8
	le, be := binary.LittleEndian, binary.BigEndian
	b := le.AppendUint32(nil, magicNanos)
	b = append(b, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
	b = le.AppendUint32(b, linkRaw)
	for _, p := range packets {
		if p.Group == [4]byte{} {
			p.Group = [4]byte{233, 0, 0, 1}
		}
		size := uint32(ipSize + udpSize + len(p.Payload))
		b = le.AppendUint32(b, uint32(p.Time/1e9))
		b = le.AppendUint32(b, uint32(p.Time%1e9))
		b = le.AppendUint32(le.AppendUint32(b, size), size)
		b = be.AppendUint16(append(b, 0x45, 0), uint16(size))
		b = append(b, 0, 0, 0, 0, 1, 17, 0, 0, 10, 0, 0, 1)
		b = append(b, p.Group[:]...)
		b = be.AppendUint16(be.AppendUint16(b, 9), p.Port)
		b = be.AppendUint16(b, uint16(udpSize+len(p.Payload)))
		b = append(append(b, 0, 0), p.Payload...)
	}
	return b
}

// Repeat is a capture with its packets times over, as an input.
func Repeat(content []byte, times int) *feed.Input {
	const fileHead = 24
	head := content[:fileHead]
	if binary.LittleEndian.Uint32(content) == 0x0a0d0d0a {
		head = nil // pcapng: a file may have many sections
	}
	r := &repeated{packets: content[len(head):], rest: head, times: times}
	return &feed.Input{Reader: r, Name: "test", Head: content[:min(len(content), feed.HeadSize)]}
}

type repeated struct {
	packets, rest []byte
	times         int
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		if r.times == 0 {
			return 0, io.EOF
		}
		r.times--
		r.rest = r.packets
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// Benchmark reads content times over, which has records records each time.
func Benchmark(b *testing.B, f feed.Format, content []byte, times, records int, opts feed.Options) {
	b.Helper()
	b.SetBytes(int64(times * len(content)))
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		src, err := f.Open(b.Context(), Repeat(content, times), opts)
		if err != nil {
			b.Fatal(err)
		}
		one := 0
		for {
			if _, err := src.Next(); err == io.EOF {
				break
			} else if err != nil {
				b.Fatal(err)
			}
			one++
		}
		if one != times*records {
			b.Fatalf("%d records, want %d", one, times*records)
		}
		n += one
	}
	b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
}

// NoAllocs reads a repeated capture on and fails the test if that allocates once
// the first round has shown the source all topics.
func NoAllocs(t *testing.T, f feed.Format, content []byte, opts feed.Options) {
	t.Helper()
	const runs = 100
	first, _ := Read(t, f, content, opts)
	src, err := f.Open(t.Context(), Repeat(content, 4), opts)
	if err != nil {
		t.Fatal(err)
	}
	next := func() {
		if _, err := src.Next(); err != nil {
			t.Fatal(err)
		}
	}
	for range first {
		next()
	}
	if n := testing.AllocsPerRun(runs, func() {
		for range 2 * len(first) / (runs + 1) {
			next()
		}
	}); n != 0 {
		t.Errorf("%v allocations in %d records", n, 2*len(first)/(runs+1))
	}
}

// Hold holds what must hold for any input: nothing panics, each record is one that
// wire can store, each body decodes or is refused with errBody, the source ends.
func Hold(t *testing.T, f feed.Format, in []byte, opts feed.Options, errBody error) {
	t.Helper()
	f.Detect(in)
	src, err := f.Open(t.Context(), Input(in), opts)
	if err != nil {
		return
	}
	recs, bad, _ := ReadAll(t, src)
	if len(recs)+len(bad) > len(in) {
		t.Fatalf("%d records and %d errors of %d bytes", len(recs), len(bad), len(in))
	}
	for _, r := range recs {
		if _, err := f.Decode(nil, src.Encoding(), r.Kind, []byte(r.Body)); err != nil && !errors.Is(err, errBody) {
			t.Fatal(err)
		}
	}
	Notes(src)
}

// HoldBody holds that any bytes decode or are refused with errBody.
func HoldBody(t *testing.T, f feed.Format, body []byte, errBody error) {
	t.Helper()
	fields, err := f.Decode(nil, feed.Encoding{Format: f.Name}, 0, body)
	if err != nil && (!errors.Is(err, errBody) || len(fields) != 0) {
		t.Fatalf("%d fields, error %v", len(fields), err)
	}
}

// Damage reads content cut off at many places and with single bytes changed, and
// holds it to what Hold says.
func Damage(t *testing.T, f feed.Format, content []byte, errBody error) {
	t.Helper()
	content = content[:min(len(content), 16<<10)]
	for n := range len(content) {
		if n%7 == 0 {
			Hold(t, f, content[:n], feed.Options{}, errBody)
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := bytes.Clone(content)
		for range 1 + rng.IntN(3) {
			b[24+rng.IntN(len(b)-24)] = byte(rng.Uint32())
		}
		Hold(t, f, b, feed.Options{AB: "merge"}, errBody)
	}
}

// Cut is Damage for messages: it takes a body apart that is cut off at every
// place.
func Cut(t *testing.T, f feed.Format, body string, errBody error) {
	t.Helper()
	for n := range len(body) {
		if _, err := f.Decode(nil, feed.Encoding{}, 0, []byte(body[:n])); !errors.Is(err, errBody) {
			t.Errorf("%d of %d bytes: error %v", n, len(body), err)
		}
	}
}
