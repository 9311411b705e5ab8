package metrics

import "github.com/tapedeck/tapedeck/control/majordomo"

type busWorker = majordomo.WorkerCounters

var busWorkerTable = []column[busWorker]{
	{counter("bus_worker_requests_total", "requests", "Requests that the worker of a service handled.", "service"), func(c *busWorker) float64 { return count(c.Requests) }},
	{counter("bus_worker_connected_total", "times", "Times that the worker offered itself to a broker.", "service"), func(c *busWorker) float64 { return count(c.Connected) }},
	{counter("bus_worker_lost_total", "times", "Times that a broker fell silent, or was connected to anew.", "service"), func(c *busWorker) float64 { return count(c.Lost) }},
	{counter("bus_worker_dismissed_total", "times", "Times that a broker let the worker go.", "service"), func(c *busWorker) float64 { return count(c.Dismissed) }},
	{counter("bus_worker_malformed_messages_total", "messages", "Messages to the worker that are none of the protocol.", "service"), func(c *busWorker) float64 { return count(c.Malformed) }},
	{counter("bus_worker_unsent_replies_total", "replies", "Replies that could not be sent.", "service"), func(c *busWorker) float64 { return count(c.Unsent) }},
	{counter("bus_worker_overdue_requests_total", "requests", "Requests whose handling took longer than it may.", "service"), func(c *busWorker) float64 { return count(c.Overdue) }},
}

// BusClient shows what this process itself asks of the bus: the Counters method of a
// *majordomo.Client. client is a word of the program: what it asks for.
func (sc *Scope) BusClient(client string, counters func() majordomo.ClientCounters) {
	sc.add(func(e *emitter) {
		c := counters()
		for i := range busClientTable {
			e.add(busClientTable[i].family, busClientTable[i].of(&c), client)
		}
	})
}

type busClient = majordomo.ClientCounters

var busClientTable = []column[busClient]{
	{counter("bus_client_requests_total", "requests", "Requests that this process made.", "client"), func(c *busClient) float64 { return count(c.Requests) }},
	{counter("bus_client_answered_requests_total", "requests", "Requests of this process that were answered.", "client"), func(c *busClient) float64 { return count(c.Answered) }},
	{counter("bus_client_given_up_requests_total", "requests", "Requests of this process that were not answered.", "client"), func(c *busClient) float64 { return count(c.GivenUp) }},
	{counter("bus_client_sent_total", "times", "Times that a request was sent.", "client"), func(c *busClient) float64 { return count(c.Sent) }},
	{counter("bus_client_unanswered_tries_total", "tries", "Tries that ended by timeout.", "client"), func(c *busClient) float64 { return count(c.Unanswered) }},
	{counter("bus_client_failed_tries_total", "tries", "Tries that a broker answered with a reason.", "client"), func(c *busClient) float64 { return count(c.Failed) }},
	{counter("bus_client_resent_total", "times", "Times that a request was sent again because the connection was a new one.", "client"), func(c *busClient) float64 { return count(c.Resent) }},
	{counter("bus_client_connections_total", "connections", "Connections that were opened or came back.", "client"), func(c *busClient) float64 { return count(c.Connected) }},
	{counter("bus_client_moved_total", "times", "Times that another one of several brokers was found to take requests.", "client"), func(c *busClient) float64 { return count(c.Moved) }},
	{counter("bus_client_silent_total", "times", "Times that one of several brokers did not say that it is there.", "client"), func(c *busClient) float64 { return count(c.Silent) }},
	{counter("bus_client_late_replies_total", "replies", "Replies to requests that nobody waits for any more.", "client"), func(c *busClient) float64 { return count(c.Late) }},
	{counter("bus_client_mismatched_replies_total", "replies", "Replies without a number that could be to several requests; those were sent again.", "client"), func(c *busClient) float64 { return count(c.Mismatched) }},
	{counter("bus_client_malformed_messages_total", "messages", "Messages to the client that are none of the protocol.", "client"), func(c *busClient) float64 { return count(c.Malformed) }},
}
