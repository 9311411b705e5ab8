package ground

import (
	"math/rand/v2"
	"sync"
	"time"
)

// Rule is how a cable treats packets in one direction.
type Rule struct {
	Cut   bool
	Loss  float64       // of packets, 0 to 1
	Delay time.Duration // of each; their order stays
}

// cable is one direction between two hosts in one network.
type cable struct {
	mu   sync.Mutex
	rule Rule
	rand *rand.Rand
	sent uint64 // packets that got through
	lost uint64

	waiting chan parcel // packets on their way
}

// parcel is a packet that is delayed.
type parcel struct {
	due    time.Time
	packet []byte
}

// cableQueue is how many packets are on their way at most; what comes beyond that is
// lost, as in any router.
const cableQueue = 4096

// newCable makes a cable; its number tells its losses from those of others.
func newCable(seed, number uint64) *cable {
	return &cable{waiting: make(chan parcel, cableQueue), rand: rand.New(rand.NewPCG(seed, number))}
}

// take decides about a packet, which is borrowed. write is called for it at once, or the
// packet waits.
func (c *cable) take(packet []byte, write func([]byte)) {
	c.mu.Lock()
	rule := c.rule
	drop := rule.Cut || rule.Loss > 0 && c.rand.Float64() < rule.Loss
	late := !drop && (rule.Delay > 0 || len(c.waiting) > 0)
	if late {
		select {
		case c.waiting <- parcel{time.Now().Add(rule.Delay), append([]byte(nil), packet...)}:
		default:
			drop = true
		}
	}
	if drop {
		c.lost++
	} else {
		c.sent++
	}
	c.mu.Unlock()
	if !drop && !late {
		write(packet)
	}
}

// deliver writes what waits when it is due, until done.
func (c *cable) deliver(write func([]byte), done <-chan struct{}) {
	for {
		select {
		case <-done:
			return
		case p := <-c.waiting:
			if wait := time.Until(p.due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-done:
					return
				}
			}
			write(p.packet)
		}
	}
}
