package control

// RecorderStart starts a recorder: a stream is written to a tape.
type RecorderStart struct {
	// Recorder is its name: letters, digits, '-', '_' and '.', at most 64. Default: the
	// name of the tape without .tape.
	Recorder string `json:"recorder,omitempty"`
	// Connect is where the stream's shards are, in the form of record --connect.
	Connect string `json:"connect"`
	Shards  int    `json:"shards,omitempty"` // default 1, or as many as Connect lists
	// Tape to write, by its name in the tapes directory; with Ring the directory of
	// the flight recorder.
	Tape string `json:"tape"`
	// Append goes on with a tape that exists.
	Append bool   `json:"append,omitempty"`
	Codec  string `json:"codec,omitempty"` // plain, s2, zstd or columns
	// Follow stays after the end of the stream, for the next session.
	Follow bool `json:"follow,omitempty"`
	// Silence is how long a shard may say nothing before the recorder fails, such as
	// 30s. Default: for ever.
	Silence string `json:"silence,omitempty"`
	// RetainSize and RetainAge bound what is kept, such as 100GB and 24h.
	RetainSize string `json:"retain_size,omitempty"`
	RetainAge  string `json:"retain_age,omitempty"`
	// Ring keeps only the last so many minutes, such as 10m, which dump writes out.
	Ring string `json:"ring,omitempty"`
	// Resync are the endpoints to get what was missed from.
	Resync []string `json:"resync,omitempty"`
	// ResyncBind is where others get from this recorder what they missed.
	ResyncBind string `json:"resync_bind,omitempty"`
}

// RecorderOf names a recorder.
type RecorderOf struct {
	// Recorder may be left out where exactly one is there; in status it then means
	// all.
	Recorder string `json:"recorder,omitempty"`
}

// RecorderState is a recorder as it is; it is the value of the key
// /recorder/NAME/state, too.
type RecorderState struct {
	Recorder string `json:"recorder"`
	// Phase is recording, finished (the stream has ended, or stop was said) or
	// failed; then Error says why.
	Phase   string `json:"phase"`
	Error   string `json:"error,omitempty"`
	Version uint64 `json:"version"` // one greater after each change of phase or dumps

	Tape        string `json:"tape"`
	Connect     string `json:"connect"`
	Shards      int    `json:"shards"`
	Ring        int64  `json:"ring_ns,omitempty"`
	Resync      string `json:"resync,omitempty"` // where it gives what others missed
	StartedTime int64  `json:"started_time"`
	UpdatedTime int64  `json:"updated_time"`

	Records uint64 `json:"records"`
	Gaps    uint64 `json:"gaps"`
	Lost    uint64 `json:"lost"`
	Corrupt uint64 `json:"corrupt"`
	// Complete: everything of the stream, from first to last, is on the tape. Known
	// when Phase is finished.
	Complete     bool         `json:"complete"`
	PayloadBytes uint64       `json:"payload_bytes"`
	StoredBytes  uint64       `json:"stored_bytes"`
	Dumps        []RecordDump `json:"dumps,omitempty"` // the latest 16
}

// RecordDump is a ring's content, written out as a tape of its own: what dump
// answers.
type RecordDump struct {
	Tape         string  `json:"tape"`
	Records      uint64  `json:"records"`
	Blocks       int     `json:"blocks"`
	MinReceive   int64   `json:"min_receive_time"`
	MaxReceive   int64   `json:"max_receive_time"`
	LinkedBytes  int64   `json:"linked_bytes"`
	CopiedBytes  int64   `json:"copied_bytes"`
	Seconds      float64 `json:"seconds"`
	FinishedTime int64   `json:"finished_time"`
}

// RecorderList is what status answers, by name.
type RecorderList struct {
	Recorders []RecorderState `json:"recorders"`
}
