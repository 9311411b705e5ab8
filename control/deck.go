package control

// DeckOpen opens a deck. A deck that is open keeps its endpoints and its readers
// through every other command, until it is closed.
type DeckOpen struct {
	// Deck is the deck's name: letters, digits, '-', '_' and '.', at most 64. Default:
	// the name of the first tape without .tape.
	Deck string `json:"deck,omitempty"`
	// Tapes to play, by their names in the tapes directory. Several are merged in
	// the order of Clock. At least one.
	Tapes []string `json:"tapes"`
	// Clock is receive (the default), event or send.
	Clock string `json:"clock,omitempty"`
	// Speed is max, or a factor such as 1x (the default), 10x, 0.5x.
	Speed string `json:"speed,omitempty"`
	// From and To bound what is played: a Place that is no distance. Default: all.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Topics are prefixes of the topics to play. Default: all.
	Topics []string `json:"topics,omitempty"`
	// Shards of the stream. Default: as many as the first tape has.
	Shards int `json:"shards,omitempty"`
	// Bind is where the shards are bound, in the form of play --bind. Default: free
	// ports that the serving process chooses.
	Bind string `json:"bind,omitempty"`
	// Wait is how many readers to wait for before the first record.
	Wait int `json:"wait,omitempty"`
	// Paused begins paused: the first record goes out when the deck is told to play.
	Paused bool `json:"paused,omitempty"`
	// Live lets a slow reader lose records instead of waiting for it.
	Live bool `json:"live,omitempty"`
	// Passes is how often to play all of it; -1: for ever. Default 1. At the end of
	// the last one the deck is held, and can be sent back.
	Passes int `json:"passes,omitempty"`
	// LoopFrom and LoopTo are played again and again, as with the command loop; a
	// distance in LoopFrom counts from the start.
	LoopFrom string `json:"loop_from,omitempty"`
	LoopTo   string `json:"loop_to,omitempty"`
	// Squeeze cuts stretches without records down to this duration, such as 1s.
	Squeeze string `json:"squeeze,omitempty"`
	// Barrier names the readers that the deck waits for, record by record; at most
	// BarrierWindow records (default 1) are ahead of the slowest, and where one is
	// missing for longer than BarrierTimeout, such as 30s, the deck fails. Default:
	// it waits for ever.
	Barrier        []string `json:"barrier,omitempty"`
	BarrierWindow  int      `json:"barrier_window,omitempty"`
	BarrierTimeout string   `json:"barrier_timeout,omitempty"`
	// Faults does to the stream what a bad network would, in the form of play
	// --faults.
	Faults string `json:"faults,omitempty"`
	// ResyncBind is where readers get what they missed. Default: a free port that
	// the serving process chooses; "off": nowhere.
	ResyncBind string `json:"resync_bind,omitempty"`
}

// DeckOf names a deck. It is what commands without further arguments take.
type DeckOf struct {
	// Deck may be left out where exactly one is open.
	Deck string `json:"deck,omitempty"`
}

// DeckPlay makes a deck play, at another speed where one is given.
type DeckPlay struct {
	DeckOf
	Speed string `json:"speed,omitempty"`
}

// DeckStep pauses a deck and sends the next N records, in the tape's one order.
type DeckStep struct {
	DeckOf
	N int `json:"n,omitempty"` // default 1
}

// DeckSeek sends a deck to another place. Readers get a new epoch, every topic's
// last value as of there, and then what follows.
type DeckSeek struct {
	DeckOf
	To string `json:"to"` // a Place
}

// DeckMark puts a mark at a deck's position on its tape.
type DeckMark struct {
	DeckOf
	Name string `json:"name"`
	Note string `json:"note,omitempty"`
}

// DeckSpeed changes a deck's speed from where it is.
type DeckSpeed struct {
	DeckOf
	Speed string `json:"speed"` // max, or a factor such as 10x
}

// DeckSqueeze cuts stretches without records down to a duration, from where the deck
// is.
type DeckSqueeze struct {
	DeckOf
	Squeeze string `json:"squeeze"` // a duration, such as 1s; off: they last what they last
}

// DeckLoop makes a deck play [From, To) again and again, or, with Off, go on.
type DeckLoop struct {
	DeckOf
	From string `json:"from,omitempty"` // a Place
	To   string `json:"to,omitempty"`   // a Place; a distance counts from From
	Off  bool   `json:"off,omitempty"`
}

// DeckFilter changes which topics a deck plays. Readers get a new epoch.
type DeckFilter struct {
	DeckOf
	Topics []string `json:"topics"` // prefixes; none: all topics
}

