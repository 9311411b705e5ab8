package shard

import (
	"fmt"

	"github.com/cespare/xxhash/v2"
)

// Max is the largest number of shards of a stream.
const Max = 1<<16 - 1

// ID is the number of a shard, from 0 to the number of shards less one. It is
// the shard field of a batch header.
type ID uint16

// Map maps topics to the shards of a stream. The zero Map has no shards and must
// not be used. A Map is a value: copy it freely, use it from any goroutine.
type Map struct {
	n uint64
}

// NewMap returns the map of a stream of n shards, 1 to Max.
func NewMap(n int) (Map, error) {
	if err := checkCount(n); err != nil {
		return Map{}, err
	}
	return Map{n: uint64(n)}, nil
}

// Shards returns the number of shards.
func (m Map) Shards() int { return int(m.n) }

// Of returns the shard of a topic. The topic is borrowed until return.
func (m Map) Of(topic []byte) ID { return ID(xxhash.Sum64(topic) % m.n) }

// Within returns the shard of m that holds every topic of shard s of a stream
// of finer shards. It reports false where there is no such shard: finer is no
// multiple of m.Shards(), or s is not below finer.
func (m Map) Within(s ID, finer int) (ID, bool) {
	if finer <= int(s) || uint64(finer)%m.n != 0 {
		return 0, false
	}
	return ID(uint64(s) % m.n), true
}

func checkCount(n int) error {
	if n < 1 || n > Max {
		return fmt.Errorf("shard: number of shards is %d, must be 1 to %d", n, Max)
	}
	return nil
}
