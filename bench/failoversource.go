package bench

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"time"

	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// numbered gives records that are numbered by their topic and its sequence, at the
// times of a schedule.
type numbered struct {
	at      schedule
	topics  [][]byte
	body    []byte
	records uint64
	n       uint64
	fields  wire.Fields
}

// numberedBegin is the time of the first one: any will do.
var numberedBegin = wire.Nanos(time.Date(2024, 1, 2, 9, 30, 0, 0, time.UTC).UnixNano())

// Next implements recorder.Source.
func (s *numbered) Next() (*wire.Fields, error) {
	if s.n == s.records {
		return nil, io.EOF
	}
	at := numberedBegin + wire.Nanos(s.at(s.n))
	s.fields = wire.Fields{Topic: s.topics[s.n%uint64(len(s.topics))], Body: s.body, Event: at, Receive: at, Kind: wire.KindQuote}
	s.n++
	return &s.fields, nil
}

// numberedTape makes a tape of numbered records and returns its path.
func (cfg *FailoverConfig) numberedTape(ctx context.Context, dir string, records uint64) (string, error) {
	src := &numbered{at: bursts(cfg.Rate, max(uint64(cfg.Rate/cfg.Tick), 1)), body: make([]byte, cfg.Size), records: records}
	for i := range cfg.Topics {
		src.topics = append(src.topics, []byte(benchTopic(i)))
	}
	path := filepath.Join(dir, "numbered.tape")
	w, err := tape.Create(path, tape.Config{Shards: 1, Codec: tape.CodecS2, SyncInterval: -1})
	if err != nil {
		return "", err
	}
	_, err = recorder.Import(ctx, w, src, recorder.ImportConfig{Shards: 1, Epoch: 1})
	return path, errors.Join(err, w.Close())
}
