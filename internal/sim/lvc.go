package sim

import (
	"fmt"
	"maps"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// lvcRun is a publisher of shards, two proxies of last values that are a pair, and plain
// readers that are connected to both, some of which come late. What must hold:
//
//  1. On one connection: records come in the order in which the proxy was given them,
//     each once, and none is left out, but where the proxy was passive, or counts what it
//     has dropped and answers anew.
//  2. An answer is the last values as of one moment at which the proxy was active; what
//     follows on the connection goes on from exactly there. Who is not answered is sent
//     nothing but what a takeover sends again.
//  3. What the proxy was not given its readers are told of; and an answer says that it is
//     incomplete where that may matter, and nowhere else.
//  4. An epoch of the pair has one active proxy.
//  5. A reader that drops what comes twice, as docs/WIRE.md says, handles no record twice,
//     and no topic's last value goes back.
//  6. Where only the pair has trouble, readers that are connected to the proxy that takes
//     over miss nothing, but for takeovers of which it says that it cannot give everything
//     again; or in which it was never told what readers have, and goes back by less than
//     the pair was away.
//  7. When all is calm, one is active, and every reader has the publisher's last values.
//
// Snapshots that are asked for are such answers, too, with where the shards were then.
// Of 4 those epochs are free that a failing disk did not keep.
type lvcRun struct {
	w         *World
	shards    int
	topics    []string
	gentle    bool // only the pair has trouble
	slow      bool // and readers may be
	calm      bool
	publisher *lvcPublisher
	proxies   [2]*lvcProxy
	readers   []*lvcReader
	records   []lvcRecord
	sent      map[healShard][]int // numbers of records
	claims    map[uint64]*lvcLife
	served    time.Duration // when a proxy that was well last served, and had for a while
}

// lvcRecord is one of the stream's. Its number is its place in lvcRun.records.
type lvcRecord struct {
	at       healShard
	seq      wire.Seq
	topic    string
	topicSeq uint32
	gone     bool // it deletes
}

func runLVC(w *World) {
	r := &lvcRun{w: w, shards: one(w, 1, 1, 2, 3), gentle: w.Chance(0.5), slow: w.Chance(0.3), sent: map[healShard][]int{}, claims: map[uint64]*lvcLife{}}
	for i := range one(w, 3, 20, 20, 700) {
		r.topics = append(r.topics, fmt.Sprintf("%c%03d", 'A'+i%3, i))
	}
	t := &trouble{w: w, clocks: true, disks: true, flaps: !r.gentle, longest: one(w, time.Second, 5*time.Second)}
	r.publisher = newLVCPublisher(r)
	heartbeat := one(w, 100*time.Millisecond, time.Second)
	halves := pairOf(w, heartbeat, one(w, 0, 0, 5*heartbeat), func(i int) { r.proxies[i].boot() })
	for i, h := range halves {
		r.proxies[i] = newLVCProxy(r, h)
		t.processes = append(t.processes, h.p)
	}
	t.links = append(t.links, []*link{halves[0].out, halves[1].out})
	for i := range 2 + w.IntN(4) {
		r.readers = append(r.readers, newLVCReader(r, i))
	}
	if !r.gentle {
		t.processes = append(t.processes, r.publisher.p)
		for i, x := range r.proxies {
			t.links = append(t.links, []*link{r.publisher.to[i].link})
			for _, d := range r.readers {
				t.links = append(t.links, []*link{w.way(d.p, x.p), w.way(x.p, d.p)})
			}
		}
		for _, d := range r.readers {
			t.processes = append(t.processes, d.p)
		}
	}
	w.Logf("%d shards, %d topics, a batch every %v, heartbeat %v, gentle: %v, slow: %v", r.shards, len(r.topics), r.publisher.pause, heartbeat, r.gentle, r.slow)
	lasts := w.Between(3*time.Second, 20*time.Second)
	for _, p := range []*Process{r.publisher.p, halves[0].p, halves[1].p} {
		w.After(w.Between(0, one(w, 0, 500*time.Millisecond)), p.Start)
	}
	for _, d := range r.readers {
		w.After(w.Between(0, one(w, 0, time.Second, lasts)), d.p.Start)
	}
	w.Every(func() time.Duration { return 5 * time.Millisecond }, func() bool { r.watch(); return true })
	if r.gentle {
		w.Run(3 * time.Second)
	}
	t.run(lasts, w.Between(100*time.Millisecond, 3*time.Second))
	t.end()
	r.calm = true
	r.settle()
}

// watch takes note of when readers are served.
func (r *lvcRun) watch() {
	for _, x := range r.proxies {
		if x.active && x.p.Well() && r.w.now >= x.serves {
			r.served = r.w.now
		}
	}
	if r.gentle && r.slow {
		r.watchSlow()
	}
}

// watchSlow takes note of readers that are so slow that they do not see that a connection
// has ended, and are not connected to the proxy that is active.
func (r *lvcRun) watchSlow() {
	there, any := map[string]bool{}, false
	for _, x := range r.proxies {
		if x.active && x.life != nil {
			any = true
			maps.Copy(there, x.life.readers())
		}
	}
	for _, d := range r.readers {
		if any && !there[d.p.name] {
			d.base, d.torn = nil, r.w.now
		}
	}
}

// settle holds properties 6 and 7.
func (r *lvcRun) settle() {
	one := func() bool { return r.proxies[0].active != r.proxies[1].active }
	r.w.Run(4 * time.Second) // what was late arrives
	if !r.w.RunUntil(30*r.proxies[0].heartbeat, 100*time.Millisecond, one) {
		r.w.Fail("all is calm, and the primary is active: %v, the backup: %v", r.proxies[0].active, r.proxies[1].active)
	}
	r.w.Run(10 * r.proxies[0].heartbeat) // the primary may get the work back
	r.publisher.everything()
	r.publisher.over = true
	through := func() bool { return r.standing() == "" }
	if !r.w.RunUntil(time.Minute, 100*time.Millisecond, through) && !r.forgot() {
		r.w.Fail("all is calm, and not all readers have the publisher's last values: %s", r.standing())
	}
	for _, d := range r.readers {
		d.finish()
	}
}

// forgot reports whether one was active in an epoch that nobody remembers.
func (r *lvcRun) forgot() bool { return r.proxies[0].forgot || r.proxies[1].forgot }

// standing says which readers lack last values; "": none does.
func (r *lvcRun) standing() (list string) {
	for _, d := range r.readers {
		for _, topic := range r.topics {
			if last := r.publisher.last[topic]; strings.HasPrefix(topic, d.prefix) && d.values[topic] != last {
				list += fmt.Sprintf("%s has record %d of %s, the last one is %d; ", d.p.name, d.values[topic], topic, last)
				break
			}
		}
	}
	return list
}

// epochs of the pair: property 4.
func (r *lvcRun) claim(l *lvcLife, epoch uint64) {
	if other := r.claims[epoch]; other != nil && !r.forgot() {
		r.w.Fail("the %v is active in epoch %d, in which the %v was", l.x.role, epoch, other.x.role)
	}
	r.claims[epoch] = l
}

// newer reports whether a record is newer than another one of its topic, by topic
// sequence and epoch.
func (r *lvcRun) newer(a, b int) bool {
	x, y := &r.records[a], &r.records[b]
	return x.at.epoch > y.at.epoch || x.at.epoch == y.at.epoch && x.topicSeq > y.topicSeq
}
