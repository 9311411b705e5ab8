package cboe

// ordersMax is how many orders one of the two generations has.
const ordersMax = 1 << 20

// orderKey identifies an order: exchanges that share a capture have ports of their
// own.
type orderKey struct {
	id   uint64
	port uint16
}

// orders remembers the topics of orders, the last ordersMax added or more. In place
// of an order of age, which would cost each a link, there are two generations: when
// the young one is full, the old one is forgotten.
type orders struct {
	young, old map[orderKey][]byte
	max        int
}

func newOrders(most int) orders {
	return orders{young: make(map[orderKey][]byte), old: make(map[orderKey][]byte), max: most}
}

// add remembers an order. topic is kept.
func (o *orders) add(key orderKey, topic []byte) {
	if len(o.young) >= o.max {
		clear(o.old)
		o.young, o.old = o.old, o.young
	}
	o.young[key] = topic
}

// find returns the topic of an order, or nil.
func (o *orders) find(key orderKey) []byte {
	if topic := o.young[key]; topic != nil {
		return topic
	}
	return o.old[key]
}

// forget drops an order.
func (o *orders) forget(key orderKey) {
	delete(o.young, key)
	delete(o.old, key)
}
