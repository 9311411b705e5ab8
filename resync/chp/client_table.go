package chp

import "bytes"

// replace implements host: the table is a new one, at once, and watchers get
// what differs. So keys that were deleted meanwhile do not survive.
func (c *Client) replace(t *table) {
	c.mu.Lock()
	old := c.table
	c.table = t
	watchers := c.watchersLocked()
	c.mu.Unlock()
	if len(watchers) == 0 {
		return
	}
	// Only this goroutine changes tables.
	for w := (walk{chunks: old.chunks}); ; {
		e := w.next()
		if e == nil {
			break
		}
		if t.get(e.Key) == nil {
			tell(watchers, &Change{Entry: Entry{Key: e.Key, Sequence: e.Sequence}, Deleted: true})
		}
	}
	for w := (walk{chunks: t.chunks}); ; {
		e := w.next()
		if e == nil {
			break
		}
		if had := old.get(e.Key); had == nil || !bytes.Equal(had.Value, e.Value) || !bytes.Equal(had.Properties, e.Properties) {
			tell(watchers, &Change{Entry: *e})
		}
	}
}

// apply implements host.
func (c *Client) apply(m *Message) {
	ch := Change{Deleted: len(m.Value) == 0}
	c.mu.Lock()
	if ch.Deleted {
		ch.Entry = Entry{Key: m.Key, Sequence: m.Sequence}
		if old := c.table.remove(m.Key); old != nil {
			ch.Key = old.Key
		} else {
			ch.Key = bytes.Clone(m.Key)
		}
	} else {
		it := newItem(entryOf(m, c.net.now))
		c.table.put(it)
		ch.Entry = it.Entry
	}
	watchers := c.watchersLocked()
	c.mu.Unlock()
	tell(watchers, &ch)
}

// watchersLocked returns the watchers that are to be told, and lets the others
// go.
func (c *Client) watchersLocked() []*watcher {
	kept := c.watchers[:0]
	for _, w := range c.watchers {
		if !w.gone {
			kept = append(kept, w)
		}
	}
	clear(c.watchers[len(kept):])
	c.watchers = kept
	return kept // changed by the loop alone
}

func tell(watchers []*watcher, ch *Change) {
	for _, w := range watchers {
		if hasPrefix(ch.Key, w.prefix) {
			w.f(*ch)
		}
	}
}

// welcome gives new watchers the table as it is.
func (c *Client) welcome() {
	for {
		c.mu.Lock()
		if len(c.fresh) == 0 {
			c.mu.Unlock()
			return
		}
		w := c.fresh[0]
		c.fresh = c.fresh[1:]
		chunks := c.table.chunks
		c.watchers = append(c.watchers, w)
		c.mu.Unlock()
		for all := (walk{chunks: chunks, prefix: w.prefix}); ; {
			e := all.next()
			if e == nil {
				break
			}
			w.f(Change{Entry: *e})
		}
	}
}

// report makes the agent's state visible to others.
func (c *Client) report() {
	a, s := &c.agent, c.agent.stats
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.status.State
	c.status = Status{
		State: a.state, Server: c.servers[a.server], Epoch: string(a.epoch), Sequence: a.sequence,
		Snapshots: s.snapshots, Updates: s.updates, Old: s.old, Stray: s.stray, Malformed: c.status.Malformed,
		Gaps: s.gaps, Restarts: s.restarts, Incomplete: s.incomplete, Overflows: s.overflows, Unsure: s.unsure,
		Failovers: s.failover,
	}
	if (was == Active) == (a.state == Active) {
		return
	}
	if a.state == Active {
		close(c.active)
	} else {
		c.active = make(chan struct{})
	}
}
