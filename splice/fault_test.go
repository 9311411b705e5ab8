package splice

import (
	"context"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/tape"
)

// Whatever operation of the disk fails, a splice leaves a whole tape or none.
func TestFaults(t *testing.T) {
	a, b := makeTape(t, made{shards: 2, records: 600, seed: 1, topics: "a"}), makeTape(t, made{records: 600, seed: 2, topics: "b"})
	ctx := context.Background()
	for name, work := range map[string]func(cfg tape.Config) error{
		"cut": func(cfg tape.Config) error {
			_, err := Cut(ctx, a, "out.tape", CutConfig{From: start + 100_000, To: start + 500_000, Tape: cfg})
			return err
		},
		"cut of topics": func(cfg tape.Config) error {
			_, err := Cut(ctx, a, "out.tape", CutConfig{Topics: []string{"aT1"}, Tape: cfg})
			return err
		},
		"merge": func(cfg tape.Config) error {
			_, err := Merge(ctx, []*tape.Tape{a, b}, "out.tape", MergeConfig{Tape: cfg})
			return err
		},
		"compact": func(cfg tape.Config) error {
			cfg.Codec = tape.CodecZstd
			_, err := Compact(ctx, a, "out.tape", CompactConfig{Tape: cfg})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			failed := 0
			for n := 1; ; n++ {
				disk := fsys.NewMem()
				fault := &fsys.Fault{FS: disk}
				fault.FailAt(n, n, syscall.EIO)
				err := work(tape.Config{FS: fault, SegmentSize: tape.SegmentSizeMin})
				if err == nil && fault.Operations() < n {
					break // there are no more operations to fail
				}
				left, lerr := disk.List(".")
				if lerr != nil {
					t.Fatal(lerr)
				}
				switch {
				case err != nil && len(left) > 0:
					t.Fatalf("operation %d failed with %v and left %v", n, err, left)
				case err == nil:
					rep, verr := tape.VerifyFS(ctx, disk, "out.tape", nil)
					if verr != nil || !rep.OK() || len(left) != 1 {
						t.Fatalf("operation %d: no error, but %v %+v %v", n, verr, rep.Problems, left)
					}
				default:
					failed++
				}
			}
			if failed < 10 {
				t.Errorf("only %d failed operations: nothing is tested", failed)
			}
		})
	}
}
