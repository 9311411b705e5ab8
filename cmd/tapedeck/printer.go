package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/formats"
	"github.com/tapedeck/tapedeck/wire"
)

// recordPrinter prints records as text or JSON lines, with their bodies decoded
// where an encoding fits them. It belongs to one goroutine; the output is
// flushed by its owner.
type recordPrinter struct {
	out      *output
	decoders []decoder
	fields   []feed.Field
	line     []byte
}

// decoder is a body format with what the tape or session said about it.
type decoder struct {
	format *feed.Format
	enc    wire.Encoding
}

func newRecordPrinter(out *output, encodings []wire.Encoding) *recordPrinter {
	p := &recordPrinter{out: out}
	for _, enc := range encodings {
		if f := formats.Find(enc.Format); f != nil && f.Decode != nil {
			p.decoders = append(p.decoders, decoder{f, enc})
		}
	}
	return p
}

// print prints one record.
func (p *recordPrinter) print(r wire.Record) error {
	p.line = p.line[:0]
	fields, known := p.decode(r)
	if p.out.json {
		p.line = appendRecordJSON(p.line, r, fields, known)
	} else {
		p.line = appendRecordText(p.line, r, fields, known)
	}
	p.line = append(p.line, '\n')
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	_, err := p.out.w.Write(p.line)
	return err
}

// decode takes the body apart with the first encoding that fits it.
func (p *recordPrinter) decode(r wire.Record) ([]feed.Field, bool) {
	for i := range p.decoders {
		d := &p.decoders[i]
		fields, err := d.format.Decode(p.fields[:0], d.enc, r.Kind(), r.Body())
		if err == nil {
			p.fields = fields
			return fields, true
		}
	}
	return nil, false
}

// flagNames lists the flags of a record by name.
func appendFlagNames(dst []byte, flags wire.RecordFlags, quote string) []byte {
	sep := ""
	for _, f := range [...]struct {
		flag wire.RecordFlags
		name string
	}{
		{wire.FlagNoEventTime, "no_event_time"},
		{wire.FlagNoReceiveTime, "no_receive_time"},
		{wire.FlagSnapshot, "snapshot"},
	} {
		if flags&f.flag != 0 {
			dst = append(append(append(append(dst, sep...), quote...), f.name...), quote...)
			sep = ","
		}
	}
	return dst
}

const timeLayout = "2006-01-02T15:04:05.000000000Z"

func appendRecordText(dst []byte, r wire.Record, fields []feed.Field, known bool) []byte {
	dst = r.Receive().Time().AppendFormat(dst, timeLayout)
	dst = append(dst, ' ')
	dst = append(dst, r.Topic()...)
	dst = append(dst, " #"...)
	dst = strconv.AppendUint(dst, uint64(r.TopicSeq()), 10)
	dst = append(dst, ' ')
	dst = append(dst, r.Kind().String()...)
	if r.Event() != r.Receive() {
		dst = append(dst, " event="...)
		dst = r.Event().Time().AppendFormat(dst, timeLayout)
	}
	if r.Flags()&^wire.FlagWide != 0 {
		dst = append(dst, " flags="...)
		dst = appendFlagNames(dst, r.Flags(), "")
	}
	if !known {
		dst = append(dst, " body="...)
		return strconv.AppendQuote(dst, string(r.Body()))
	}
	for _, f := range fields {
		dst = append(dst, ' ')
		dst = append(dst, f.Name...)
		dst = append(dst, '=')
		dst = appendValue(dst, f.Value, false)
	}
	return dst
}

func appendRecordJSON(dst []byte, r wire.Record, fields []feed.Field, known bool) []byte {
	dst = append(dst, `{"message_type":"record","topic":`...)
	dst = appendJSONString(dst, string(r.Topic()))
	dst = append(dst, `,"topic_seq":`...)
	dst = strconv.AppendUint(dst, uint64(r.TopicSeq()), 10)
	dst = append(dst, `,"kind":"`...)
	dst = append(dst, r.Kind().String()...)
	dst = append(dst, `","event_time":`...)
	dst = strconv.AppendInt(dst, int64(r.Event()), 10)
	dst = append(dst, `,"receive_time":`...)
	dst = strconv.AppendInt(dst, int64(r.Receive()), 10)
	dst = append(dst, `,"flags":[`...)
	dst = appendFlagNames(dst, r.Flags(), `"`)
	if !known {
		dst = append(dst, `],"body_base64":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, r.Body())
		return append(dst, `"}`...)
	}
	dst = append(dst, `],"body":{`...)
	for i, f := range fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, f.Name)
		dst = append(dst, ':')
		dst = appendValue(dst, f.Value, true)
	}
	return append(dst, `}}`...)
}

// appendValue appends a field's value, as JSON or for people.
func appendValue(dst []byte, v any, asJSON bool) []byte {
	switch v := v.(type) {
	case nil:
		if asJSON {
			return append(dst, "null"...)
		}
		return append(dst, '-')
	case bool:
		return strconv.AppendBool(dst, v)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case uint64:
		return strconv.AppendUint(dst, v, 10)
	case json.RawMessage:
		return append(dst, v...)
	case string:
		if asJSON {
			return appendJSONString(dst, v)
		}
		return append(dst, v...)
	}
	// float64 and whatever a format adds: the standard forms.
	if asJSON {
		b, err := json.Marshal(v)
		if err != nil { // NaN and infinities have no JSON number
			return appendJSONString(dst, fmt.Sprint(v))
		}
		return append(dst, b...)
	}
	return fmt.Append(dst, v)
}

// appendJSONString appends s as a JSON string.
func appendJSONString(dst []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			b, _ := json.Marshal(s) // a string always marshals
			return append(dst, b...)
		}
	}
	dst = append(dst, '"')
	dst = append(dst, s...)
	return append(dst, '"')
}
