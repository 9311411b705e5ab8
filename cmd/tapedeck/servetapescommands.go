package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/feed/render"
	"github.com/tapedeck/tapedeck/internal/prefix"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// tapesService is the service tapes: what there is to play.
type tapesService struct {
	cfg   *serveConfig
	tapes *tapesDir
}

func (s *tapesService) commands() []control.Command {
	return []control.Command{
		busLookup("list", "the tapes of the directory, or of one below it", s.list),
		busLookup("info", "what is on a tape", s.info),
		busLookup("verify", "check every byte of a tape", s.verify),
		busLookup("last", "every topic's last record as of a moment", s.last),
	}
}

// manifestFile is what makes a directory a tape; segmentSuffix ends the names of what
// a tape is that has lost it.
const (
	manifestFile  = "manifest.json"
	segmentSuffix = ".seg"
)

func (s *tapesService) list(ctx context.Context, a *control.TapesList) (any, error) {
	dir := s.tapes.root
	if a.Dir != "" {
		var err error
		if dir, err = s.tapes.existing("directory", a.Dir); err != nil {
			return nil, err
		}
	}
	listed := control.TapesListed{Dir: s.tapes.root, Tapes: []control.TapeEntry{}}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		switch {
		case err != nil && path == dir:
			return err
		case err != nil || !e.IsDir():
			return nil // what may not be looked into is none of ours
		case path != s.tapes.root && (strings.HasPrefix(e.Name(), ".") || strings.HasSuffix(e.Name(), tape.TemporarySuffix)):
			return fs.SkipDir
		case !isTape(path):
			return nil
		case len(listed.Tapes) == s.cfg.tape.list:
			listed.More++
			return fs.SkipDir
		}
		listed.Tapes = append(listed.Tapes, s.entry(path))
		return fs.SkipDir
	})
	return listed, err
}

// isTape reports whether a directory is a tape, or what is left of one.
func isTape(dir string) bool {
	if _, err := os.Lstat(filepath.Join(dir, manifestFile)); err == nil {
		return true
	}
	segments, _ := filepath.Glob(filepath.Join(escapeGlob(dir), "*"+segmentSuffix))
	return len(segments) > 0
}

// escapeGlob makes a path one that filepath.Glob takes as it is.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

// entry is a tape in a list. One that cannot be read is listed, with why.
func (s *tapesService) entry(path string) control.TapeEntry {
	e := control.TapeEntry{Tape: s.tapes.name(path)}
	t, err := tape.Open(path)
	if err != nil {
		e.Error = firstLine(err.Error())
		return e
	}
	defer t.Close()
	info, err := t.Info()
	if err != nil {
		e.Error = firstLine(err.Error())
		return e
	}
	i := &info.Totals
	e.Records, e.Topics, e.Shards, e.Closed = i.Records, i.Topics, info.Shards, info.Closed
	e.FirstTime, e.LastTime, e.StoredBytes = int64(i.FirstReceive), int64(i.LastReceive), i.StoredBytes
	return e
}

func (s *tapesService) info(_ context.Context, a *control.TapeOf) (any, error) {
	t, err := s.open(a.Tape)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	info, err := t.Info()
	if err != nil {
		return nil, err
	}
	return newTapeInfo(s.tapes.name(t.Dir()), &info, t.Recovered().Torn), nil
}

func (s *tapesService) open(name string) (*tape.Tape, error) {
	path, err := s.tapes.existing("tape", name)
	if err != nil {
		return nil, err
	}
	return tape.Open(path)
}

// foundMax is how much of what verify finds is listed.
const foundMax = 100

func (s *tapesService) verify(ctx context.Context, a *control.TapeOf) (any, error) {
	path, err := s.tapes.existing("tape", a.Tape)
	if err != nil {
		return nil, err
	}
	rep, err := tape.Verify(ctx, path, func(int64, int64) {})
	if err != nil {
		return nil, err
	}
	v := control.TapeVerified{
		Tape: s.tapes.name(path), OK: rep.OK(), Closed: rep.Closed, Records: rep.Records, Blocks: rep.Blocks, Bytes: rep.Bytes,
		Problems: len(rep.Problems), Warnings: len(rep.Warnings), Gaps: len(rep.Gaps), Digest: rep.Digest.String(),
	}
	if t := rep.Torn; t != nil {
		v.Torn = &control.TapeTorn{Segment: t.Segment, Offset: t.Offset, Bytes: t.Bytes, Reason: t.Reason}
	}
	for _, list := range [][]tape.Problem{rep.Problems, rep.Warnings} {
		for i := range list {
			if len(v.Found) < foundMax {
				v.Found = append(v.Found, list[i].String())
			}
		}
	}
	return v, nil
}

func (s *tapesService) last(ctx context.Context, a *control.TapesLast) (any, error) {
	t, err := s.open(a.Tape)
	if err != nil {
		return nil, err
	}
	defer t.Close()
	cfg, err := lastOn(t, a)
	if err != nil {
		return nil, err
	}
	limit := a.Limit
	if limit == 0 {
		limit = s.cfg.tape.records
	}
	if limit < 1 || limit > s.cfg.tape.records {
		return nil, usagef("limit %d: want 1 to %d", a.Limit, s.cfg.tape.records)
	}
	l, err := t.Last(ctx, cfg)
	if err != nil {
		return nil, err
	}
	found := control.TapeLast{
		Tape: s.tapes.name(t.Dir()), At: int64(cfg.At), Clock: cfg.Clock.String(), Topics: l.Len(), Unknown: l.Stats().Unknown,
		Records: []json.RawMessage{},
	}
	decoder := render.NewDecoder(t.Encodings())
	for size := 0; len(found.Records) < limit && l.Next(); {
		fields, known := decoder.Decode(l.Record())
		line := render.AppendJSON(nil, l.Record(), fields, known)
		if size += len(line) + 1; size > lastBytesMax {
			return nil, &control.Error{Code: control.TooLarge, Reason: fmt.Sprintf("the first %d records do not fit in a reply", len(found.Records)+1),
				Try: "ask for fewer, with limit or topics"}
		}
		found.Records = append(found.Records, line)
	}
	return found, nil
}

// lastBytesMax is how much of records fits in a reply, beside the rest of it.
const lastBytesMax = control.MessageMax - 4096

// lastOn is what to look for on a tape.
func lastOn(t *tape.Tape, a *control.TapesLast) (tape.LastConfig, error) {
	cfg := tape.LastConfig{At: wire.NanosMax}
	var err error
	if a.Clock != "" {
		if cfg.Clock, err = tape.ParseClock(a.Clock); err != nil {
			return cfg, usageError{err}
		}
	}
	if set := prefix.New(a.Topics); !set.All() {
		cfg.Topics = set.Match
	}
	if a.At == "" {
		return cfg, nil
	}
	at, err := deckTarget([]*tape.Tape{t}, cfg.Clock, wire.NanosMin, a.At)
	switch {
	case err != nil:
		return cfg, err
	case at.Relative || at.Time == wire.NanosMin:
		return cfg, usagef("at %s: want a time, or a mark", a.At)
	case at.Clock != cfg.Clock:
		return cfg, usagef("at %s: the mark is a time by the clock %v, not %v", a.At, at.Clock, cfg.Clock)
	}
	cfg.At = at.Time
	return cfg, nil
}
