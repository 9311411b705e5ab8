package synth

// popularity draws topics with Zipf frequencies in constant time: Walker's alias
// method with Vose's construction. It is exact to 2^-32.
type popularity struct {
	slots []slot
}

type slot struct {
	keep  uint32 // keep the slot's own topic if the random number is not above
	alias uint32
}

// newPopularity gives topic k of n, counted from 1, a weight of k^-exponent.
func newPopularity(n int, exponent float64) popularity {
	share := make([]float64, n) // of topic k, times n
	sum := 0.0
	for k := range share {
		share[k] = exactExp(-float64(exponent * exactLn(float64(k+1))))
		sum += share[k]
	}
	var small, large []int
	for k := range share {
		share[k] = share[k] / sum * float64(n)
		if share[k] < 1 {
			small = append(small, k)
		} else {
			large = append(large, k)
		}
	}
	slots := make([]slot, n)
	for k := range slots {
		// What rounding leaves over at the end keeps all of its slot.
		slots[k] = slot{keep: 1<<32 - 1, alias: uint32(k)}
	}
	for len(small) > 0 && len(large) > 0 {
		s, l := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		slots[s] = slot{keep: uint32(float64(share[s] * (1 << 32))), alias: uint32(l)}
		share[l] = (share[l] + share[s]) - 1
		if share[l] < 1 {
			large = large[:len(large)-1]
			small = append(small, l)
		}
	}
	return popularity{slots: slots}
}

// draw returns the topic that 64 random bits stand for. The upper half chooses a
// slot, the lower half between its two topics.
func (p *popularity) draw(random uint64) uint32 {
	i := uint32(random >> 32 * uint64(len(p.slots)) >> 32)
	if s := p.slots[i]; uint32(random) > s.keep {
		return s.alias
	}
	return i
}
