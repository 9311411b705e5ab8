package main

import (
	"math"
	"slices"
	"strings"
	"time"
)

// setting is one line of a configuration: a key, where its value goes, and what it
// means.
type setting struct {
	key  string
	into any // *string, *[]string, *int, *int64 (bytes), *time.Duration
	what string
	min  int64 // of numbers, bytes and durations
	max  int64
}

// settings are all of them, in the order in which a file has them. What the
// pointers lead to are the defaults, until somebody sets them.
func (c *serveConfig) settings() []setting {
	return slices.Concat(c.processSettings(), c.keysSettings(), c.brokerSettings(), c.decksSettings(), c.stateSettings(), c.tapeSettings(),
		c.recorderSettings(), c.lvcSettings(), c.jobsSettings(), c.repliesSettings(), c.metricsSettings())
}

func textSetting(key string, into any, what string) setting {
	return setting{key: key, into: into, what: what}
}

func numberSetting(key string, into *int, low, high int64, what string) setting {
	return setting{key, into, what, low, high}
}

func sizeSetting(key string, into *int64, low int64, what string) setting {
	return setting{key, into, what, low, math.MaxInt64}
}

func timeSetting(key string, into *time.Duration, low time.Duration, what string) setting {
	return setting{key, into, what, int64(low), math.MaxInt64}
}

func (c *serveConfig) processSettings() []setting {
	return []setting{
		textSetting("parts", &c.parts, "what runs in this process: "+strings.Join(serveParts, ", ")),
		textSetting("bus", &c.bus, "endpoint of the control bus: bound where broker is among the parts, else connected to; of a pair of brokers both, separated by a comma, first the one that is bound"),
		textSetting("listen", &c.listen, `addresses beside this machine's own (loopback) that may be listened on, such as "eth1", "10.0.0.2" or "*": whoever reaches the bus commands it`),
		textSetting("tapes", &c.tapes, "directory of the tapes: commands reach none outside of it"),
		textSetting("files", &c.files, "directories that import jobs may read and export jobs may write; none: the directory of the tapes"),
		textSetting("work", &c.work, "directory for what must outlive the process, such as jobs; relative to that of the tapes"),
	}
}

func (c *serveConfig) keysSettings() []setting {
	return []setting{
		textSetting("keys.key", &c.keys.key, `file with this process's key pair; "": no connection is encrypted`),
		textSetting("keys.server", &c.keys.servers, "public keys of who is connected to, or files that have them; ENDPOINT=KEY, or tcp://HOST=KEY, for one of several; others have the same key pair as this process"),
		textSetting("keys.authorized", &c.keys.authorized, `file that says which keys may connect, and do what; "": whoever has this process's public key may do everything`),
	}
}

func (c *serveConfig) brokerSettings() []setting {
	return []setting{
		timeSetting("broker.heartbeat", &c.broker.heartbeat, time.Millisecond, "between signs of life of the broker and its workers"),
		numberSetting("broker.liveness", &c.broker.liveness, 1, 1000, "silent heartbeats after which a worker is gone"),
		timeSetting("broker.life", &c.broker.life, time.Millisecond, "how long a request that says nothing of it may take"),
		numberSetting("broker.requests", &c.broker.requests, 1, 1<<24, "requests that wait or are worked on at once"),
		numberSetting("broker.client_requests", &c.broker.clientRequests, 1, 1<<24, "requests of one client that wait or are worked on at once"),
		sizeSetting("broker.bytes", &c.broker.bytes, 1<<10, "bytes of them together"),
		sizeSetting("broker.client_bytes", &c.broker.clientBytes, 1<<10, "bytes of one client's requests together"),
		sizeSetting("broker.request_bytes", &c.broker.requestBytes, 1<<10, "bytes of one request"),
		numberSetting("broker.services", &c.broker.services, 1, 1<<20, "services that can be there at once"),
		numberSetting("broker.workers", &c.broker.workers, 1, 1<<20, "workers that can be there at once"),
		textSetting("broker.pair", &c.broker.pair, `which of a pair of brokers this one is: "primary" or "backup"; "": it is alone`),
		textSetting("broker.pair_bind", &c.broker.pairBind, "endpoint where this one announces itself to the other one, best on a link of their own"),
		textSetting("broker.pair_peer", &c.broker.pairPeer, "endpoint where the other one announces itself"),
		timeSetting("broker.pair_heartbeat", &c.broker.pairHeartbeat, time.Millisecond, "between announcements; one that is silent for two of them is gone; the same on both"),
		timeSetting("broker.pair_failback", &c.broker.pairFailback, 0, "how long a primary must have been well before the backup gives the work back to it; 0s: it does not"),
		textSetting("broker.pair_bus", &c.broker.pairBus, `endpoint where tapedeck pair asks this one how it stands, and promotes it; "": nowhere`),
	}
}

func (c *serveConfig) decksSettings() []setting {
	list := []setting{
		numberSetting("decks.max", &c.decks.max, 1, 64, "decks that can be open at once"),
		textSetting("decks.address", &c.decks.address, "address that decks are bound to which are opened without bind"),
		textSetting("decks.ports", &c.decks.ports, "ports of decks that are opened without bind, FIRST-LAST: one for each shard"),
		numberSetting("decks.commands", &c.decks.commands, 1, 256, "commands that are carried out at once"),
		textSetting("decks.speed", &c.decks.speed, `speed of a deck that is opened without one: "max", or a factor such as 1x`),
		textSetting("decks.clock", &c.decks.clock, "times that such a deck goes by: receive, event or send"),
		textSetting("decks.resync", &c.decks.resync, `endpoint at which readers of such a deck get what they missed; with "*" for its port every deck has one of its own; "off": none`),
	}
	return append(list, c.decks.pair.settings()...)
}

