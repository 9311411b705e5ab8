package merge

import (
	"github.com/tapedeck/tapedeck/tape"
)

// sharedTopics are the topics that several tapes have.
type sharedTopics struct {
	names map[string]struct{}
	all   bool // any topic may be one: a tape does not say which topics it has
}

func (s *sharedTopics) has(topic []byte) bool {
	if s.all {
		return true
	}
	_, ok := s.names[string(topic)]
	return ok
}

func findShared(tapes []*tape.Tape) (sharedTopics, error) {
	s := sharedTopics{names: map[string]struct{}{}}
	if len(tapes) == 1 {
		return s, nil
	}
	seen := map[string]struct{}{}
	for _, t := range tapes {
		info, err := t.Info()
		if err != nil {
			return s, err
		}
		// What retention removed of a tape that has not been closed is in no list.
		if !info.Closed && info.Removed != (tape.Removed{}) {
			return sharedTopics{all: true}, nil
		}
		topics, err := t.Topics()
		if err != nil {
			return s, err
		}
		for i := range topics {
			topic := topics[i].Topic
			if _, ok := seen[topic]; ok {
				s.names[topic] = struct{}{}
			}
			seen[topic] = struct{}{}
		}
	}
	return s, nil
}
