package resync

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/tapedeck/tapedeck/wire"
)

// resumeFile is what a resume file holds, as JSON: where a reader goes on that was
// ended at any moment. Numbers of 64 bits are text, for readers that would round
// them.
type resumeFile struct {
	Version int           `json:"version"`
	Shards  []resumePlace `json:"shards"`
}

type resumePlace struct {
	Shard int        `json:"shard"`
	Epoch wire.Epoch `json:"epoch,string"`
	Next  wire.Seq   `json:"next,string"` // the first sequence that has not been handled
}

const (
	resumeVersion = 1
	resumeMax     = 16 << 20 // bytes; 65,535 shards take less
)

// ErrResumeFile: a file is not a resume file, or one of another version.
var ErrResumeFile = errors.New("resync: not a resume file")

// SaveResume writes positions, as Healer.Positions gives them, to a file, whole or
// not at all: whenever the process or the machine ends, the file holds the new
// positions or those before. It costs two syncs of the disk. The name with ".new"
// at its end is used as well; two processes must not write the same file.
//
// A reader that saves after it has handled what the positions say, and loads after a
// crash, gets again what it handled since; one that saves before, misses it.
func SaveResume(path string, positions []Span) error {
	f := resumeFile{Version: resumeVersion, Shards: make([]resumePlace, 0, len(positions))}
	for _, p := range positions {
		f.Shards = append(f.Shards, resumePlace{p.Shard, p.Epoch, p.To})
	}
	b, err := json.MarshalIndent(&f, "", "\t")
	if err != nil {
		return err
	}
	temp := path + ".new"
	if err := writeSynced(temp, append(b, '\n')); err != nil {
		return fmt.Errorf("resync: save positions: %w", err)
	}
	if err := os.Rename(temp, path); err != nil {
		return fmt.Errorf("resync: save positions: %w", err)
	}
	if err := syncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("resync: save positions: %w", err)
	}
	return nil
}

func writeSynced(path string, b []byte) error {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// LoadResume reads what SaveResume wrote: per shard the epoch and, in To, the next
// sequence, as Start.Positions wants it. Where there is no file the error is
// fs.ErrNotExist.
func LoadResume(path string) ([]Span, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("resync: load positions: %w", err)
	}
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, resumeMax+1))
	if err != nil {
		return nil, fmt.Errorf("resync: load positions: %w", err)
	}
	positions, err := parseResume(b)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrResumeFile, path, err)
	}
	return positions, nil
}

func parseResume(b []byte) ([]Span, error) {
	if len(b) > resumeMax {
		return nil, errors.New("too large")
	}
	var f resumeFile
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("something follows")
	}
	if f.Version != resumeVersion {
		return nil, fmt.Errorf("version %d, want %d", f.Version, resumeVersion)
	}
	var positions []Span
	seen := map[int]bool{}
	for _, p := range f.Shards {
		if p.Shard < 0 || p.Shard > 1<<16-1 || p.Epoch == 0 || seen[p.Shard] {
			return nil, fmt.Errorf("shard %d of epoch %d makes no sense", p.Shard, p.Epoch)
		}
		seen[p.Shard] = true
		positions = append(positions, Span{Epoch: p.Epoch, Shard: p.Shard, To: p.Next})
	}
	return positions, nil
}
