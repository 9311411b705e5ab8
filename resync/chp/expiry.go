package chp

import (
	"container/heap"
	"time"
)

// expiries are the items that have a time to live, the next to expire first, so
// that a look costs nothing however many values live for ever.
type expiries []*item

// Len implements heap.Interface.
func (h expiries) Len() int { return len(h) }

// Less implements heap.Interface.
func (h expiries) Less(i, j int) bool { return h[i].Expires.Before(h[j].Expires) }

// Swap implements heap.Interface.
func (h expiries) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].expiry, h[j].expiry = i, j
}

// Push implements heap.Interface.
func (h *expiries) Push(x any) {
	it := x.(*item)
	it.expiry = len(*h)
	*h = append(*h, it)
}

// Pop implements heap.Interface.
func (h *expiries) Pop() any {
	old := *h
	it := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	it.expiry = -1
	return it
}

// add takes an item in, if it expires.
func (h *expiries) add(it *item) {
	if !it.Expires.IsZero() {
		heap.Push(h, it)
	}
}

// drop takes an item out that was replaced or removed.
func (h *expiries) drop(it *item) {
	if it != nil && it.expiry >= 0 {
		heap.Remove(h, it.expiry)
	}
}

// due returns an item that has expired, still in the heap, or nil.
func (h expiries) due(now time.Time) *item {
	if len(h) == 0 || h[0].Expires.After(now) {
		return nil
	}
	return h[0]
}
