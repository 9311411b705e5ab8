package export

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math"
	"strconv"

	"github.com/tapedeck/tapedeck/feed/colmap"
	"github.com/tapedeck/tapedeck/feed/csv"
	"github.com/tapedeck/tapedeck/feed/dbn"
	"github.com/tapedeck/tapedeck/feed/itch"
	"github.com/tapedeck/tapedeck/feed/jsonl"
	"github.com/tapedeck/tapedeck/feed/raw"
	"github.com/tapedeck/tapedeck/wire"
)

// planOriginal writes the file that the records came from.
func planOriginal(c *Config) (job, error) {
	enc, err := c.single("original", dbn.Name, csv.Format.Name, jsonl.Format.Name,
		raw.NameLines, raw.NameLengthPrefixed, itch.Name)
	if err != nil {
		return nil, err
	}
	switch enc.Format {
	case dbn.Name:
		return newDBN(enc, c.Part)
	case csv.Format.Name:
		return newCSV(enc)
	case jsonl.Format.Name:
		return newJSONOriginal(enc)
	case raw.NameLines:
		f := &framed{}
		f.lineEnds(enc.Detail)
		return f, nil
	case itch.Name:
		if enc.Detail["framing"] != "file" {
			return nil, fmt.Errorf("%w: the records came from a capture, not from an ITCH file; write them to pcap", ErrEncoding)
		}
		return newPrefixed("u16be")
	}
	return newPrefixed(enc.Detail["prefix"])
}

// newCSV writes the lines of a CSV file.
func newCSV(enc wire.Encoding) (*framed, error) {
	f := &framed{}
	f.bom(enc.Detail)
	if text, ok := enc.Detail["header"]; ok {
		f.header = []byte(text)
	} else if text, ok := enc.Detail["header_base64"]; ok {
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("export: header_base64 of the CSV encoding: %w", err)
		}
		f.header = b
	}
	f.lineEnds(enc.Detail)
	return f, nil
}

// newPrefixed writes records behind their length, written as raw's presets name.
func newPrefixed(prefix string) (*framed, error) {
	be, le := binary.BigEndian, binary.LittleEndian
	var before func([]byte, int) []byte
	limit := math.MaxUint16
	switch prefix {
	case "u16be":
		before = func(dst []byte, n int) []byte { return be.AppendUint16(dst, uint16(n)) }
	case "u16le":
		before = func(dst []byte, n int) []byte { return le.AppendUint16(dst, uint16(n)) }
	case "u32be":
		limit = math.MaxUint32
		before = func(dst []byte, n int) []byte { return be.AppendUint32(dst, uint32(n)) }
	case "u32le":
		limit = math.MaxUint32
		before = func(dst []byte, n int) []byte { return le.AppendUint32(dst, uint32(n)) }
	default:
		return nil, fmt.Errorf("export: the encoding names an unknown length prefix %q", prefix)
	}
	return &framed{before: func(dst []byte, rec wire.Record) ([]byte, error) {
		n := len(rec.Body())
		if n > limit {
			return dst, errLength
		}
		return before(dst, n), nil
	}}, nil
}

// newJSONOriginal writes JSON lines with the times that stood before them.
func newJSONOriginal(enc wire.Encoding) (*framed, error) {
	f := &framed{}
	f.bom(enc.Detail)
	f.lineEnds(enc.Detail)
	prefix := enc.Detail["prefix"]
	switch prefix {
	case "", "none":
		return f, nil
	case "lost":
		f.notes = append(f.notes, "the times before the JSON are not on the tape and are left out")
		return f, nil
	case "time", "receive":
	default:
		return nil, fmt.Errorf("export: the encoding names an unknown prefix %q", prefix)
	}
	if n := enc.Detail["prefix_odd"]; n != "" {
		f.notes = append(f.notes, "times before the JSON that were written in another way are made alike: "+n)
	}
	digits, err := unitDigits(enc.Detail["prefix_unit"])
	if err != nil {
		return nil, err
	}
	separator := enc.Detail["separator"]
	f.before = func(dst []byte, rec wire.Record) ([]byte, error) {
		at := rec.Receive()
		if prefix == "time" {
			at = rec.Event()
		}
		return append(appendCount(dst, at, digits), separator...), nil
	}
	return f, nil
}

// unitDigits returns how many decimal digits a unit of counts is shifted from
// nanoseconds.
func unitDigits(unit string) (int, error) {
	u, ok := colmap.ParseUnit(unit)
	if ok {
		switch u {
		case colmap.S:
			return 9, nil
		case colmap.Ms:
			return 6, nil
		case colmap.Us:
			return 3, nil
		case colmap.Ns:
			return 0, nil
		}
	}
	return 0, fmt.Errorf("export: the encoding names no unit of times that can be written: %q", unit)
}

// appendCount appends a time as a count of a unit, with a fraction where it is no
// whole number of them.
func appendCount(dst []byte, at wire.Nanos, digits int) []byte {
	per := wire.Nanos(1)
	for range digits {
		per *= 10
	}
	whole, rest := at/per, at%per
	if rest < 0 {
		rest = -rest
		if whole == 0 {
			dst = append(dst, '-')
		}
	}
	dst = strconv.AppendInt(dst, int64(whole), 10)
	if rest == 0 {
		return dst
	}
	dst = append(dst, '.')
	for ; rest > 0; rest = rest * 10 % per {
		dst = append(dst, byte('0'+rest*10/per))
	}
	return dst
}
