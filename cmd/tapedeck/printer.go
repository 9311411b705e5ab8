package main

import (
	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/wire"
)

// recordPrinter prints records as text or JSON lines, with their bodies decoded
// where an encoding fits them. It belongs to one goroutine; the output is
// flushed by its owner.
type recordPrinter struct {
	out     *output
	decoder *render.Decoder
	line    []byte
}

func newRecordPrinter(out *output, encodings []wire.Encoding) *recordPrinter {
	return &recordPrinter{out: out, decoder: render.NewDecoder(encodings)}
}

// print prints one record.
func (p *recordPrinter) print(r wire.Record) error { return p.printAfter(0, r) }

// printAfter prints one record, before which so many of its topic were skipped.
func (p *recordPrinter) printAfter(skipped uint64, r wire.Record) error {
	fields, known := p.decoder.Decode(r)
	if p.out.json {
		p.line = render.AppendJSON(p.line[:0], r, fields, known)
	} else {
		p.line = render.AppendText(p.line[:0], r, fields, known)
	}
	if skipped > 0 {
		p.line = appendSkipped(p.line, p.out.json, skipped)
	}
	p.line = append(p.line, '\n')
	p.out.mu.Lock()
	defer p.out.mu.Unlock()
	_, err := p.out.w.Write(p.line)
	return err
}
