package tape

import (
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// Defaults and limits of a Config.
const (
	BlockSizeDefault    = 256 << 10
	BlockSizeMax        = 32 << 20
	SegmentSizeDefault  = 256 << 20
	SegmentSizeMin      = 64 << 10
	SegmentSizeMax      = 1 << 40
	SyncIntervalDefault = 100 * time.Millisecond

	KeyframeIntervalDefault = 64 << 20
	ShardsMax               = 1<<16 - 1
)

// Config says how a tape is written. The zero value means the defaults. What is
// out of range is refused, not clamped. It is copied by Create and OpenAppend.
type Config struct {
	// Shards is the number of shards, 1 to ShardsMax; 0 means 1.
	Shards int
	// Codec compresses the blocks; the zero value is CodecDefault's choice.
	Codec Codec
	// BlockSize is the payload size at which a block is full, bytes, at most
	// BlockSizeMax; 0 means BlockSizeDefault. A record larger than it gets a
	// block of its own.
	BlockSize int
	// SegmentSize is the size at which a segment is full, bytes, from
	// SegmentSizeMin to SegmentSizeMax; 0 means SegmentSizeDefault. A block
	// larger than it gets a segment of its own.
	SegmentSize int64
	// SyncInterval is the longest time between Append and the start of the sync
	// that makes the record last; 0 means SyncIntervalDefault. Below zero the
	// tape is synced only by Sync, at the end of a segment and by Close.
	SyncInterval time.Duration
	// KeyframeInterval is how much payload lies between keyframes at least, bytes:
	// what Tape.Last reads at most beside one keyframe. Keyframes are further
	// apart where they would otherwise take more than about a twelfth of the
	// tape. 0 means KeyframeIntervalDefault; below zero there are none.
	KeyframeInterval int64
	// SegmentDuration is the longest time over which a segment is written; 0 is
	// no limit. With Retain.Age it is a tenth of that where it is not given.
	SegmentDuration time.Duration
	// Retain says how much of the tape is kept while it is written: see Retain,
	// the function. With it every segment begins with a keyframe, and where
	// SegmentSize is 0 it is at most an eighth of Retain.Size.
	Retain RetainConfig
	// Follow makes the new tape begin where that one does: where retention has
	// removed the first segments of Follow, the new tape has the same start, with
	// the last values from before it, and so the same digest for the same blocks.
	// For Create; nil, or a tape that has all its segments, changes nothing.
	Follow *Tape
	// Temporary writes the tape under its name with TemporarySuffix and gives it
	// its name in Close, so that an import that did not finish leaves nothing
	// that looks whole.
	Temporary bool
	// Encodings say how the bodies are to be read; stored in the manifest.
	Encodings []Encoding
	// Sources say where the records come from, for people.
	Sources []string
	// Generator names the program that writes, such as "tapedeck 1.2.3".
	Generator string
	// FS is where the tape is; nil means the machine's file system.
	FS fsys.FS
	// ID and Created identify the tape; zero means random and now. Setting them
	// makes a tape reproducible byte for byte.
	ID      ID
	Created wire.Nanos
}

// Encoding names a format of bodies and what a reader needs beside the body to
// decode it.
type Encoding = wire.Encoding

// TemporarySuffix ends the name of a tape that is being imported.
const TemporarySuffix = ".partial"

// withDefaults returns the checked configuration with every field set.
func (c Config) withDefaults() (Config, error) {
	if c.FS == nil {
		c.FS = fsys.OS{}
	}
	if c.Shards == 0 {
		c.Shards = 1
	}
	if c.Codec == 0 {
		c.Codec = CodecDefault
	}
	if c.BlockSize == 0 {
		c.BlockSize = BlockSizeDefault
	}
	if c.SegmentSize == 0 {
		c.SegmentSize = SegmentSizeDefault
		if c.Retain.Size > 0 {
			c.SegmentSize = max(min(c.SegmentSize, c.Retain.Size/8), SegmentSizeMin)
		}
	}
	if c.SegmentDuration == 0 {
		c.SegmentDuration = c.Retain.Age / 10
	}
	if c.SyncInterval == 0 {
		c.SyncInterval = SyncIntervalDefault
	}
	if c.KeyframeInterval == 0 {
		c.KeyframeInterval = KeyframeIntervalDefault
	}
	return c, c.check()
}

func (c *Config) check() error {
	switch {
	case c.Shards < 1 || c.Shards > ShardsMax:
		return fmt.Errorf("%w: %d shards; 1 to %d are possible", ErrConfig, c.Shards, ShardsMax)
	case !c.Codec.known():
		return fmt.Errorf("%w: unknown codec %d", ErrConfig, c.Codec)
	case c.BlockSize < 0 || c.BlockSize > BlockSizeMax:
		return fmt.Errorf("%w: block size %d; at most %d is possible", ErrConfig, c.BlockSize, BlockSizeMax)
	case c.Retain.Size < 0 || c.Retain.Age < 0 || c.SegmentDuration < 0:
		return fmt.Errorf("%w: a size, age or duration below zero", ErrConfig)
	case c.Retain.on() && c.KeyframeInterval < 0:
		return fmt.Errorf("%w: retention needs keyframes", ErrConfig)
	case c.Retain.on() && c.Temporary:
		return fmt.Errorf("%w: retention is not for a tape that has no name yet", ErrConfig)
	case c.SegmentSize < SegmentSizeMin || c.SegmentSize > SegmentSizeMax:
		return fmt.Errorf("%w: segment size %d; %d to %d are possible", ErrConfig, c.SegmentSize, SegmentSizeMin, int64(SegmentSizeMax))
	}
	return nil
}
