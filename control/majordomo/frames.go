package majordomo

import "bytes"

// frames are the frames of a message, copied, one behind the other. The memory is
// used again.
type frames struct {
	data []byte
	ends []int
}

// keptMax is how much memory a frames keeps for the next message, bytes.
const keptMax = 64 << 10

func (f *frames) reset() {
	f.data, f.ends = f.data[:0], f.ends[:0]
	if cap(f.data) > keptMax {
		f.data = nil
	}
}

func (f *frames) add(frame []byte) {
	f.data = append(f.data, frame...)
	f.ends = append(f.ends, len(f.data))
}

func (f *frames) set(all [][]byte) {
	f.reset()
	for _, b := range all {
		f.add(b)
	}
}

func (f *frames) len() int { return len(f.ends) }

// at returns frame i, borrowed until f is changed.
func (f *frames) at(i int) []byte {
	from := 0
	if i > 0 {
		from = f.ends[i-1]
	}
	return f.data[from:f.ends[i]:f.ends[i]]
}

func (f *frames) equal(all [][]byte) bool {
	if len(all) != f.len() {
		return false
	}
	for i, b := range all {
		if !bytes.Equal(f.at(i), b) {
			return false
		}
	}
	return true
}
