package control

import "encoding/json"

// Kinds of jobs.
const (
	JobImport = "import" // Args is an ImportArgs
	JobExport = "export" // Args is an ExportArgs
	JobRecord = "record" // Args is a RecordArgs
)

// JobAdd stores a job, to be done once, whatever dies meanwhile. It is on the disk
// when it is answered.
type JobAdd struct {
	Kind string          `json:"kind"`
	Args json.RawMessage `json:"args"`
	// Key makes adding safe to repeat for ever: what is added with the same key is
	// the same job. Default: none; then the client's id and number tell a repeat, as
	// long as the service remembers them.
	Key string `json:"key,omitempty"`
	// At is when to begin at the earliest: RFC 3339, nanoseconds since 1970, or +
	// and a duration. Default: now.
	At string `json:"at,omitempty"`
	// Expires is when not to begin any more, in the same form. Default: the service's.
	Expires string `json:"expires,omitempty"`
	Note    string `json:"note,omitempty"` // for people
}

// JobOf names a job, or, in list, all.
type JobOf struct {
	ID string `json:"id"`
}

// JobAdded is what add answers.
type JobAdded struct {
	JobState
	Created bool `json:"created"` // false: it was there, by its key
}

// JobState is a job as it is; what show, cancel and wait answer, too.
type JobState struct {
	ID   string          `json:"id"`
	Kind string          `json:"kind"`
	Key  string          `json:"key,omitempty"`
	Note string          `json:"note,omitempty"`
	Args json.RawMessage `json:"args,omitempty"`
	// State is stored, running, done, failed, cancelled or expired.
	State      string `json:"state"`
	Attempts   int    `json:"attempts"`
	AddedTime  int64  `json:"added_time"`
	AtTime     int64  `json:"at_time,omitempty"`
	ExpireTime int64  `json:"expire_time,omitempty"`
	EndedTime  int64  `json:"ended_time,omitempty"`
	// Code, Reason and Try are those of the reply of a job that is done or failed;
	// Result is of one that is done: the summary message of the command.
	Code   Code            `json:"code,omitempty"`
	Reason string          `json:"reason,omitempty"`
	Try    string          `json:"try,omitempty"`
	Result json.RawMessage `json:"result,omitempty"`
}

// JobList is what list answers, the newest first.
type JobList struct {
	Jobs []JobState `json:"jobs"` // without Args and Result
	More int        `json:"more,omitempty"`
}

// ImportArgs is a vendor's file to import; the fields are the flags of tapedeck
// import.
type ImportArgs struct {
	File      string   `json:"file"` // as the serving process sees it
	Tape      string   `json:"tape"` // to write, by its name in the tapes directory
	Format    string   `json:"format,omitempty"`
	Preset    string   `json:"preset,omitempty"`
	Columns   string   `json:"columns,omitempty"`
	Header    string   `json:"header,omitempty"`
	TimeUnit  string   `json:"time_unit,omitempty"`
	Date      string   `json:"date,omitempty"`
	Zone      string   `json:"zone,omitempty"`
	Topic     string   `json:"topic,omitempty"`
	Groups    []string `json:"group,omitempty"`
	AB        string   `json:"ab,omitempty"`
	Clock     string   `json:"clock,omitempty"`
	Dataset   string   `json:"dataset,omitempty"`
	Member    string   `json:"member,omitempty"`
	Codec     string   `json:"codec,omitempty"`
	Shards    int      `json:"shards,omitempty"`
	BlockSize int      `json:"block_size,omitempty"`
	SkipBad   bool     `json:"skip_bad,omitempty"`
}

// ExportArgs is a tape to export; the fields are the flags of tapedeck export.
type ExportArgs struct {
	Tape   string   `json:"tape"`
	File   string   `json:"file"` // to write, as the serving process sees it
	To     string   `json:"to"`   // the format
	From   string   `json:"from,omitempty"`
	Until  string   `json:"until,omitempty"`
	Clock  string   `json:"clock,omitempty"`
	Topics []string `json:"topics,omitempty"`
	Force  bool     `json:"force,omitempty"`
	Zstd   bool     `json:"zstd,omitempty"`
}

// RecordArgs is a recording of a length: from when the job begins, for For, or to
// the end of the stream.
type RecordArgs struct {
	RecorderStart
	For string `json:"for,omitempty"` // a duration, such as 6h30m
}
