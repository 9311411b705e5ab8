package raw

import (
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// Names of the formats.
const (
	NameLines          = "lines"
	NameLengthPrefixed = "length-prefixed"
)

// Lines is the format of one record per line.
var Lines = feed.Format{
	Name:   NameLines,
	Title:  "Lines of any text, one record each; only by name, --topic says the topic",
	Detect: never,
	Open:   openLines,
	Decode: decode,
}

// LengthPrefixed is the format of one record per length prefix.
var LengthPrefixed = feed.Format{
	Name:   NameLengthPrefixed,
	Title:  "Records behind their length; only by name, --preset is u32be, u32le, u16be or u16le",
	Detect: never,
	Open:   openPrefixed,
	Decode: decode,
}

func never([]byte) int { return 0 }

var errTopic = errors.New("the records do not name a topic; give it with --topic")

// checkOptions refuses options that say how to read what is carried unread.
func checkOptions(o feed.Options) error {
	for _, opt := range [...]struct{ name, value string }{
		{"columns", o.Columns}, {"date", o.Date}, {"zone", o.Zone}, {"time-unit", o.TimeUnit},
		{"header", o.Header}, {"dataset", o.Dataset},
	} {
		if opt.value != "" && (opt.name != "header" || opt.value != "auto") {
			return fmt.Errorf("--%s has no meaning: records are carried as they are", opt.name)
		}
	}
	if o.Topic == "" {
		return errTopic
	}
	if len(o.Topic) > wire.TopicSizeMax {
		return wire.ErrTopicSize
	}
	return nil
}

func now() wire.Nanos { return wire.NanosOf(time.Now()) }

// stamped is the record that a source gives, and the time of the bytes read.
type stamped struct {
	record feed.Record
	now    func() wire.Nanos
	at     wire.Nanos
}

func newStamped(topic string) stamped {
	return stamped{record: feed.Record{Topic: []byte(topic), Flags: wire.FlagNoEventTime}, now: now}
}

// filled notes when bytes came.
func (s *stamped) filled() { s.at = s.now() }

func (s *stamped) with(body []byte) *feed.Record {
	s.record.Body, s.record.Event, s.record.Receive = body, s.at, s.at
	return &s.record
}
