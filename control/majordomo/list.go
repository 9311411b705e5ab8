package majordomo

// list is a queue whose members can leave it from any place at once. A member is
// in one list by each of its nodes.
type list[T any] struct {
	first, last *node[T]
	len         int
}

// node is a member's place in a list, part of the member.
type node[T any] struct {
	value      *T // the member
	prev, next *node[T]
	in         *list[T]
}

func (l *list[T]) front() *T {
	if l.first == nil {
		return nil
	}
	return l.first.value
}

// push puts n, which is in no list, at the end.
func (l *list[T]) push(n *node[T]) { l.insert(n, nil) }

// insert puts n, which is in no list, in front of before; nil is the end.
func (l *list[T]) insert(n, before *node[T]) {
	if n.in != nil {
		panic("BUG: majordomo: a member is in two lists")
	}
	prev := l.last
	if before != nil {
		prev = before.prev
	}
	n.in, n.prev, n.next = l, prev, before
	if prev == nil {
		l.first = n
	} else {
		prev.next = n
	}
	if before == nil {
		l.last = n
	} else {
		before.prev = n
	}
	l.len++
}

// leave takes n out of the list that it is in, if any.
func (n *node[T]) leave() {
	l := n.in
	if l == nil {
		return
	}
	if n.prev == nil {
		l.first = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.last = n.prev
	} else {
		n.next.prev = n.prev
	}
	n.in, n.prev, n.next = nil, nil, nil
	l.len--
}
