package export

import (
	"encoding/binary"
	"errors"
	"math"

	"github.com/tapedeck/tapedeck/feed/dbn"
	"github.com/tapedeck/tapedeck/wire"
)

// Places in a DBN file head, as in the DBN specification: 3 bytes of magic, the
// version, u32 length, 16 bytes of dataset, u16 schema, u64 start, end and limit,
// and in version 1 a u64 record count.
const (
	dbnVersionOff = 3
	dbnCountOff   = 8 + 16 + 2 + 3*8
	dbnWordSize   = 4
	dbnHeadSize   = 16 // of a record
)

var errNotDBN = errors.New("the body is no DBN record: its length byte says otherwise")

func planDBN(c *Config) (job, error) {
	enc, err := c.single("dbn", dbn.Name)
	if err != nil {
		return nil, err
	}
	return newDBN(enc, c.Part)
}

// newDBN writes a DBN file, or a fragment where the records came from one.
func newDBN(enc wire.Encoding, part bool) (*framed, error) {
	head, err := dbn.Head(enc)
	if err != nil {
		return nil, err
	}
	if part && len(head) >= dbnCountOff+8 && head[dbnVersionOff] == 1 {
		binary.LittleEndian.PutUint64(head[dbnCountOff:], math.MaxUint64)
	}
	return &framed{head: head, before: checkDBN}, nil
}

// checkDBN refuses a body that would make the rest of the file unreadable.
func checkDBN(dst []byte, rec wire.Record) ([]byte, error) {
	if b := rec.Body(); len(b) < dbnHeadSize || int(b[0])*dbnWordSize != len(b) {
		return dst, errNotDBN
	}
	return dst, nil
}
