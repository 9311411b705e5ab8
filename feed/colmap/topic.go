package colmap

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// ErrNoTopic: all columns of the topic are empty.
var ErrNoTopic = errors.New("the columns of the topic are empty")

// Prefix returns what topics begin with where the user gave topic: a separator
// comes behind it where it does not end in one.
func Prefix(topic string) string {
	if topic != "" && !strings.ContainsAny(topic[len(topic)-1:], "./:") {
		topic += "."
	}
	return topic
}

// AppendPart appends one column's value to a topic whose prefix ends at byte
// prefix. An empty value adds nothing.
func AppendPart(topic []byte, prefix int, part []byte) []byte {
	if len(part) == 0 {
		return topic
	}
	if len(topic) > prefix {
		topic = append(topic, '.')
	}
	return append(topic, part...)
}

// CheckTopic says what is wrong with a topic whose prefix ends at byte prefix.
func CheckTopic(topic []byte, prefix int) error {
	if len(topic) == prefix {
		return ErrNoTopic
	}
	if len(topic) > wire.TopicSizeMax {
		return fmt.Errorf("the topic has %d bytes, %d are allowed", len(topic), wire.TopicSizeMax)
	}
	return nil
}
