package tape

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

const (
	manifestName    = "manifest.json"
	manifestSizeMax = 64 << 20
	formatVersion   = 1
)

// Totals are sums over a tape. First and last are by tape order; the spans are
// the least and greatest times.
type Totals struct {
	Records      uint64
	PayloadBytes uint64 // as the records travel
	StoredBytes  uint64 // as the blocks are stored, headers and padding left out
	Blocks       int
	Topics       int
	Epochs       int
	FirstEvent   wire.Nanos // event time of the first record; times are 0 without records
	LastEvent    wire.Nanos
	FirstReceive wire.Nanos
	LastReceive  wire.Nanos
	Event        Span
	Receive      Span
}

// manifest is manifest.json. Its field names are part of the format.
type manifest struct {
	Version        int               `json:"version"`
	ID             ID                `json:"id"`
	Created        stamp             `json:"created"`
	Generator      string            `json:"generator,omitempty"`
	Shards         int               `json:"shards"`
	Codec          Codec             `json:"codec"`
	SyncIntervalNs int64             `json:"sync_interval_ns"`
	KeyInterval    int64             `json:"keyframe_interval_bytes,omitempty"`
	Encodings      []Encoding        `json:"encodings,omitempty"`
	Sources        []string          `json:"sources,omitempty"`
	Closed         bool              `json:"closed"`
	Start          *manifestStart    `json:"start,omitempty"`
	Totals         *manifestTotals   `json:"totals,omitempty"`
	Digest         *Digest           `json:"digest,omitempty"`
	Segments       []manifestSegment `json:"segments,omitempty"`
	Checksum       string            `json:"checksum"`
}

type manifestTotals struct {
	Records      uint64 `json:"records"`
	PayloadBytes uint64 `json:"payload_bytes"`
	StoredBytes  uint64 `json:"stored_bytes"`
	Blocks       int    `json:"blocks"`
	Topics       int    `json:"topics"`
	Epochs       int    `json:"epochs"`
	FirstEvent   *stamp `json:"first_event_time,omitempty"`
	LastEvent    *stamp `json:"last_event_time,omitempty"`
	MinEvent     *stamp `json:"min_event_time,omitempty"`
	MaxEvent     *stamp `json:"max_event_time,omitempty"`
	FirstReceive *stamp `json:"first_receive_time,omitempty"`
	LastReceive  *stamp `json:"last_receive_time,omitempty"`
	MinReceive   *stamp `json:"min_receive_time,omitempty"`
	MaxReceive   *stamp `json:"max_receive_time,omitempty"`
}

// manifestStart says where a tape begins whose first segments were removed.
type manifestStart struct {
	Segment      int    `json:"segment"`       // number of the first segment there is
	Blocks       int    `json:"blocks"`        // in the segments before it
	Records      uint64 `json:"records"`       // the same
	PayloadBytes uint64 `json:"payload_bytes"` // the same
	StoredBytes  uint64 `json:"stored_bytes"`  // the same
	Digest       Digest `json:"digest"`        // chain hash at their end
}

type manifestSegment struct {
	Name         string       `json:"name"`
	Size         int64        `json:"size"`
	Blocks       int          `json:"blocks"`
	Records      uint64       `json:"records"`
	FirstOrdinal wire.Ordinal `json:"first_ordinal"`
	Keyframes    int          `json:"keyframes,omitempty"`
	Digest       Digest       `json:"digest"` // chain hash at its end
}

// stamp is a time as RFC 3339 text with nanoseconds, because JSON readers in
// other languages lose the low digits of 64-bit numbers.
type stamp wire.Nanos

