package lvc

import (
	"encoding/json"

	"github.com/tapedeck/tapedeck/wire"
)

// The proxy's own topics on the plain stream, beside wire.HeartbeatTopic and
// wire.SquawkTopic.
const (
	GapTopic = wire.OperatorPrefix + "gap"
	EndTopic = wire.OperatorPrefix + "end"
)

// HeartbeatNotice is the body of a heartbeat, as JSON.
type HeartbeatNotice struct {
	Topics int   `json:"topics"` // that have a last value
	Bytes  int64 `json:"bytes"`  // that they take
	Full   bool  `json:"full"`   // values are missing because the table is full
	// Partial: values may be missing or old, because not all of the stream came.
	Partial   bool       `json:"partial"`
	Positions []Position `json:"positions"`
}

// Position is how far a shard of the stream has come.
type Position struct {
	Shard int        `json:"shard"`
	Epoch wire.Epoch `json:"epoch"` // 0: nothing has come
	Next  wire.Seq   `json:"next"`  // sequence of the next record
}

// GapNotice is the body of a notice on GapTopic: records that never reached the
// proxy.
type GapNotice struct {
	Shard int        `json:"shard"`
	Epoch wire.Epoch `json:"epoch"`
	From  wire.Seq   `json:"from"`
	To    wire.Seq   `json:"to"`
}

// EndNotice is the body of a notice on EndTopic: a shard's stream has ended.
type EndNotice struct {
	Shard    int        `json:"shard"`
	Epoch    wire.Epoch `json:"epoch"`
	Complete bool       `json:"complete"` // all of it came
}

// noticeLocked sends a notice of the proxy's own.
func (p *Proxy) noticeLocked(topic string, body any) {
	if p.hub.filters.nobody() && p.hub.ring == nil {
		return
	}
	b, err := json.Marshal(body)
	if err != nil {
		panic("BUG: a notice does not marshal: " + err.Error())
	}
	p.publishNoticeLocked(topic, b)
}

func (p *Proxy) publishNoticeLocked(topic string, body []byte) {
	now := p.cfg.Now()
	p.hub.publishLocked(topic, &wire.Plain{Kind: wire.KindNotice, Event: now, Receive: now, Send: now}, body)
}

// heartbeat tells plain readers that the proxy lives, and how far it has come.
func (p *Proxy) heartbeat() {
	p.hub.mu.Lock()
	defer p.hub.mu.Unlock()
	if p.hub.ring == nil { // a passive proxy gives no sign of life to readers
		p.noticeLocked(wire.HeartbeatTopic, HeartbeatNotice{
			Topics: p.table.len(), Bytes: p.table.bytes, Full: p.table.full(), Partial: p.partialLocked(), Positions: p.positionsLocked(),
		})
	}
	if p.tap != nil {
		p.tap.report()
	}
}

func (p *Proxy) positionsLocked() []Position {
	list := make([]Position, len(p.feeds))
	for i, f := range p.feeds {
		list[i] = Position{Shard: i, Epoch: f.epoch, Next: f.next}
	}
	return list
}
