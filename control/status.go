package control

// Status is everything in short: what status answers. It is the value of the key
// /status, too, then without Decks and Recorders, which have keys of their own.
type Status struct {
	Version     string          `json:"version"` // of the program
	Host        string          `json:"host"`
	PID         int             `json:"pid"`
	StartedTime int64           `json:"started_time"`
	Uptime      int64           `json:"uptime_ns"`
	Tapes       string          `json:"tapes"` // directory
	Bus         BusState        `json:"bus"`
	Clone       ClonePlace      `json:"clone"`             // of the keys that this schema defines
	Metrics     string          `json:"metrics,omitempty"` // URL
	Decks       []DeckState     `json:"decks,omitempty"`
	Recorders   []RecorderState `json:"recorders,omitempty"`
	LVC         []LVCState      `json:"lvc,omitempty"`
	Resync      []ResyncState   `json:"resync,omitempty"`
	Pairs       []PairState     `json:"pairs,omitempty"` // that parts of the process are halves of
	Jobs        JobCounts       `json:"jobs"`
	Limits      Limits          `json:"limits"`
}

// BusState is the broker.
type BusState struct {
	Endpoints []string       `json:"endpoints"`
	Services  []ServiceState `json:"services"`
}

// ServiceState is a service of the bus, as its broker sees it.
type ServiceState struct {
	Service string `json:"service"`
	Workers int    `json:"workers"`
	Busy    int    `json:"busy"`
	Waiting int    `json:"waiting"` // requests
}

// LVCState is a proxy of last values.
type LVCState struct {
	Name     string   `json:"name"`
	Plain    []string `json:"plain"`
	Snapshot string   `json:"snapshot,omitempty"`
	Topics   int      `json:"topics"`
	Records  uint64   `json:"records"`
	Readers  int      `json:"readers"`
	Partial  bool     `json:"partial"`
}

// ResyncState is where readers get what they missed.
type ResyncState struct {
	Endpoint string `json:"endpoint"`
	Of       string `json:"of"` // deck NAME, recorder NAME, lvc NAME
	Refills  uint64 `json:"refills"`
	Records  uint64 `json:"records"`
}

// JobCounts counts the jobs that are kept, by state.
type JobCounts struct {
	Stored    int `json:"stored"`
	Running   int `json:"running"`
	Done      int `json:"done"`
	Failed    int `json:"failed"`
	Cancelled int `json:"cancelled"`
	Expired   int `json:"expired"`
}

// Limits are how many there may be.
type Limits struct {
	Decks     int `json:"decks"`
	Recorders int `json:"recorders"`
	Jobs      int `json:"jobs"`
}