// MarshalText implements encoding.TextMarshaler.
func (s stamp) MarshalText() ([]byte, error) { return []byte(wire.Nanos(s).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *stamp) UnmarshalText(text []byte) error {
	t, err := time.Parse(time.RFC3339Nano, string(text))
	if err != nil {
		return err
	}
	n := wire.NanosOf(t)
	if !n.Time().Equal(t) {
		return fmt.Errorf("tape: time %s is outside the years 1678 to 2262", text)
	}
	*s = stamp(n)
	return nil
}

func newManifestTotals(t *Totals) *manifestTotals {
	m := &manifestTotals{
		Records: t.Records, PayloadBytes: t.PayloadBytes, StoredBytes: t.StoredBytes,
		Blocks: t.Blocks, Topics: t.Topics, Epochs: t.Epochs,
	}
	if t.Records == 0 {
		return m
	}
	at := func(n wire.Nanos) *stamp { s := stamp(n); return &s }
	m.FirstEvent, m.LastEvent = at(t.FirstEvent), at(t.LastEvent)
	m.MinEvent, m.MaxEvent = at(t.Event.Min), at(t.Event.Max)
	m.FirstReceive, m.LastReceive = at(t.FirstReceive), at(t.LastReceive)
	m.MinReceive, m.MaxReceive = at(t.Receive.Min), at(t.Receive.Max)
	return m
}

func (m *manifestTotals) totals() Totals {
	at := func(s *stamp) wire.Nanos {
		if s == nil {
			return 0
		}
		return wire.Nanos(*s)
	}
	return Totals{
		Records: m.Records, PayloadBytes: m.PayloadBytes, StoredBytes: m.StoredBytes,
		Blocks: m.Blocks, Topics: m.Topics, Epochs: m.Epochs,
		FirstEvent: at(m.FirstEvent), LastEvent: at(m.LastEvent),
		FirstReceive: at(m.FirstReceive), LastReceive: at(m.LastReceive),
		Event:   Span{Min: at(m.MinEvent), Max: at(m.MaxEvent)},
		Receive: Span{Min: at(m.MinReceive), Max: at(m.MaxReceive)},
	}
}

func (m *manifest) encode() ([]byte, error) {
	m.Checksum = checksumZero
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, err
	}
	return sealJSON(append(b, '\n')), nil
}

// parseManifest checks and takes apart the content of manifest.json.
func parseManifest(b []byte) (*manifest, error) {
	bad := func(reason string, err error) error {
		return &CorruptError{File: manifestName, Reason: reason, Err: err}
	}
	var head struct {
		Version int `json:"version"`
	}
	// A newer version may have another checksum rule, so it is looked at first.
	if json.Unmarshal(b, &head) == nil && head.Version > formatVersion {
		return nil, fmt.Errorf("%w (tape format %d, this is %d)", ErrVersion, head.Version, formatVersion)
	}
	if reason := checkSealedJSON(b); reason != "" {
		return nil, bad(reason, nil)
	}
	m := &manifest{}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, bad("not valid JSON", err)
	}
	if reason := m.check(); reason != "" {
		return nil, bad(reason, nil)
	}
	return m, nil
}

func (m *manifest) check() string {
	switch {
	case m.Version != formatVersion:
		return "unknown version"
	case m.Shards < 1 || m.Shards > ShardsMax:
		return "number of shards is out of range"
	case !m.Codec.known():
		return "no codec"
	case m.Closed && (m.Totals == nil || m.Digest == nil):
		return "closed without totals or digest"
	case m.KeyInterval < 0:
		return "keyframe interval is below zero"
	}
	if s := m.Start; s != nil && (s.Segment < 1 || s.Blocks < 1 || s.Blocks > 1<<40 || s.Segment > 99_999_999) {
		return "start is damaged"
	}
	for i, s := range m.Segments {
		if s.Name != segmentName(m.firstSegment()+i) || s.Size < SegmentHeaderSize || s.Blocks < 0 || s.Keyframes < 0 {
			return "segment list is damaged"
		}
	}
	return ""
}

// firstSegment is the number of the first segment that the tape still has.
func (m *manifest) firstSegment() int { return m.start().Segment }

// segment is the line of a segment of a closed tape.
func (m *manifest) segment(number int) *manifestSegment { return &m.Segments[number-m.firstSegment()] }

// start says where the tape begins; the zero value is at its first segment.
func (m *manifest) start() manifestStart {
	if m.Start == nil {
		return manifestStart{}
	}
	return *m.Start
}

// keyInterval is the tape's keyframe interval, or the default where it does not
// say.
func (m *manifest) keyInterval() int64 {
	if m.KeyInterval == 0 {
		return KeyframeIntervalDefault
	}
	return m.KeyInterval
}

func writeManifest(fsx fsys.FS, dir string, m *manifest) error {
	b, err := m.encode()
	if err != nil {
		return err
	}
	if err := fsys.WriteFile(fsx, dir, manifestName, b); err != nil {
		return &WriteError{File: dir + "/" + manifestName, Err: err}
	}
	return nil
}

func readManifest(fsx fsys.FS, dir string) (*manifest, error) {
	b, err := fsys.ReadFile(fsx, dir+"/"+manifestName, manifestSizeMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNotTape)
	}
	if err != nil {
		return nil, fmt.Errorf("tape: read manifest: %w", err)
	}
	m, err := parseManifest(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return m, nil
}

// describe adds what the manifest does not say yet of the records.
func (m *manifest) describe(encodings []Encoding, sources []string) {
	for _, e := range encodings {
		if !slices.ContainsFunc(m.Encodings, e.Equal) {
			m.Encodings = append(m.Encodings, e)
		}
	}
	for _, s := range sources {
		if !slices.Contains(m.Sources, s) {
			m.Sources = append(m.Sources, s)
		}
	}
}
