package splice

import (
	"maps"
	"slices"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Description is what several tapes say of their records, put together as a merge
// of them has it.
type Description struct {
	Records   uint64
	Shards    int             // the most that one of the tapes has
	Sources   []string        // of all tapes, each once
	Encodings []wire.Encoding // each topic's as on its own tape, told apart by prefixes
	Ambiguous int             // topics whose bodies more than one encoding may fit
	Shared    []string        // topics that several tapes have, in bytewise order
}

// Describe puts together what tapes say of themselves. Of closed tapes it reads
// manifests and lists of topics only.
func Describe(tapes []*tape.Tape) (Description, error) {
	var (
		d    Description
		enc  encodings
		seen = map[string]int{} // tapes that have the topic
	)
	for _, t := range tapes {
		info, err := t.Info()
		if err != nil {
			return d, err
		}
		topics, err := t.Topics()
		if err != nil {
			return d, err
		}
		for i := range topics {
			seen[topics[i].Topic]++
		}
		enc.add(info.Encodings, topics)
		for _, source := range info.Sources {
			if !slices.Contains(d.Sources, source) {
				d.Sources = append(d.Sources, source)
			}
		}
		d.Records, d.Shards = d.Records+info.Totals.Records, max(d.Shards, t.Shards())
	}
	maps.DeleteFunc(seen, func(_ string, n int) bool { return n < 2 })
	d.Shared = slices.Sorted(maps.Keys(seen))
	d.Encodings, d.Ambiguous = enc.list()
	return d, nil
}
