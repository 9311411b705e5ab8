package recorder

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/tapedeck/tapedeck/shard"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Source is where an import reads.
type Source interface {
	// Next returns the next record, valid until the next call, without its topic
	// sequence; io.EOF after the last one; a *BadRecord where a place is bad and
	// the source can go on behind it.
	Next() (*wire.Fields, error)
}

// BadRecord is a place in the input that is no record.
type BadRecord struct{ Err error }

// Error implements error.
func (e *BadRecord) Error() string { return e.Err.Error() }

// Unwrap returns what is wrong.
func (e *BadRecord) Unwrap() error { return e.Err }

// ImportConfig says how to import.
type ImportConfig struct {
	Shards  int        // of the tape
	Epoch   wire.Epoch // identity of this import
	SkipBad bool       // leave bad places out and count them, instead of failing
}

// ImportReport is what an import found.
type ImportReport struct {
	Records    uint64
	Topics     int
	Bad        uint64  // bad places left out
	BadFirst   []error // the first few of them
	OutOfOrder uint64  // records received before the one before them, kept in their place
	// FirstOutOfOrder is the place of the first such record, counted from 0.
	FirstOutOfOrder uint64
}

// badKept is how many bad places a report names.
const badKept = 10

// checkEvery is how many records pass between looks at the context.
const checkEvery = 1 << 14

// Import appends everything that src gives to w and closes neither. It returns
// the report also with an error.
func Import(ctx context.Context, w *tape.Writer, src Source, cfg ImportConfig) (ImportReport, error) {
	n, err := newNumbering(cfg)
	if err != nil {
		return ImportReport{}, err
	}
	var (
		rep    ImportReport
		before = wire.NanosMin // receive time of the record before
	)
	for {
		if rep.Records%checkEvery == 0 && ctx.Err() != nil {
			return rep, context.Cause(ctx)
		}
		f, err := src.Next()
		if errors.Is(err, io.EOF) {
			rep.Topics = len(n.topics)
			return rep, nil
		}
		if err != nil {
			if err = rep.bad(err, cfg.SkipBad); err != nil {
				return rep, err
			}
			continue
		}
		if f.Receive < before {
			if rep.OutOfOrder++; rep.OutOfOrder == 1 {
				rep.FirstOutOfOrder = rep.Records
			}
		}
		before = f.Receive
		at := n.number(f)
		if err := w.AppendFields(at, f); err != nil {
			return rep, fmt.Errorf("record %d: %w", rep.Records, err)
		}
		n.commit(at.Shard)
		rep.Records++
	}
}

// bad counts a bad place, or returns the error that ends the import. It is a
// function of its own so that errors.As costs nothing where there is no error.
func (rep *ImportReport) bad(err error, skip bool) error {
	var bad *BadRecord
	if !errors.As(err, &bad) {
		return err
	}
	if !skip {
		return bad.Err
	}
	if rep.Bad++; len(rep.BadFirst) < badKept {
		rep.BadFirst = append(rep.BadFirst, bad.Err)
	}
	return nil
}

// numbering gives records their shard, sequence, ordinal and topic sequence.
type numbering struct {
	epoch   wire.Epoch
	shards  shard.Map
	next    []wire.Seq // per shard
	ordinal wire.Ordinal
	topics  map[string]*topicState
	last    *topicState // of the record before: topics tend to repeat
	current *topicState
}

type topicState struct {
	topic string
	shard int
	next  uint32
}

func newNumbering(cfg ImportConfig) (*numbering, error) {
	m, err := shard.NewMap(cfg.Shards)
	if err != nil {
		return nil, err
	}
	return &numbering{epoch: cfg.Epoch, shards: m, next: make([]wire.Seq, cfg.Shards), topics: map[string]*topicState{}}, nil
}

// number sets the topic sequence of f and returns its place.
func (n *numbering) number(f *wire.Fields) tape.At {
	t := n.last
	if t == nil || t.topic != string(f.Topic) {
		if t = n.topics[string(f.Topic)]; t == nil {
			t = &topicState{topic: string(f.Topic), shard: int(n.shards.Of(f.Topic))}
			n.topics[t.topic] = t
		}
		n.last = t
	}
	f.TopicSeq = t.next
	n.current = t
	return tape.At{Shard: t.shard, Epoch: n.epoch, Seq: n.next[t.shard], Ordinal: n.ordinal}
}

// commit takes note that the numbered record was stored.
func (n *numbering) commit(shard int) {
	n.next[shard]++
	n.ordinal++
	n.current.next++
}
