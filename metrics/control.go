package metrics

import (
	"slices"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// Broker is a *majordomo.Broker.
type Broker interface {
	Counters() majordomo.BrokerCounters
	State() majordomo.BrokerState
}

// Broker shows the bus.
func (sc *Scope) Broker(b Broker) {
	sc.add(func(e *emitter) {
		c, st := b.Counters(), b.State()
		rows(e, brokerTable, &c)
		for _, x := range brokerFailed {
			e.add(brokerFailures, count(x.of(&c)), x.reason)
		}
		rows(e, brokerHolds, &st)
		for _, s := range byService(st.Services) {
			e.add(brokerServiceWorkers, count(s.Workers), s.Service)
			e.add(brokerServiceBusy, count(s.Busy), s.Service)
			e.add(brokerServiceWaiting, count(s.Waiting), s.Service)
		}
	})
}

// ownServices are the services that a label names. Whoever may reach the bus can offer
// services of any name: those are other ones, together.
var ownServices = []string{
	control.ServiceDeck, control.ServiceTapes, control.ServiceRecorder, control.ServiceReaders, control.ServiceStatus,
	control.ServiceJob, control.ServiceJobImport, control.ServiceJobExport, control.ServiceJobRecord,
	"titanic.request", "titanic.reply", "titanic.close",
}

const otherServices = "other"

// byService sums services up by label: every label is there.
func byService(list []majordomo.ServiceState) []majordomo.ServiceState {
	sums := make([]majordomo.ServiceState, len(ownServices)+1)
	for i, name := range append(slices.Clone(ownServices), otherServices) {
		sums[i].Service = name
	}
	for _, s := range list {
		i := slices.Index(ownServices, s.Service)
		if i < 0 {
			i = len(ownServices)
		}
		sums[i].Workers += s.Workers
		sums[i].Busy += s.Busy
		sums[i].Waiting += s.Waiting
	}
	return sums
}

type brokered = majordomo.BrokerCounters

var brokerTable = []column[brokered]{
	{counter("broker_requests_total", "requests", "Requests that the broker took in."), func(c *brokered) float64 { return count(c.Requests) }},
	{counter("broker_answered_requests_total", "requests", "Requests that a worker answered."), func(c *brokered) float64 { return count(c.Answered) }},
	{counter("broker_requeued_requests_total", "requests", "Requests that were given to another worker, because the first one died."), func(c *brokered) float64 { return count(c.Requeued) }},
	{counter("broker_repeated_requests_total", "requests", "Requests that were there already, by their number."), func(c *brokered) float64 { return count(c.Repeated) }},
	{counter("broker_own_requests_total", "requests", "Requests that the broker answered itself."), func(c *brokered) float64 { return count(c.Own) }},
	{counter("broker_malformed_messages_total", "messages", "Messages that are none of the protocol."), func(c *brokered) float64 { return count(c.Malformed) }},
	{counter("broker_late_replies_total", "replies", "Replies to requests that were over, or that nobody had made."), func(c *brokered) float64 { return count(c.Late + c.Unasked) }},
	{counter("broker_undelivered_replies_total", "replies", "Replies whose client was gone or does not read."), func(c *brokered) float64 { return count(c.Unreachable + c.Dropped) }},
	{counter("broker_workers_joined_total", "workers", "Workers that registered."), func(c *brokered) float64 { return count(c.Joined) }},
	{counter("broker_workers_left_total", "workers", "Workers that said they leave."), func(c *brokered) float64 { return count(c.Left) }},
	{counter("broker_workers_expired_total", "workers", "Workers that fell silent or could not be reached."), func(c *brokered) float64 { return count(c.Expired) }},
	{counter("broker_no_right_messages_total", "messages", "Messages of peers that have no right to them: commands, and what workers say."), func(c *brokered) float64 { return count(c.NoRight) }},
	{counter("broker_workers_refused_total", "workers", "Workers refused: too many, a reserved name, or not registered."), func(c *brokered) float64 { return count(c.Refused + c.Strangers) }},
}

var brokerFailures = counter("broker_failed_requests_total", "requests", "Requests failed or refused, by reason.", "reason")

var brokerFailed = []struct {
	reason string
	of     func(*brokered) uint64
}{
	{"no_worker", func(c *brokered) uint64 { return c.FailedNoWorker }},
	{"deadline", func(c *brokered) uint64 { return c.FailedDeadline }},
	{"died", func(c *brokered) uint64 { return c.FailedDied }},
	{"full", func(c *brokered) uint64 { return c.FailedFull }},
	{"too_large", func(c *brokered) uint64 { return c.FailedTooLarge }},
	{"stopping", func(c *brokered) uint64 { return c.FailedStopping }},
	{"passive", func(c *brokered) uint64 { return c.FailedPassive }},
}

var brokerHolds = []column[majordomo.BrokerState]{
	{gauge("broker_workers", "workers", "Workers that are registered."), func(s *majordomo.BrokerState) float64 { return count(s.Workers) }},
	{gauge("broker_waiting_requests", "requests", "Requests that no worker has."), func(s *majordomo.BrokerState) float64 { return count(s.Waiting) }},
	{gauge("broker_open_requests", "requests", "Requests that are neither answered nor failed."), func(s *majordomo.BrokerState) float64 { return count(s.Open) }},
	{gauge("broker_open_bytes", "bytes", "Bytes of the requests that are neither answered nor failed."), func(s *majordomo.BrokerState) float64 { return count(s.Bytes) }},
}

var (
	brokerServiceWorkers = gauge("broker_service_workers", "workers", "Workers of each service of Tapedeck's own, and of all others together.", "service")
	brokerServiceBusy    = gauge("broker_service_busy_workers", "workers", "Workers that are at work, by service.", "service")
	brokerServiceWaiting = gauge("broker_service_waiting_requests", "requests", "Requests that no worker has, by service.", "service")
)

// Service is a *control.Service, and the *majordomo.Worker that offers it.
type Service interface {
	Name() string
	Counters() control.ServiceCounters
	Worker() majordomo.WorkerCounters
}

// Services shows services of commands on the bus. Their names are the program's own.
func (sc *Scope) Services(list ...Service) {
	sc.add(func(e *emitter) {
		for _, s := range list {
			c := s.Counters()
			for i := range serviceTable {
				e.add(serviceTable[i].family, serviceTable[i].of(&c), s.Name())
			}
			w := s.Worker()
			for i := range busWorkerTable {
				e.add(busWorkerTable[i].family, busWorkerTable[i].of(&w), s.Name())
			}
		}
	})
}

type commanded = control.ServiceCounters

var serviceTable = []column[commanded]{
	{counter("service_requests_total", "requests", "Requests that a service received.", "service"), func(c *commanded) float64 { return count(c.Requests) }},
	{counter("service_commands_total", "commands", "Commands that were done.", "service"), func(c *commanded) float64 { return count(c.Begun) }},
	{counter("service_repeated_requests_total", "requests", "Requests that were answered without doing the command again: its reply was kept, or it was at work.", "service"), func(c *commanded) float64 { return count(c.Repeated + c.Joined) }},
	{counter("service_pending_requests_total", "requests", "Requests that were told to ask again, since the command was still at work.", "service"), func(c *commanded) float64 { return count(c.Pending) }},
	{counter("service_refused_requests_total", "requests", "Requests refused: malformed, unknown, or a number that another command has.", "service"), func(c *commanded) float64 { return count(c.Malformed + c.Unknown + c.Mistaken) }},
	{counter("service_busy_requests_total", "requests", "Requests refused because too many commands were at work.", "service"), func(c *commanded) float64 { return count(c.Busy) }},
	{counter("service_evicted_replies_total", "replies", "Replies let go before their life was over.", "service"), func(c *commanded) float64 { return count(c.Evicted) }},
	{counter("service_unstored_replies_total", "replies", "Times that a reply could not be stored.", "service"), func(c *commanded) float64 { return count(c.Unstored) }},
	{gauge("service_running_commands", "commands", "Commands at work.", "service"), func(c *commanded) float64 { return count(c.Running) }},
	{gauge("service_kept_replies", "replies", "Replies kept for who asks again.", "service"), func(c *commanded) float64 { return count(c.Kept) }},
	{gauge("service_kept_bytes", "bytes", "Bytes of the replies kept.", "service"), func(c *commanded) float64 { return count(c.KeptBytes) }},
}
