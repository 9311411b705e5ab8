package subscriber

import "github.com/tapedeck/tapedeck/internal/prefix"

// Filter says which topics a reader wants, in place: the stream carries them all,
// the handler skips what does not match. It remembers its decisions, so that a
// record costs the same with one prefix and with ten thousand. It belongs to one
// goroutine: a Handler has one per shard, a WorkerHandler one.
type Filter struct {
	cache *prefix.Cache
}

// NewFilter returns the filter of the topics that begin with one of the
// prefixes. No prefixes, or an empty one, match everything.
func NewFilter(prefixes []string) *Filter { return &Filter{prefix.NewCache(prefix.New(prefixes))} }

// All reports whether the filter matches everything.
func (f *Filter) All() bool { return f.cache.All() }

// Match reports whether the topic is wanted. The topic is borrowed until return.
func (f *Filter) Match(topic []byte) bool { return f.cache.Match(topic) }