// DeckState is a deck as it is. It is the value of the key /deck/NAME/state, too.
type DeckState struct {
	Deck string `json:"deck"`
	// Phase is waiting (for readers), playing, paused, held (at the end), finished,
	// standby (the other one of a pair plays, and what follows is as that says), or
	// failed; then Error says why.
	Phase string `json:"phase"`
	Error string `json:"error,omitempty"`
	// Version is one greater after each change of anything but the position.
	Version uint64 `json:"version"`
	// UpdatedTime is when this was so.
	UpdatedTime int64 `json:"updated_time"`

	Tapes   []string `json:"tapes"`
	Clock   string   `json:"clock"` // that times of tapes are of
	Session string   `json:"session"`
	// FirstTime and LastTime are the tape times of the first and last record of what
	// is played; 0 where there is none.
	FirstTime    int64  `json:"first_time"`
	LastTime     int64  `json:"last_time"`
	TotalRecords uint64 `json:"total_records"` // on the tapes

	Speed    string        `json:"speed"`
	Topics   []string      `json:"topics,omitempty"` // played; none: all
	Loop     *DeckInterval `json:"loop,omitempty"`
	Squeeze  int64         `json:"squeeze_ns,omitempty"`
	Squeezed int64         `json:"squeezed_ns,omitempty"` // left out so far
	Lossless bool          `json:"lossless"`
	Barrier  []string      `json:"barrier,omitempty"`
	Faults   string        `json:"faults,omitempty"`

	DeckPosition

	// Shards are the endpoints to connect to; Resync is where what was missed is
	// to be had, "" for nowhere.
	Shards  []string `json:"shards"`
	Resync  string   `json:"resync,omitempty"`
	Readers int      `json:"readers"`
	// Pair is the deck's part in a pair; nil where it has none.
	Pair *DeckPair `json:"pair,omitempty"`
	// Pacing is how late records left; nil before one was paced.
	Pacing *Pacing `json:"pacing_error,omitempty"`
}

// DeckPair is what a deck of a pair knows of the other one.
type DeckPair struct {
	Role  string `json:"role"`  // primary or backup
	State string `json:"state"` // waiting, active or passive
	Epoch uint64 `json:"pair_epoch"`
	// Other are the other one's shards: readers connect to them, too, and change
	// nothing when that takes over.
	Other []string `json:"other,omitempty"`
	// Ready says that the passive one of the two could go on now; Error why it could not.
	Ready bool   `json:"ready"`
	Error string `json:"error,omitempty"`
}

// DeckPosition is where a deck is. It is the value of the key /deck/NAME/position,
// too.
type DeckPosition struct {
	// PositionTime is the tape time of the latest record that went out; after a seek,
	// of the next one. 0 before the first.
	PositionTime int64 `json:"position_time"`
	// Ordinal is the place in the one order of what is played: everything before it
	// has gone out.
	Ordinal uint64 `json:"ordinal"`
	Records uint64 `json:"records"` // sent, over all passes, last values not counted
	Epoch   uint64 `json:"epoch"`   // of the stream
	Pass    int    `json:"pass"`    // from 0
}

// DeckInterval is a stretch [From, To) of tape time.
type DeckInterval struct {
	From int64 `json:"from_time"`
	To   int64 `json:"to_time"`
}

// Pacing is how long after their due moments records left.
type Pacing struct {
	P50  int64 `json:"p50_ns"`
	P90  int64 `json:"p90_ns"`
	P99  int64 `json:"p99_ns"`
	P999 int64 `json:"p999_ns"`
	Max  int64 `json:"max_ns"`
}

// DeckResult is what every command of one deck answers: the deck after the
// command has taken effect.
type DeckResult struct {
	DeckState
	TookUs int64 `json:"took_us"` // from the command to its effect, microseconds
}

// DeckMarked is what mark answers.
type DeckMarked struct {
	DeckResult
	Mark TapeMark `json:"mark"`
	Tape string   `json:"tape"` // that it is on
}

// DeckList is what list answers: every open deck, by name.
type DeckList struct {
	Decks []DeckState `json:"decks"`
}

// DeckWatch is what watch answers: where the deck's keys are shared as a Clone,
// under Prefix, and the deck as it is now.
type DeckWatch struct {
	ClonePlace
	Prefix string    `json:"prefix"`
	State  DeckState `json:"state"`
}

// ClonePlace is where a Clone server of the serving process is; both "" where
// there is none.
type ClonePlace struct {
	Snapshot string `json:"snapshot"` // ROUTER
	Updates  string `json:"updates"`  // PUB
}
