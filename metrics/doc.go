// Package metrics shows what a process does to Prometheus and to whoever asks whether
// it is well: /metrics, /healthz and /readyz on HTTP.
//
//	rooms' Stats, Counters, State ──▶ Scope ──▶ Set ──▶ Server ══ HTTP ══▶ Prometheus
//
// Nothing is counted here. At a scrape every part is asked for the numbers that it
// keeps in any case, each on a goroutine of its own, and one that does not answer in
// time is left out and said to be missing: that something hangs is when people look.
// What parts are asked is cheap and holds up nobody: atomic counters, or a lock that
// is held for a moment. Durations come as latency.Histogram, which hot paths count in.
//
// docs/METRICS.md has every name. No label has a value that a peer or a record could
// choose: no topic, no reader's name.
package metrics
