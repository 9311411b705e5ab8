package bench

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// memberCounts are metrics of the servers of a pair that say what became of records and
// requests, and the report's names of them.
var memberCounts = map[string]string{
	"tapedeck_lvc_dropped_records_total":        "dropped_records",
	"tapedeck_lvc_caught_up_total":              "caught_up_readers",
	"tapedeck_lvc_lost_records_total":           "incomplete_records",
	"tapedeck_lvc_missing_messages_total":       "missing_messages",
	"tapedeck_lvc_left_behind_readers_total":    "left_behind_readers",
	"tapedeck_lvc_short_messages_total":         "short_messages",
	"tapedeck_lvc_too_far_readers_total":        "too_far_readers",
	"tapedeck_lvc_young_takeovers_total":        "young_takeovers",
	"tapedeck_pair_fenced_announcements_total":  "fenced_announcements",
	"tapedeck_pair_missed_announcements_total":  "missed_announcements",
	"tapedeck_pair_yields_total":                "yields",
	"tapedeck_pair_refused_requests_total":      "refused_requests",
	"tapedeck_broker_failed_requests_total":     "failed_requests",
	"tapedeck_broker_late_replies_total":        "late_replies",
	"tapedeck_broker_workers_expired_total":     "expired_workers",
	"tapedeck_publisher_dropped_notices_total":  "dropped_notices",
	"tapedeck_publisher_readers_left_total":     "readers_left",
	"tapedeck_publisher_stalled_seconds_total":  "stalled_seconds",
	"tapedeck_subscriber_lost_records_total":    "incomplete_records",
	"tapedeck_subscriber_corrupt_batches_total": "corrupt_batches",
}

// What waits in readers' queues, and where a player is.
const (
	metricQueued   = "tapedeck_readers_queue_bytes"
	metricPosition = "tapedeck_player_position_records"
)

// counted is what all servers of a run have counted.
type counted struct {
	sums   map[string]float64
	queued float64 // bytes, the most that waited for readers when a server was killed
	// unseen is for how long servers that were dropping records lived on after they had
	// been asked, ns: what they dropped then nobody has counted.
	unseen int64
	unread int // servers that did not say
}

// countWait is how long a server may take to say what it has counted.
const countWait = 5 * time.Second

// add asks a server that is about to end, and adds what it has counted to what others
// have.
func (c *counted) add(ctx context.Context, m *member) (metrics map[string]float64) {
	ctx, cancel := context.WithTimeout(ctx, countWait)
	defer cancel()
	metrics, err := m.metrics(ctx)
	if err != nil {
		c.unread++
		return nil
	}
	if c.sums == nil {
		c.sums = map[string]float64{}
	}
	for metric, name := range memberCounts {
		if v, ok := metrics[metric]; ok {
			c.sums[name] += v
		}
	}
	c.queued = max(c.queued, metrics[metricQueued])
	return metrics
}

// report adds what was counted to a case.
func (c *counted) report(tl *tally) {
	for name, sum := range c.sums {
		tl.add(name, sum)
	}
	tl.add("queued_max_mb", c.queued/1e6)
	tl.add("servers_unread", float64(c.unread))
}

// metrics asks a server for its metrics.
func (m *member) metrics(ctx context.Context) (map[string]float64, error) {
	m.mu.Lock()
	at := m.shown
	m.mu.Unlock()
	if at == "" {
		return nil, fmt.Errorf("bench: the %s has not said where its metrics are", m.name)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, fmt.Errorf("bench: metrics of the %s: %w", m.name, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("bench: metrics of the %s: %s", m.name, resp.Status)
	}
	return readMetrics(resp.Body)
}

// readMetrics reads metrics in Prometheus' text form, and adds up those of a name over
// their labels.
func readMetrics(r io.Reader) (map[string]float64, error) {
	all := map[string]float64{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if strings.HasPrefix(line, "#") || line == "" {
			continue
		}
		end := strings.IndexAny(line, "{ ")
		at := strings.LastIndexByte(line, ' ')
		if end < 0 || at < end {
			return nil, fmt.Errorf("bench: no metric: %.80q", line)
		}
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("bench: no metric: %.80q", line)
		}
		all[line[:end]] += v
	}
	return all, lines.Err()
}
