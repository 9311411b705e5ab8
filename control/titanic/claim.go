package titanic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"time"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

// ErrClaim: the bytes are no claim of an epoch.
var ErrClaim = errors.New("titanic: bad claim")

// A claim says who has opened the log, and when. It is a file of its own, named by
// the epoch, whole from its first moment on; only the signs of life behind it change.
// All integers are little-endian.
//
//	  0  4    signature "TPJE"
//	  4  u8   version, 1
//	  5  3    zero
//	  8  u64  epoch, not 0
//	 16  i64  time, ns
//	 24  u16  size of the name of whoever has it, bytes
//	 26       that name, UTF-8; then zero
//	508  u32  CRC32C of the 508 bytes before
//	512  u64  signs of life given so far; 0: whoever has it gives none
const (
	claimSize      = 512 // a sector, so that a sign of life never tears it
	claimSigns     = 8
	claimSignature = "TPJE"
	claimVersion   = 1
	claimHead      = 26
	claimSum       = claimSize - 4
	claimOwnerMax  = 255
)

// claim is a claim, taken apart.
type claim struct {
	Epoch uint64
	Time  int64
	Owner string
}

// appendClaim appends a claim that has given no sign of life yet, or the first.
func appendClaim(dst []byte, c *claim, signs uint64) []byte {
	at := len(dst)
	dst = append(dst, claimSignature...)
	dst = append(dst, claimVersion, 0, 0, 0)
	dst = binary.LittleEndian.AppendUint64(dst, c.Epoch)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Time))
	owner := c.Owner[:min(len(c.Owner), claimOwnerMax)]
	for !utf8.ValidString(owner) {
		owner = owner[:len(owner)-1]
	}
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(owner)))
	dst = append(dst, owner...)
	dst = append(dst, make([]byte, claimSum-(len(dst)-at))...)
	dst = binary.LittleEndian.AppendUint32(dst, crc32.Checksum(dst[at:], castagnoli))
	return binary.LittleEndian.AppendUint64(dst, signs)
}

// parseClaim takes a claim apart; signs are those of life.
func parseClaim(b []byte) (c claim, signs uint64, err error) {
	if len(b) != claimSize+claimSigns || string(b[:4]) != claimSignature {
		return claim{}, 0, fmt.Errorf("%w: no signature, or %d bytes", ErrClaim, len(b))
	}
	if b[4] != claimVersion {
		return claim{}, 0, fmt.Errorf("%w: version %d, this program knows %d", ErrClaim, b[4], claimVersion)
	}
	if crc32.Checksum(b[:claimSum], castagnoli) != binary.LittleEndian.Uint32(b[claimSum:]) {
		return claim{}, 0, fmt.Errorf("%w: wrong checksum", ErrClaim)
	}
	size := int(binary.LittleEndian.Uint16(b[24:]))
	if size > claimOwnerMax || !zero(b[5:8]) || !zero(b[claimHead+size:claimSum]) || !utf8.Valid(b[claimHead:claimHead+size]) {
		return claim{}, 0, fmt.Errorf("%w: something where nothing is", ErrClaim)
	}
	c = claim{binary.LittleEndian.Uint64(b[8:]), int64(binary.LittleEndian.Uint64(b[16:])), string(b[claimHead : claimHead+size])}
	if c.Epoch == 0 {
		return claim{}, 0, fmt.Errorf("%w: no epoch", ErrClaim)
	}
	return c, binary.LittleEndian.Uint64(b[claimSize:]), nil
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}

// readClaim reads the claim of an epoch. The error wraps fs.ErrNotExist where there is
// none.
func readClaim(fsx fsys.FS, dir string, epoch uint64) (claim, uint64, error) {
	b, err := fsys.ReadFile(fsx, dir+"/"+claimName(epoch), claimSize+claimSigns)
	if err != nil {
		return claim{}, 0, err
	}
	c, signs, err := parseClaim(b)
	if err == nil && c.Epoch != epoch {
		err = fmt.Errorf("%w: %s has epoch %d", ErrClaim, claimName(epoch), c.Epoch)
	}
	return c, signs, err
}

// String says who it is, and since when.
func (c *claim) String() string {
	return fmt.Sprintf("%s, since %s", c.Owner, time.Unix(0, c.Time).UTC().Format(time.RFC3339))
}

// self names this process to people.
func self() string {
	host, err := os.Hostname()
	if err != nil {
		host = "a machine without a name"
	}
	return fmt.Sprintf("process %d of %s", os.Getpid(), host)
}
