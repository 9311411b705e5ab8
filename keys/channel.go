package keys

// Channel is what a connection is for.
type Channel string

// The channels.
const (
	Data     Channel = "data"     // the shards of a stream: every topic
	Plain    Channel = "plain"    // the plain stream, whose topics are a reader's choice
	Tap      Channel = "tap"      // what goes through a proxy: every topic
	Snapshot Channel = "snapshot" // last values and their updates: every topic
	Refill   Channel = "refill"   // records of the past: every topic
	State    Channel = "state"    // how decks, readers and recorders stand
	Change   Channel = "change"   // changes that clients make to a table that is shared
	Command  Channel = "control"  // the bus: what of it is up to each command
	Worker   Channel = "worker"   // whoever does work for others, such as tape readers
	Link     Channel = "pair"     // between the two of a pair
)

// need is what a channel takes.
type need struct {
	channel Channel
	roles   []Role // one of them
	all     bool   // and the right to every topic
}

// needs are what the channels take. Others take the role admin.
var needs = []need{
	{Data, []Role{Read, Record}, true},
	{Plain, []Role{Read, Record}, false},
	{Tap, []Role{Read, Record}, true},
	{Snapshot, []Role{Read, Record}, true},
	{Refill, []Role{Read, Record}, true},
	{State, []Role{Read, Record, Control}, false},
	{Change, []Role{Control}, false},
	{Command, []Role{Read, Record, Control}, false},
	{Worker, []Role{Record}, false},
	{Link, nil, false},
}

// Channels lists all channels.
func Channels() []Channel {
	list := make([]Channel, len(needs))
	for i, n := range needs {
		list[i] = n.channel
	}
	return list
}

// MayUse returns why a peer may not use a channel; "" where he may. Where a channel
// carries every topic, he needs the right to every topic: libzmq sends what was
// subscribed to, and whoever has a right to some topics gets those from the plain
// stream, which looks.
func (p *Peer) MayUse(c Channel) Refusal {
	for _, n := range needs {
		switch {
		case n.channel != c:
			continue
		case !p.May(n.roles...):
			return RefusedRole
		case n.all && !p.MayReadAll():
			return RefusedTopics
		}
		return ""
	}
	if !p.May(Admin) {
		return RefusedRole
	}
	return ""
}
