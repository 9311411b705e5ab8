package majordomo

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
)

// answerOwn answers a request to one of the broker's own services.
func (b *Broker) answerOwn(now time.Duration, m *message) {
	answer := frameNotThere
	switch string(m.service) {
	case ServiceMMI:
		answer = b.mmi(now, m.body[len(m.body)-1])
	case ServicePing:
		answer = frameFound
	case ServiceServices:
		answer = appendJSON(b.m.state().Services)
	case ServiceCounters:
		answer = appendJSON(b.m.count)
	}
	b.replyTo(m)
	if _, _, ok := pirate.ParseNumber(m.body[0]); ok {
		b.out.Frame(m.body[0], false)
	}
	b.out.Frame(answer, true)
	b.sent(outbound{reply: true})
}

// mmi says whether a service has a worker. Those that are listed are sent
// something first, so that one whose connection has ended does not count.
func (b *Broker) mmi(now time.Duration, name []byte) []byte {
	if b.m.probe(now, name); len(b.m.acts) > 0 {
		b.act()
		b.flush()
	}
	if b.m.workersOf(name) > 0 {
		return frameFound
	}
	return frameNotFound
}

func appendJSON(v any) []byte {
	b, err := json.Marshal(v)
	if err != nil {
		panic("BUG: majordomo: " + err.Error()) // plain structs of ours
	}
	return b
}

// state is what the machine holds.
func (m *machine) state() BrokerState {
	s := BrokerState{Services: make([]ServiceState, 0, len(m.services)), Waiting: m.waiting, Open: m.open.len, Bytes: m.bytes}
	busy := map[*service]int{}
	for n := m.listed.first; n != nil; n = n.next {
		if p := n.value; !p.lost && p.held.len > 0 {
			busy[p.service]++
		}
	}
	for _, service := range m.services {
		s.Workers += service.workers
		s.Services = append(s.Services, ServiceState{
			Service: string(service.name), Workers: service.workers, Busy: busy[service], Waiting: service.waiting,
		})
	}
	slices.SortFunc(s.Services, func(a, b ServiceState) int { return bytes.Compare([]byte(a.Service), []byte(b.Service)) })
	return s
}
