package main

import (
	"time"

	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/resync/chp"
	"github.com/tapedeck/tapedeck/wire"
)

// cloneServer shows a proxy's last values to Clone clients. The keys are topics,
// the values bodies; clients change nothing.
type cloneServer struct {
	server *chp.Server
	at     chp.Endpoints
	simple bool // messages of three frames, of models 2 to 4
	values *lvcValues
	// first is the sequence of the table's version 0: the time at the start, so that
	// clients go on when the proxy starts again.
	first uint64
}

// openClone binds updates and collector beside endpoint, and in the simple form,
// where nobody else does, endpoint itself.
func openClone(values *lvcValues, endpoint string, simple bool, silent func() bool) (*cloneServer, error) {
	at, err := chp.At(endpoint)
	if err != nil {
		return nil, usageError{err}
	}
	c := &cloneServer{at: at, simple: simple, values: values, first: uint64(time.Now().UnixMicro())}
	cfg := chp.Config{Updates: at.Updates, Collector: at.Collector, Store: c, Separators: "./", Silent: silent}
	if simple {
		cfg.Snapshot, cfg.Form, cfg.Pull = at.Snapshot, chp.KVSimple, true
	}
	c.server, err = chp.NewServer(cfg)
	return c, err
}

// change publishes a change. Who wants it and has too much waiting is told by
// sequence that it lost something.
func (c *cloneServer) change(version uint64, topic []byte, h *wire.Plain, body []byte) {
	if h.Kind == wire.KindDelete {
		body = nil // an empty value deletes
	}
	// What cannot be queued, or has no place in a key, is counted by the server.
	_ = c.server.Update(topic, c.first+version, nil, body)
}

// Capture implements chp.Store.
func (c *cloneServer) Capture(subtree []byte) (chp.Capture, error) {
	if err := c.values.pair.accept(); err != nil {
		return nil, err
	}
	return &cloneCapture{c.values.proxy.Snapshot(string(subtree)), c.first}, nil
}

// cloneCapture is a snapshot in the words of chp.
type cloneCapture struct {
	*lvc.Snapshot
	first uint64
}

// Sequence implements chp.Capture.
func (c *cloneCapture) Sequence() uint64 { return c.first + c.Version() }

// Next implements chp.Capture.
func (c *cloneCapture) Next() (chp.Entry, bool) {
	r, _, ok := c.Snapshot.Next()
	if !ok {
		return chp.Entry{}, false
	}
	return chp.Entry{Key: r.Topic(), Value: r.Body()}, true
}
