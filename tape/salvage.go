package tape

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// Salvage reads what can be read of a damaged tape: one without a whole
// manifest, with blocks, indexes or segments damaged or missing. It never
// changes anything on disk.
type Salvage struct {
	fs   fsys.FS
	dir  string
	meta manifest
}

// OpenSalvage looks at a tape, whatever its state. The error is ErrNotTape where
// the directory has neither manifest nor segments, ErrLocked where the tape is
// still being written, the disk's, or ctx's.
func OpenSalvage(ctx context.Context, dir string) (*Salvage, error) {
	return OpenSalvageFS(ctx, fsys.OS{}, dir)
}

// OpenSalvageFS is OpenSalvage on any file system.
func OpenSalvageFS(ctx context.Context, fsx fsys.FS, dir string) (*Salvage, error) {
	s := &Salvage{fs: fsx, dir: dir}
	v, err := s.verifier(ctx)
	if err != nil {
		return nil, err
	}
	s.meta = *v.tape.meta
	if v.trusted {
		return s, nil
	}
	// The blocks know how many shards there are, at least.
	if _, err := v.verify(); err != nil {
		return nil, err
	}
	shards := 1
	for _, seg := range v.segments {
		for i := range seg.blocks {
			if seg.blocks[i].whole {
				shards = max(shards, int(seg.blocks[i].info.Shard)+1)
			}
		}
	}
	s.meta.Codec, s.meta.Shards = CodecDefault, shards
	if said := s.readTorn(); said != nil {
		s.meta.Encodings, s.meta.Sources, s.meta.Generator = said.Encodings, said.Sources, said.Generator
		if said.Shards <= ShardsMax {
			s.meta.Shards = max(shards, said.Shards)
		}
		if said.Codec.known() {
			s.meta.Codec = said.Codec
		}
	}
	return s, nil
}

// readTorn returns what a damaged manifest says where it is still JSON, or nil.
func (s *Salvage) readTorn() *manifest {
	b, err := fsys.ReadFile(s.fs, s.dir+"/"+manifestName, manifestSizeMax)
	if err != nil {
		return nil
	}
	m := &manifest{}
	if json.Unmarshal(b, m) != nil {
		return nil
	}
	return m
}

// verifier returns a verifier that has the manifest, or a stand-in for it.
func (s *Salvage) verifier(ctx context.Context) (*verifier, error) {
	v := &verifier{ctx: ctx, tape: &Tape{fs: s.fs, dir: s.dir}}
	err := v.manifest()
	if errors.Is(err, ErrNotTape) {
		entries, lerr := s.fs.List(s.dir)
		for _, e := range entries {
			if _, ok := segmentNumber(e.Name, segmentSuffix); lerr == nil && ok {
				v.problem(Problem{File: manifestName, Reason: "manifest is missing", Affected: "no record; how bodies are to be read is not known"})
				v.tape.meta, err = v.stand(), nil
				break
			}
		}
	}
	return v, err
}

// Shards is the number of shards; where the manifest is damaged, the least that
// holds every block.
func (s *Salvage) Shards() int { return s.meta.Shards }

// Codec is the tape's codec, as far as it is known.
func (s *Salvage) Codec() Codec { return s.meta.Codec }

// Encodings say how bodies are to be read, as far as that is known.
func (s *Salvage) Encodings() []Encoding { return s.meta.Encodings }

// Sources say where the records come from, as far as that is known.
func (s *Salvage) Sources() []string { return s.meta.Sources }

// Marks returns the tape's marks, or none where they cannot be read.
func (s *Salvage) Marks() []Mark {
	list, err := readMarks(s.fs, s.dir, s.meta.ID)
	if err != nil {
		return nil // Blocks reports it
	}
	return list
}

// Blocks gives every whole block to visit, in tape order, and returns what
// Verify reports: the damage is in its Problems. A block is borrowed until visit
// returns; it can be appended to a Writer. Progress is as in Verify. An error of
// visit ends it.
func (s *Salvage) Blocks(ctx context.Context, progress func(done, total int64), visit func(b *Block) error) (Report, error) {
	v, err := s.verifier(ctx)
	if err != nil {
		return Report{}, err
	}
	v.progress, v.sink = progress, visit
	if !v.trusted {
		v.tape.meta.Shards = s.meta.Shards
	}
	return v.verify()
}

// salvage hands a whole block to whoever wants them. A segment of another tape is
// left out, unless it cannot be told which tape this one is.
func (c *segmentChecker) salvage(s *checkedSegment, b *BlockInfo, batch *wire.Batch) error {
	if c.v.sink == nil || s.foreign && c.v.trusted {
		return nil
	}
	return c.v.sink(&Block{Batch: *batch, Info: *b, stored: c.stored[:b.StoredSize]})
}

// wholeAfter reports whether a whole block follows in the segment.
func (c *segmentChecker) wholeAfter(s *checkedSegment, at int64) (bool, error) {
	f, err := c.v.tape.fs.Open(c.v.tape.path(segmentName(s.number)), fsys.Read)
	if err != nil {
		return false, fmt.Errorf("tape: open segment: %w", err)
	}
	defer f.Close()
	b, _, err := findBlock(f, at, s.size)
	return b != nil, err
}
