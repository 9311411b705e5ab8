package titanic

// Counters are what a Titanic has counted since it was opened, and, where it says
// so, what it holds.
type Counters struct {
	Added    uint64 `json:"added"`    // jobs taken in
	Repeated uint64 `json:"repeated"` // adds of a job that was there, by its key
	Refused  uint64 `json:"refused"`  // adds refused: bad, too large, or no room
	Errors   uint64 `json:"errors"`   // requests that the disk failed

	Dispatched uint64 `json:"dispatched"` // times that a service was asked
	Unanswered uint64 `json:"unanswered"` // ... and did not answer
	Unsettled  uint64 `json:"unsettled"`  // ... and answered that it is to be asked again
	Late       uint64 `json:"late"`       // replies to jobs that had ended meanwhile; dropped
	Answered   uint64 `json:"answered"`   // jobs whose reply was stored

	Closed    uint64 `json:"closed"`
	Cancelled uint64 `json:"cancelled"`
	Expired   uint64 `json:"expired"`
	Failed    uint64 `json:"failed"`

	Malformed         uint64 `json:"malformed"` // requests to the three services that are none
	Syncs             uint64 `json:"syncs"`     // of the log; several jobs share one
	Compactions       uint64 `json:"compactions"`
	CompactionsFailed uint64 `json:"compactions_failed"`
	Reopened          uint64 `json:"reopened"` // times that the log was opened again because the disk had failed
	Fenced            uint64 `json:"fenced"`   // times that another process took the log: 1, and it is over
	SignsFailed       uint64 `json:"signs_failed"`

	Epoch      uint64 `json:"epoch"`      // held: of this opening of the log; each has a later one
	Pending    int    `json:"pending"`    // held: jobs that wait for a reply
	Waiting    int    `json:"waiting"`    // held: replies that wait to be taken
	Remembered int    `json:"remembered"` // held: ended jobs whose keys are known
	Flying     int    `json:"flying"`     // held: services that are being asked
	LiveBytes  int64  `json:"live_bytes"` // of the log
	UsedBytes  int64  `json:"used_bytes"`
	LogBytes   int64  `json:"log_bytes"` // with the space reserved
}
