package wire

import "fmt"

// FormatError says why bytes are not a message of this format.
type FormatError struct {
	Reason string // one of a fixed set of texts, so it can be a counter's label
	Shard  int    // shard of the batch; -1 where no header was understood
	Seq    Seq    // first sequence of the batch, where Shard is not -1
	Offset int    // offset of the bad record in the payload; -1 where it is no record's fault
}

// Error implements error.
func (e *FormatError) Error() string {
	switch {
	case e.Shard < 0:
		return "wire: " + e.Reason
	case e.Offset < 0:
		return fmt.Sprintf("wire: shard %d, batch at sequence %d: %s", e.Shard, e.Seq, e.Reason)
	}
	return fmt.Sprintf("wire: shard %d, batch at sequence %d, payload offset %d: %s", e.Shard, e.Seq, e.Offset, e.Reason)
}

// The reasons of a FormatError.
const (
	reasonSignature   = "not a Tapedeck message (signature)"
	reasonVersion     = "unknown version"
	reasonHeaderSize  = "header frame has the wrong size"
	reasonReserved    = "reserved field is not zero"
	reasonHeaderFlags = "unknown or contradictory batch flags"
	reasonShard       = "shard number is outside the stream's shards"
	reasonEpoch       = "epoch is zero"
	reasonSizes       = "payload or order size is out of bounds"
	reasonBareCount   = "mark with records or payload"
	reasonNotice      = "notice is not exactly one record of kind notice"
	reasonCount       = "record count does not fit the payload"
	reasonOverflow    = "sequence or ordinal overflows"
	reasonFrameSizes  = "frame sizes differ from the header"
	reasonCRC         = "payload checksum differs"
	reasonRecordHead  = "record head is cut off"
	reasonTopicEmpty  = "record has an empty topic"
	reasonRecordFlags = "unknown record flag"
	reasonRecordCut   = "record is cut off"
	reasonWide        = "record has wide times without need"
	reasonTrailing    = "bytes after the last record"
	reasonOrder       = "order frame does not fit the records"
	reasonByReference = "batch is a reference and not its bytes"
	reasonNoReference = "batch is no reference"
	reasonReference   = "reference frame has the wrong size or a reserved field is not zero"
)
