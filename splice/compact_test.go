package splice

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/tapedeck/tapedeck/tape"
)

// A compacted tape has the same records, places, marks and, where the blocks keep
// their borders, the same digest.
func TestCompact(t *testing.T) {
	for _, from := range []tape.Codec{tape.CodecPlain, tape.CodecS2, tape.CodecZstd} {
		for _, to := range []tape.Codec{tape.CodecPlain, tape.CodecS2, tape.CodecZstd} {
			for _, block := range []int{0, 300, 5000} {
				t.Run(fmt.Sprintf("%v to %v, blocks of %d", from, to, block), func(t *testing.T) {
					in := makeTape(t, made{shards: 3, records: 2000, seed: 6, codec: from, back: true, send: block == 300})
					dir := outDir(t)
					rep, err := Compact(context.Background(), in, dir, CompactConfig{Tape: tape.Config{Codec: to, BlockSize: block}})
					if err != nil {
						t.Fatal(err)
					}
					sound(t, dir)
					out := openTape(t, dir)
					a, _ := in.Info()
					b, _ := out.Info()
					if (a.Digest == b.Digest) != (block == 0) || b.Codec != to || rep.Records != 2000 {
						t.Errorf("digest %v became %v; report %+v", a.Digest, b.Digest, rep)
					}
					if block == 0 || !(block == 300) {
						samePlaces(t, all(t, out), all(t, in))
					} else {
						sameBytes(t, all(t, out), all(t, in))
					}
				})
			}
		}
	}
}

func TestCompactLeavesNothing(t *testing.T) {
	in := makeTape(t, made{records: 1000, seed: 4})
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	cancel(why)
	for _, block := range []int{0, 1000} {
		dir := outDir(t)
		if _, err := Compact(ctx, in, dir, CompactConfig{Tape: tape.Config{BlockSize: block}}); !errors.Is(err, why) {
			t.Errorf("%v", err)
		}
		nothing(t, dir)
	}
	if _, err := Compact(context.Background(), in, outDir(t), CompactConfig{Tape: tape.Config{Codec: 99}}); !errors.Is(err, tape.ErrConfig) {
		t.Errorf("codec 99: %v", err)
	}
}
