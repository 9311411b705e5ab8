package lvc

import "slices"

// filters are who wants which topics. Readers that want everything are a list of
// their own: nothing is looked up for them.
type filters struct {
	everything []*reader
	exact      map[string][]*reader // by prefix, never empty
	lengths    []int                // of the prefixes, ascending
	counts     map[int]int          // prefixes of each length
	generation uint64               // +1 when anything changes
	mark       uint64               // of the lookup at hand
	found      []*reader            // by find
}

// route is a topic's readers beside those of everything, as of a generation.
type route struct {
	generation uint64
	readers    []*reader
}

func newFilters() filters {
	return filters{exact: map[string][]*reader{}, counts: map[int]int{}, generation: 1}
}

// nobody reports whether no record is wanted at all.
func (f *filters) nobody() bool { return len(f.everything) == 0 && len(f.exact) == 0 }

// add takes in a subscription and reports whether it is new.
func (f *filters) add(r *reader, prefix string) bool {
	if _, known := r.subscriptions[prefix]; known {
		return false
	}
	r.subscriptions[prefix] = struct{}{}
	f.generation++
	if prefix == "" {
		r.everything = true
		f.everything = append(f.everything, r)
		return true
	}
	if f.exact[prefix] == nil {
		f.count(len(prefix), 1)
	}
	f.exact[prefix] = append(f.exact[prefix], r)
	return true
}

// remove takes out a subscription and reports whether there was one.
func (f *filters) remove(r *reader, prefix string) bool {
	if _, known := r.subscriptions[prefix]; !known {
		return false
	}
	delete(r.subscriptions, prefix)
	f.generation++
	if prefix == "" {
		r.everything = false
		f.everything = without(f.everything, r)
		return true
	}
	if f.exact[prefix] = without(f.exact[prefix], r); len(f.exact[prefix]) == 0 {
		delete(f.exact, prefix)
		f.count(len(prefix), -1)
	}
	return true
}

func without(list []*reader, r *reader) []*reader {
	i := slices.Index(list, r)
	last := len(list) - 1
	list[i], list[last] = list[last], nil
	return list[:last]
}

// count takes note of one prefix more or less of a length.
func (f *filters) count(length, by int) {
	if f.counts[length] += by; f.counts[length] == by || f.counts[length] == 0 {
		f.lengths = f.lengths[:0]
		for n, k := range f.counts {
			if k > 0 {
				f.lengths = append(f.lengths, n)
			} else {
				delete(f.counts, n)
			}
		}
		slices.Sort(f.lengths)
	}
}

// look appends the readers that want the topic, without those of everything, each
// once. A lookup is made per length of a prefix, however many prefixes there are.
func look[T string | []byte](f *filters, dst []*reader, topic T) []*reader {
	f.mark++
	for _, n := range f.lengths {
		if n > len(topic) {
			break
		}
		for _, r := range f.exact[string(topic[:n])] {
			if !r.everything && r.mark != f.mark {
				r.mark = f.mark
				dst = append(dst, r)
			}
		}
	}
	return dst
}

// find is look of a topic that has no entry. The readers are borrowed until the next
// call.
func (f *filters) find(topic []byte) []*reader {
	if len(f.exact) == 0 {
		return nil
	}
	f.found = look(f, f.found[:0], topic)
	return f.found
}

// of returns the readers that want an entry's topic, without those of everything.
// They are kept with the entry until a filter changes.
func (f *filters) of(e *entry) []*reader {
	if len(f.exact) == 0 {
		return nil
	}
	if e.route == nil {
		e.route = &route{}
	}
	if e.route.generation != f.generation {
		e.route.generation = f.generation
		clear(e.route.readers)
		e.route.readers = look(f, e.route.readers[:0], e.topic)
	}
	return e.route.readers
}