func (c *serveConfig) stateSettings() []setting {
	return []setting{
		textSetting("state.bind", &c.state.bind, "endpoint of the decks' state, for Clone clients (CHP): updates are at the next port"),
		timeSetting("state.position", &c.state.position, time.Millisecond, "how often the position of a deck that plays is published"),
		timeSetting("state.readers", &c.state.readers, time.Millisecond, "how often readers are published"),
		timeSetting("state.reader_ttl", &c.state.readerTTL, time.Second, "how long a reader stays that is not published any more; whole seconds"),
	}
}

func (c *serveConfig) tapeSettings() []setting {
	return []setting{
		numberSetting("tape.commands", &c.tape.commands, 1, 256, "commands of the service tapes that are carried out at once"),
		numberSetting("tape.list", &c.tape.list, 1, 1_000_000, "tapes that a list names at most"),
		numberSetting("tape.records", &c.tape.records, 1, 1_000_000, "records that last gives at most"),
	}
}

func (c *serveConfig) recorderSettings() []setting {
	return []setting{
		numberSetting("recorder.max", &c.recorder.max, 1, 1024, "recordings at once"),
		numberSetting("recorder.commands", &c.recorder.commands, 1, 256, "commands that are carried out at once"),
		textSetting("recorder.codec", &c.recorder.codec, `compression of recordings that say nothing of it: plain, s2, zstd or columns; "" is the default of record`),
		timeSetting("recorder.sync", &c.recorder.sync, time.Millisecond, "longest time until what was received is safe on the disk"),
	}
}

func (c *serveConfig) lvcSettings() []setting {
	list := []setting{
		textSetting("lvc.shards", &c.lvc.shards, `endpoints of the stream whose last values are served, such as "tcp://127.0.0.1:7100+"; "": no last values`),
		numberSetting("lvc.shard_count", &c.lvc.count, 0, 1024, "its shards, where lvc.shards is a pattern; 0: as many as are listed"),
		textSetting("lvc.plain", &c.lvc.plain, "endpoints of the plain stream"),
		textSetting("lvc.snapshot", &c.lvc.snapshot, `endpoint of snapshots, such as "`+snapshotDefault+`"; "": none`),
		textSetting("lvc.clone", &c.lvc.clone, `endpoint for Clone clients of models 2 to 4; "": none`),
		textSetting("lvc.tap", &c.lvc.tap, `endpoint of the tap, such as "`+tapDefault+`"; "": none`),
		numberSetting("lvc.tap_rate", &c.lvc.tapRate, 1, 1<<30, "messages a second that the tap shows at most"),
		textSetting("lvc.warm", &c.lvc.warm, `tape whose last values to begin with; "": none`),
		textSetting("lvc.resync", &c.lvc.resync, `endpoints, separated by commas, to ask for what was missed; "": none`),
		numberSetting("lvc.max_topics", &c.lvc.maxTopics, 1, 1<<30, "topics whose last value is kept at most"),
		sizeSetting("lvc.max_bytes", &c.lvc.maxBytes, 1<<20, "memory for last values at most"),
		numberSetting("lvc.per_address", &c.lvc.perAddress, 0, 1<<20, "plain clients from one address at most; 0: as many as there can be at all"),
		sizeSetting("lvc.queue", &c.lvc.queueSize, 1<<10, "bytes that wait for one client at most"),
	}
	return append(append(list, c.lvc.pair.settings(partLVC, "proxies")...),
		timeSetting("lvc.pair_keep", &c.lvc.keep, 0, "what a passive one keeps at most to send again when it takes over; 0s: 4 heartbeats and 500ms"),
		sizeSetting("lvc.pair_bytes", &c.lvc.keepBytes, 1<<10, "memory for that at most"),
	)
}

func (c *serveConfig) jobsSettings() []setting {
	return []setting{
		numberSetting("jobs.max", &c.jobs.max, 1, 1_000_000, "jobs that are kept at once, those that have ended included"),
		sizeSetting("jobs.bytes", &c.jobs.bytes, 1<<20, "bytes of them together on the disk"),
		numberSetting("jobs.at_once", &c.jobs.atOnce, 1, 256, "jobs that run at once"),
		numberSetting("jobs.workers", &c.jobs.workers, 1, 64, "of each kind at once in this process: import, export, record"),
		timeSetting("jobs.retry", &c.jobs.retry, time.Millisecond, "pause before a job is tried again; it doubles up to jobs.retry_max"),
		timeSetting("jobs.retry_max", &c.jobs.retryMax, time.Millisecond, "longest pause before a job is tried again"),
		timeSetting("jobs.expire", &c.jobs.expire, time.Second, "how long a job and its result are kept"),
		textSetting("jobs.locked", &c.jobs.locked, `what to do while another process has the jobs in work: "refuse" to start, "wait" until it has ended, and take them over, or "take" them also where it gives no sign of life`),
		timeSetting("jobs.take_after", &c.jobs.takeAfter, 100*time.Millisecond, `with "take": how long no sign of life is; it must be the same in all processes of a pair`),
	}
}

func (c *serveConfig) repliesSettings() []setting {
	return []setting{
		numberSetting("replies.max", &c.replies.max, 1, 1<<24, "replies that each service keeps for clients that ask again"),
		sizeSetting("replies.bytes", &c.replies.bytes, 2<<20, "bytes of them together"),
		timeSetting("replies.life", &c.replies.life, time.Second, "how long they are kept"),
	}
}

func (c *serveConfig) metricsSettings() []setting {
	return []setting{
		textSetting("metrics.bind", &c.metrics.bind, `address of metrics and health, over HTTP; "": none`),
	}
}
