package tape

import (
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/wire"
)

// Problem is one place in a tape that is not as it should be.
type Problem struct {
	File     string // name of the file inside the tape
	Offset   int64  // where in it, bytes
	Bytes    int64  // how many bytes from there are concerned; 0 where not known
	Reason   string
	Affected string     // for people: what is lost or doubtful
	Block    *BlockInfo // the block concerned, where it is known
}

// String says it in one line.
func (p *Problem) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%s, offset %d: %s", p.File, p.Offset, p.Reason)
	if p.Affected != "" {
		s.WriteString("; affected: " + p.Affected)
	}
	return s.String()
}

// affected describes a block's records.
func (b *BlockInfo) affected() string {
	return fmt.Sprintf("block %d: shard %d, epoch %d, sequences %d to %d (%d records), received %v to %v",
		b.Number, b.Shard, uint64(b.Epoch), b.FirstSeq, b.Next()-1, b.Count, b.Receive.Min, b.Receive.Max)
}

// Gap is a range of sequences [From, To) that the recording does not have. It is
// a fact about the recording, not damage.
type Gap struct {
	Epoch wire.Epoch
	Shard int
	From  wire.Seq
	To    wire.Seq
}
