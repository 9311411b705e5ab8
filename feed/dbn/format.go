package dbn

import (
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
)

// Name is the name of the format.
const Name = "dbn"

// Format is the Databento Binary Encoding, for the table of formats.
var Format = feed.Format{
	Name:   Name,
	Title:  "Databento DBN, versions 1 to 3, files and fragments",
	Detect: detect,
	Open:   open,
	Decode: decode,
}

// How sure detect is. A fragment has no signature: the more record heads in a row
// make sense, the surer.
const (
	sureMagic = 100
	sureOne   = 50
	sureTwo   = 70
	sureMany  = 85

	headsMany = 4
	headsMax  = 64
)

// detect says how sure it is that an input is DBN by its first bytes. A file head
// of an unknown version counts, so that opening it can name the version.
func detect(head []byte) int {
	if hasMagic(head) {
		return sureMagic
	}
	heads := 0
	for heads < headsMax && len(head) >= headSize {
		if !plausible(head) {
			return 0
		}
		heads++
		head = head[min(int(head[lengthOff])*wordSize, len(head)):]
	}
	switch {
	case heads == 0:
		return 0
	case heads == 1:
		return sureOne
	case heads < headsMany:
		return sureTwo
	}
	return sureMany
}

// checkOptions refuses options that say how to read what DBN states itself.
func checkOptions(o feed.Options) error {
	header := o.Header
	if header == "auto" {
		header = ""
	}
	for _, opt := range [...]struct{ name, value string }{
		{"preset", o.Preset}, {"columns", o.Columns}, {"date", o.Date}, {"zone", o.Zone},
		{"time unit", o.TimeUnit}, {"header", header},
	} {
		if opt.value != "" {
			return fmt.Errorf("%w: %s %q: DBN records state it themselves", ErrOption, opt.name, opt.value)
		}
	}
	if o.Dataset != "" && !usable([]byte(o.Dataset)) {
		return fmt.Errorf("%w: dataset %q is not printable text of 1 to %d bytes", ErrOption, o.Dataset, topicSizeMax)
	}
	return nil
}
