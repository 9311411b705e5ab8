package control

import "encoding/json"

// TapeOf names a tape: a path relative to the tapes directory of the serving
// process, with slashes, never leading out of it.
type TapeOf struct {
	Tape string `json:"tape"`
}

// TapesList asks for the tapes of a directory below the tapes directory, "" for
// that itself, and of all below it.
type TapesList struct {
	Dir string `json:"dir,omitempty"`
}

// TapesLast asks for every topic's last record as of a moment.
type TapesLast struct {
	TapeOf
	At     string   `json:"at,omitempty"`     // a Place that is no distance; default: the end of the tape
	Clock  string   `json:"clock,omitempty"`  // receive (the default), event or send
	Topics []string `json:"topics,omitempty"` // prefixes; default: all
	Limit  int      `json:"limit,omitempty"`  // records in the answer at most; default and most 1000
}

// TapesListed is what list answers, by name.
type TapesListed struct {
	Dir   string      `json:"dir"` // the tapes directory, as the serving process sees it
	Tapes []TapeEntry `json:"tapes"`
	More  int         `json:"more,omitempty"` // tapes that there was no room for
}

// TapeEntry is a tape in a list.
type TapeEntry struct {
	Tape        string `json:"tape"`
	Records     uint64 `json:"records"`
	Topics      int    `json:"topics"`
	Shards      int    `json:"shards"`
	FirstTime   int64  `json:"first_receive_time"`
	LastTime    int64  `json:"last_receive_time"`
	StoredBytes uint64 `json:"stored_bytes"`
	Closed      bool   `json:"closed"`          // false: its writer is running, or was killed
	Error       string `json:"error,omitempty"` // why it cannot be read
}

// TapeInfo is what info answers: the message info of tapedeck info --json.
type TapeInfo struct {
	Tape         string         `json:"tape"`
	ID           string         `json:"id"`
	Created      string         `json:"created"`
	Generator    string         `json:"generator"`
	Closed       bool           `json:"closed"`
	Records      uint64         `json:"records"`
	Topics       int            `json:"topics"`
	FirstEvent   int64          `json:"first_event_time"`
	LastEvent    int64          `json:"last_event_time"`
	MinEvent     int64          `json:"min_event_time"`
	MaxEvent     int64          `json:"max_event_time"`
	FirstReceive int64          `json:"first_receive_time"`
	LastReceive  int64          `json:"last_receive_time"`
	MinReceive   int64          `json:"min_receive_time"`
	MaxReceive   int64          `json:"max_receive_time"`
	Shards       int            `json:"shards"`
	Epochs       int            `json:"epochs"`
	Codec        string         `json:"codec"`
	PayloadBytes uint64         `json:"payload_bytes"`
	StoredBytes  uint64         `json:"stored_bytes"`
	Blocks       int            `json:"blocks"`
	Segments     int            `json:"segments"`
	Removed      uint64         `json:"removed_records"`
	RemovedSegs  int            `json:"removed_segments"`
	SyncInterval int64          `json:"sync_interval_ns"`
	Digest       string         `json:"digest"`
	Sources      []string       `json:"sources"`
	Encodings    []TapeEncoding `json:"encodings"`
	Torn         *TapeTorn      `json:"torn,omitempty"`
}

// TapeEncoding says how the bodies of some topics are encoded.
type TapeEncoding struct {
	Format string            `json:"format"`
	Detail map[string]string `json:"detail,omitempty"`
	Topics string            `json:"topics,omitempty"` // prefix; "" is all
}

// TapeTorn is half of a block at a tape's end: its writer was killed.
type TapeTorn struct {
	Segment string `json:"segment"`
	Offset  int64  `json:"offset"`
	Bytes   int64  `json:"bytes"`
	Reason  string `json:"reason"`
}

// TapeVerified is what verify answers: the message verify.summary of tapedeck
// verify --json, and the first of what it found.
type TapeVerified struct {
	Tape     string    `json:"tape"`
	OK       bool      `json:"ok"`
	Closed   bool      `json:"closed"`
	Records  uint64    `json:"records"`
	Blocks   int       `json:"blocks"`
	Bytes    int64     `json:"bytes"`
	Problems int       `json:"problems"`
	Warnings int       `json:"warnings"`
	Gaps     int       `json:"gaps"`
	Digest   string    `json:"digest"`
	Torn     *TapeTorn `json:"torn,omitempty"`
	// Found lists problems, then warnings, as text: 100 at most.
	Found []string `json:"found,omitempty"`
}

// TapeLast is what last answers, in order of the topics.
type TapeLast struct {
	Tape    string `json:"tape"`
	At      int64  `json:"at_time"` // the greatest possible time where none was asked for
	Clock   string `json:"clock"`
	Topics  int    `json:"topics"`  // that have a record then
	Unknown int    `json:"unknown"` // that had one which retention has removed
	// Records are at most Limit of them, each a TapeRecord, as they were sent: their
	// fields keep their order and all digits.
	Records []json.RawMessage `json:"records"`
}

// TapeRecord is one record: the message record of tapedeck cat --json.
type TapeRecord struct {
	Topic       string         `json:"topic"`
	TopicSeq    uint64         `json:"topic_seq"`
	Kind        string         `json:"kind"`
	EventTime   int64          `json:"event_time"`
	ReceiveTime int64          `json:"receive_time"`
	Flags       []string       `json:"flags,omitempty"`
	Body        map[string]any `json:"body,omitempty"`        // decoded, where an encoding fits
	BodyBase64  string         `json:"body_base64,omitempty"` // else
}

// TapeMark is a named moment on a tape.
type TapeMark struct {
	Name  string `json:"name"`
	Clock string `json:"clock"`
	Time  int64  `json:"time"`
	Note  string `json:"note,omitempty"`
}
