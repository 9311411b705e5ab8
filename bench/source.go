package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/recorder"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// Env is what every mode needs.
type Env struct {
	Dir     string // folder for tapes, in the page cache; "" is a temporary one
	Version string // of the program, for the report
	Runs    int    // of each case
	Say     func(format string, args ...any)
}

// withDir calls f with a folder that is removed afterwards.
func (e *Env) withDir(f func(dir string) error) (err error) {
	dir, err := os.MkdirTemp(e.Dir, "tapedeck-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	return f(dir)
}

func (e *Env) say(format string, args ...any) {
	if e.Say != nil {
		e.Say(format, args...)
	}
}

// tapeSpec is a generated tape.
type tapeSpec struct {
	records uint64
	topics  int
	size    int // of a body, bytes
	shards  int
	codec   tape.Codec
	block   int
	rate    float64 // records a second of event time; 0 is the generator's default
}

// synthSource gives generated records to an import.
type synthSource struct {
	src    *synth.Source
	fields wire.Fields
}

// Next implements recorder.Source.
func (s *synthSource) Next() (*wire.Fields, error) {
	r, err := s.src.Next()
	if err != nil {
		return nil, err
	}
	s.fields = wire.Fields{Topic: r.Topic, Body: r.Body, Event: r.Event, Receive: r.Receive, Kind: r.Kind, Flags: r.Flags}
	return &s.fields, nil
}

// makeTape generates a tape and opens it.
func makeTape(ctx context.Context, dir string, spec tapeSpec) (*tape.Tape, error) {
	src, err := synth.New(synth.Config{
		Seed: 1, Topics: spec.topics, Records: spec.records, Rate: spec.rate, BodySizeMin: spec.size, BodySizeMax: spec.size,
	})
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, fmt.Sprintf("%v-%d-%d-%d-%d.tape", spec.codec, spec.records, spec.topics, spec.size, spec.shards))
	w, err := tape.Create(path, tape.Config{Shards: spec.shards, Codec: spec.codec, BlockSize: spec.block, SyncInterval: -1})
	if err != nil {
		return nil, err
	}
	_, err = recorder.Import(ctx, w, &synthSource{src: src}, recorder.ImportConfig{Shards: spec.shards, Epoch: 1})
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, err
	}
	return tape.Open(path)
}
