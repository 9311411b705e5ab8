// Package formats is the table of the vendor formats that can be imported. A
// new format is one package under feed and one line here.
package formats

import (
	"context"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/cboe"
	"github.com/tapedeck/tapedeck/feed/cme"
	"github.com/tapedeck/tapedeck/feed/csv"
	"github.com/tapedeck/tapedeck/feed/dbn"
	"github.com/tapedeck/tapedeck/feed/ice"
	"github.com/tapedeck/tapedeck/feed/iex"
	"github.com/tapedeck/tapedeck/feed/itch"
	"github.com/tapedeck/tapedeck/feed/jsonl"
	"github.com/tapedeck/tapedeck/feed/nyse"
	"github.com/tapedeck/tapedeck/feed/parquet"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/feed/raw"
	"github.com/tapedeck/tapedeck/feed/synth"
)

// All lists the formats. It is not to be changed.
var All = []feed.Format{
	dbn.Format,
	csv.Format,
	itch.Format,
	iex.Format,
	cme.Format,
	nyse.Format,
	ice.Format,
	cboe.Format,
	pcap.Format,
	jsonl.Format,
	parquet.Format,
	raw.Lines,
	raw.LengthPrefixed,
}

// Open recognises the format of in, or takes the one that opts names, and
// starts reading. An error of a format names the input. The caller still closes
// in, when it is done with the source.
func Open(ctx context.Context, in *feed.Input, opts feed.Options) (feed.Source, *feed.Format, error) {
	f, err := feed.Detect(All, in, opts.Format)
	if err != nil {
		return nil, nil, err
	}
	src, err := f.Open(ctx, in, opts)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", in.Name, err)
	}
	return src, f, nil
}

// generated is the format of generated records: it can be decoded and is never
// an input.
var generated = feed.Format{Name: synth.Name, Title: "generated records", Decode: synth.Decode}

// Find returns the format that an Encoding or a user names, or nil.
func Find(name string) *feed.Format {
	if name == generated.Name {
		return &generated
	}
	for i := range All {
		if All[i].Name == name {
			return &All[i]
		}
	}
	return nil
}
