package titanic

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// TestGoldenClaim: a claim is written as it always was, byte by byte; -update writes it.
func TestGoldenClaim(t *testing.T) {
	want := claim{Epoch: 0x0102030405060708, Time: 1_700_000_000_000_000_000, Owner: "process 7 of a machine, ä"}
	b := appendClaim(nil, &want, 9)
	name := filepath.Join(golden, "golden-epoch-v1")
	if *update {
		if err := os.WriteFile(name, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(kept, b) {
		t.Errorf("%s is not what is written (%v); if the format was meant to change, run with -update", name, err)
	}
	if got, signs, err := parseClaim(kept); err != nil || got != want || signs != 9 {
		t.Errorf("%+v, %d, %v", got, signs, err)
	}
}

// TestBadClaims are refused, whichever byte is wrong; but for signs of life.
func TestBadClaims(t *testing.T) {
	good := appendClaim(nil, &claim{Epoch: 1, Owner: "x"}, 3)
	for i := range good[:claimSize] {
		bad := bytes.Clone(good)
		bad[i] ^= 0x10
		if _, _, err := parseClaim(bad); !errors.Is(err, ErrClaim) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for _, b := range [][]byte{nil, good[:claimSize], append(bytes.Clone(good), 0), appendClaim(nil, &claim{}, 0)} {
		if _, _, err := parseClaim(b); !errors.Is(err, ErrClaim) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
	long := appendClaim(nil, &claim{Epoch: 1, Owner: strings.Repeat("ä", 200)}, 0)
	if c, _, err := parseClaim(long); err != nil || c.Owner != strings.Repeat("ä", 127) {
		t.Errorf("%q, %v", c.Owner, err)
	}
	disk := fsys.NewMem()
	if err := fsys.WriteFile(disk, ".", claimName(2), good); err != nil {
		t.Fatal(err)
	}
	if _, _, err := readClaim(disk, ".", 2); !errors.Is(err, ErrClaim) {
		t.Errorf("the claim of another epoch: %v", err)
	}
	// What says nothing of its owner still ends his epoch, and counts.
	if f, err := raise(disk, ".", 1, 1, false); err != nil || f.epoch != 3 {
		t.Errorf("%+v, %v", f, err)
	}
}

// FuzzClaim: whatever the bytes, nothing panics, and what is taken is what is written.
func FuzzClaim(f *testing.F) {
	f.Add(appendClaim(nil, &claim{Epoch: 1, Time: -1, Owner: "process 1 of a"}, 0))
	f.Add(appendClaim(nil, &claim{Epoch: 1 << 63, Owner: strings.Repeat("x", claimOwnerMax)}, 1<<63))
	f.Add([]byte(claimSignature))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, signs, err := parseClaim(b)
		if err != nil {
			if !errors.Is(err, ErrClaim) {
				t.Fatal(err)
			}
			return
		}
		if again := appendClaim(nil, &c, signs); !bytes.Equal(again, b) {
			t.Errorf("%+v, %d: %x is written, %x was read", c, signs, again, b)
		}
	})
}
