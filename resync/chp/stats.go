package chp

import "sync/atomic"

// Stats is what a server has done. Everything that it refused, dropped or left
// out is counted here.
type Stats struct {
	Updates uint64 `json:"updates"` // published, of any origin, without HUGZ
	Sets    uint64 `json:"sets"`    // changes of clients that were made
	Expired uint64 `json:"expired"` // values removed because their time to live was over

	SetsReadOnly uint64 `json:"sets_read_only"` // changes of clients that a read-only server refused
	SetsBad      uint64 `json:"sets_bad"`       // messages at the collector that were no usable KVSET
	SetsFull     uint64 `json:"sets_full"`      // changes that the table had no room for
	UpdatesFull  uint64 `json:"updates_full"`   // updates not published because too many waited
	UpdatesBad   uint64 `json:"updates_bad"`    // updates of the store that CHP cannot carry

	Requests         uint64 `json:"requests"`          // for snapshots, of any kind
	RequestsBad      uint64 `json:"requests_bad"`      // of them, messages that were none
	RequestsBusy     uint64 `json:"requests_busy"`     // of them, refused because too many waited
	RequestsRepeated uint64 `json:"requests_repeated"` // of them, answered by the answer to an earlier one
	Served           uint64 `json:"served"`            // snapshots that were sent to their end
	Dropped          uint64 `json:"dropped"`           // snapshots given up because the requester was too slow
	Gone             uint64 `json:"gone"`              // snapshots given up because the requester was gone
	Failed           uint64 `json:"failed"`            // snapshots given up because the store or a sender failed
	Entries          uint64 `json:"entries"`           // sent in snapshots
	EntriesBad       uint64 `json:"entries_bad"`       // of the store, left out: CHP cannot carry them

	Excess uint64 `json:"excess"` // subscriptions beyond what one connection may have; it was ended

	TableEntries int    `json:"table_entries"` // in the server's own table now
	TableBytes   int    `json:"table_bytes"`   // their keys, properties and values
	Sequence     uint64 `json:"sequence"`      // the last update's
}

// counters are a server's counts while it runs. Any goroutine adds to them.
type counters struct {
	updates, sets, expired                                atomic.Uint64
	setsReadOnly, setsBad, setsFull                       atomic.Uint64
	updatesFull, updatesBad                               atomic.Uint64
	requests, requestsBad, requestsBusy, requestsRepeated atomic.Uint64
	served, dropped, gone, failed, entries, entriesBad    atomic.Uint64
	excess                                                atomic.Uint64
}

func (c *counters) snapshot() Stats {
	return Stats{
		Updates: c.updates.Load(), Sets: c.sets.Load(), Expired: c.expired.Load(),
		SetsReadOnly: c.setsReadOnly.Load(), SetsBad: c.setsBad.Load(), SetsFull: c.setsFull.Load(),
		UpdatesFull: c.updatesFull.Load(), UpdatesBad: c.updatesBad.Load(),
		Requests: c.requests.Load(), RequestsBad: c.requestsBad.Load(),
		RequestsBusy: c.requestsBusy.Load(), RequestsRepeated: c.requestsRepeated.Load(),
		Served: c.served.Load(), Dropped: c.dropped.Load(), Gone: c.gone.Load(), Failed: c.failed.Load(),
		Entries: c.entries.Load(), EntriesBad: c.entriesBad.Load(), Excess: c.excess.Load(),
	}
}
