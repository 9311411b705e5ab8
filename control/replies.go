package control

import (
	"container/list"
	"time"
)

// Key names a command: who gave it, and the how-manieth it was.
type Key struct {
	Client ClientID
	Number uint64
}

// Digest is over a command's name and arguments: two requests with the same one
// say the same.
type Digest [32]byte

// StoredReply is the reply to a command that was done.
type StoredReply struct {
	Digest Digest
	Code   Code
	// Object is the second frame of the reply.
	Object []byte
}

// ReplyStore keeps replies for longer than a process lives. Its methods are called
// by several goroutines. How much it keeps, and how long, is its own business.
type ReplyStore interface {
	// Get returns the reply to a command; ok is false where there is none.
	Get(Key) (r StoredReply, ok bool, err error)
	// Put keeps a reply, whose bytes it must not change. It is on the disk when Put
	// returns.
	Put(Key, StoredReply) error
}

// flight is a command that is at work, or whose reply is kept. Its fields are
// guarded by the Service's lock, but that reply and digest do not change once done
// is closed.
type flight struct {
	key    Key
	digest Digest
	sure   bool // digest is that of what is, or was, done; false while a ReplyStore is asked
	told   bool // somebody has been told to ask again
	done   chan struct{}
	reply  StoredReply
	at     time.Time // of the reply
}

// replies are flights by their keys, and of those that are done how much is kept,
// the oldest first.
type replies struct {
	count int           // bounds
	bytes int64         //
	life  time.Duration //

	flights map[Key]*flight
	kept    list.List // of *flight
	size    int64
	evicted uint64
}

// flightSize is about what a kept reply takes beside its bytes.
const flightSize = 400

// keep keeps a reply that has come, and lets go of the oldest beyond the bounds.
func (r *replies) keep(f *flight, now time.Time) {
	f.at = now
	r.kept.PushBack(f)
	r.size += int64(len(f.reply.Object)) + flightSize
	for r.kept.Len() > r.count || r.size > r.bytes {
		r.drop()
		r.evicted++
	}
}

// expire lets go of what is older than the life.
func (r *replies) expire(now time.Time) {
	for e := r.kept.Front(); e != nil && now.Sub(e.Value.(*flight).at) >= r.life; e = r.kept.Front() {
		r.drop()
	}
}

func (r *replies) drop() {
	f := r.kept.Remove(r.kept.Front()).(*flight)
	r.size -= int64(len(f.reply.Object)) + flightSize
	delete(r.flights, f.key)
}
