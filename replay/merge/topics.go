package merge

import (
	"context"
	"maps"
	"slices"

	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// A topic that several tapes have is numbered through, so that its topic sequence
// goes up by one from record to record of the stream as it does on each tape: it is
// how many records of the topic the tapes have had. Where a tape leaves out
// sequences, so does the stream.

// sharedTopics are the topics that several tapes have. It does not change.
type sharedTopics struct {
	numbers map[string]int32 // from 0
	tapes   int
	first   []uint32 // topic sequence at which each tape begins a topic, topic by topic
	others  bool     // there may be more: a tape does not say which topics it has
}

// of returns a topic's number, or -1 where one tape alone has it.
func (s *sharedTopics) of(topic []byte) int32 {
	if n, ok := s.numbers[string(topic)]; ok {
		return n
	}
	return -1
}

// counted is how many of a topic a tape has had with a record.
func (s *sharedTopics) counted(topic int32, tape int, rec wire.Record) uint32 {
	return rec.TopicSeq() - s.first[int(topic)*s.tapes+tape] + 1
}

func findShared(tapes []*tape.Tape) (*sharedTopics, error) {
	s := &sharedTopics{numbers: map[string]int32{}, tapes: len(tapes)}
	if len(tapes) == 1 {
		return s, nil
	}
	seen, lists := map[string]struct{}{}, make([][]tape.TopicInfo, len(tapes))
	for i, t := range tapes {
		info, err := t.Info()
		if err != nil {
			return s, err
		}
		// What retention removed of a tape that has not been closed is in no list.
		s.others = s.others || !info.Closed && info.Removed != (tape.Removed{})
		if lists[i], err = t.Topics(); err != nil {
			return s, err
		}
		for n := range lists[i] {
			topic := lists[i][n].Topic
			if _, ok := seen[topic]; ok {
				s.numbers[topic] = 0
			}
			seen[topic] = struct{}{}
		}
	}
	for n, topic := range slices.Sorted(maps.Keys(s.numbers)) {
		s.numbers[topic] = int32(n)
	}
	s.first = make([]uint32, len(s.numbers)*len(tapes))
	for i, list := range lists {
		for n := range list {
			if k, ok := s.numbers[list[n].Topic]; ok {
				s.first[int(k)*len(tapes)+i] = list[n].LastTopicSeq + 1 - uint32(list[n].Records)
			}
		}
	}
	return s, nil
}

// counts are how many of each shared topic each tape has had before a place. nil
// counts nothing.
type counts struct {
	shared *sharedTopics
	each   []uint32 // topic by topic, of each tape
	all    []uint32 // of all tapes
	room   []byte   // of a record that is numbered anew
}

// countsAt returns the counts where the tapes stand.
func (s *Source) countsAt(st *stand) (*counts, error) {
	shared := s.common.topics
	if len(shared.numbers) == 0 {
		return nil, nil
	}
	c := &counts{shared: shared, each: slices.Clone(st.counts), all: make([]uint32, len(shared.numbers))}
	if c.each == nil {
		c.each = make([]uint32, len(shared.first))
		for i, t := range s.tapes {
			if err := c.find(i, t, st.tapes[i]); err != nil {
				return nil, err
			}
		}
	}
	for n, count := range c.each {
		c.all[n/shared.tapes] += count
	}
	return c, nil
}

// find counts what one tape has had before a place.
func (c *counts) find(i int, t *replay.TapeSource, before wire.Ordinal) error {
	if t.Span() == 0 {
		return nil
	}
	walk, err := t.Last(before, func(topic []byte) bool { return c.shared.of(topic) >= 0 })
	if err != nil {
		return err
	}
	defer walk.Close()
	for {
		ok, err := walk.Next(context.Background())
		if err != nil || !ok {
			return err
		}
		k := c.shared.of(walk.Record().Topic())
		c.each[int(k)*c.shared.tapes+i] = c.shared.counted(k, i, walk.Record())
	}
}

// number returns a record of a shared topic with its topic sequence in the stream: a
// copy that is valid until the next call, where that is another than it has.
func (c *counts) number(topic int32, tape int, rec wire.Record) wire.Record {
	seq := c.all[topic] - c.each[int(topic)*c.shared.tapes+tape] + c.shared.counted(topic, tape, rec) - 1
	if seq == rec.TopicSeq() {
		return rec
	}
	c.room = append(c.room[:0], rec...)
	rec = wire.Record(c.room)
	rec.SetTopicSeq(seq)
	return rec
}

// pass counts a record of a shared topic.
func (c *counts) pass(topic int32, tape int, rec wire.Record) {
	n, before := c.shared.counted(topic, tape, rec), &c.each[int(topic)*c.shared.tapes+tape]
	c.all[topic] += n - *before
	*before = n
}
