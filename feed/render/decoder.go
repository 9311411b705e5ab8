package render

import (
	"slices"
	"strings"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/formats"
	"github.com/tapedeck/tapedeck/wire"
)

// Decoder takes bodies apart. It belongs to one goroutine.
type Decoder struct {
	encodings []encoding // those for the longest topic prefixes first
	fields    []feed.Field
}

// encoding is a body format with what the tape or session said about it.
type encoding struct {
	format *feed.Format
	enc    wire.Encoding
}

// NewDecoder returns a Decoder for bodies in any of the encodings. One whose
// format is not known, or has no fields, is passed over. For a topic the
// encodings with the longest prefix are tried first, then in the order given.
func NewDecoder(encodings []wire.Encoding) *Decoder {
	d := &Decoder{}
	for _, enc := range encodings {
		if f := formats.Find(enc.Format); f != nil && f.Decode != nil {
			d.encodings = append(d.encodings, encoding{f, enc})
		}
	}
	slices.SortStableFunc(d.encodings, func(a, b encoding) int { return len(b.enc.Topics) - len(a.enc.Topics) })
	return d
}

// Decode takes the body of r apart with the first encoding that fits, of those for
// the longest prefix that its topic begins with. It reports false where none does.
// The fields are borrowed, also from r, until the next call.
func (d *Decoder) Decode(r wire.Record) ([]feed.Field, bool) {
	longest := -1
	for i := range d.encodings {
		e := &d.encodings[i]
		if len(e.enc.Topics) < longest {
			break
		}
		if e.enc.Topics != "" && !strings.HasPrefix(string(r.Topic()), e.enc.Topics) {
			continue
		}
		longest = len(e.enc.Topics)
		fields, err := e.format.Decode(d.fields[:0], e.enc, r.Kind(), r.Body())
		if err == nil {
			d.fields = fields
			return fields, true
		}
	}
	return nil, false
}
