package chp

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// Config says how a server works. The zero value of a field means its default.
type Config struct {
	// Snapshot, Updates and Collector are the endpoints to bind: CHP's ports P,
	// P+1 and P+2. Without Snapshot, requests come through Serve and Answer alone;
	// without Collector, changes come through Set alone.
	Snapshot, Updates, Collector string

	Form Form // of all messages; default: KVMsg, which CHP is
	Pull bool // the collector is a PULL socket, as in models 3 to 5, not CHP's SUB

	// Channel is what snapshots and updates are for to whoever checks who may connect
	// (zsock.Lock); default: zsock.ChannelSnapshot. The collector's is ChannelChange.
	Channel string

	Store    Store // state that somebody else keeps; default: a table of the server's own
	ReadOnly bool  // clients' changes are counted and refused; always so with a Store

	Epoch uint64 // identity of the server's run; default: random
	// First is the sequence of the first update. Default: the time, in microseconds
	// since 1970. A server that starts again then begins above where it ended, so
	// that plain clients, who drop everything that is not newer, go on, and numbers
	// stay below 2^53, for clients that have no integers.
	First uint64
	// Separators end a subtree, for telling clients what came before an update in
	// theirs; any prefix can be asked for all the same. Default: "/", as in CHP.
	Separators string

	EntriesMax int // entries of the table; default: 1,000,000
	BytesMax   int // keys, properties and values of the table; default: 1 GiB
	ValueMax   int // one value, bytes; default: 1 MiB

	QueueMax     int // updates that wait to be published, bytes; default: 64 MiB
	UpdatesQueue int // messages that wait for one slow listener before it loses some; default: 100,000
	// SnapshotQueue is how many entries wait for one requester, beyond what the
	// kernel holds; with large values, take fewer. Default: 1,000.
	SnapshotQueue int

	Requesters int           // snapshots that are on their way at once; default: 64
	Waiting    int           // further requests that wait their turn; default: 1,024
	Stall      time.Duration // a requester that takes nothing for so long gets no more; default: 10 s
	Patience   time.Duration // a snapshot that takes longer is given up; default: 5 min

	Hugz time.Duration // between signs of life; default: 1 s
	// Silent, where it is set, is asked before every sign of life; while it says true
	// there is none, so that clients go to another server. Default: never.
	Silent func() bool
}

// withDefaults checks c and fills in what is missing.
func (c Config) withDefaults() (Config, error) {
	bad := func(format string, args ...any) (Config, error) {
		return c, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...)
	}
	c.Channel = cmp.Or(c.Channel, zsock.ChannelSnapshot)
	for _, f := range []struct {
		name  string
		value *int
		usual int
	}{
		{"EntriesMax", &c.EntriesMax, 1_000_000}, {"BytesMax", &c.BytesMax, 1 << 30}, {"ValueMax", &c.ValueMax, 1 << 20},
		{"QueueMax", &c.QueueMax, 64 << 20}, {"UpdatesQueue", &c.UpdatesQueue, 100_000}, {"SnapshotQueue", &c.SnapshotQueue, 1000},
		{"Requesters", &c.Requesters, 64}, {"Waiting", &c.Waiting, 1024},
	} {
		if *f.value < 0 {
			return bad("%s is %d", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.usual
		}
	}
	for _, f := range []struct {
		name  string
		value *time.Duration
		usual time.Duration
	}{{"Stall", &c.Stall, 10 * time.Second}, {"Patience", &c.Patience, 5 * time.Minute}, {"Hugz", &c.Hugz, time.Second}} {
		if *f.value < 0 {
			return bad("%s is %v", f.name, *f.value)
		}
		if *f.value == 0 {
			*f.value = f.usual
		}
	}
	switch {
	case c.Updates == "":
		return bad("no endpoint for updates")
	case c.Form > KVSimple:
		return bad("form is %d", c.Form)
	case c.Store != nil && c.First != 0:
		return bad("sequences are the store's, but First is %d", c.First)
	case c.First > math.MaxInt64:
		return bad("First is above 2^63-1")
	case strings.ContainsRune(c.Separators, 0):
		return bad("a zero byte as separator")
	}
	if c.Separators == "" {
		c.Separators = "/"
	}
	for c.Epoch == 0 {
		c.Epoch = rand.Uint64()
	}
	switch {
	case c.Store != nil:
		c.First, c.ReadOnly = 1, true
	case c.First == 0:
		c.First = uint64(time.Now().UnixMicro())
	}
	return c, nil
}
