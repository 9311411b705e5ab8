package dbn

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/feed"
)

const hour = 3600_000_000_000

// topicsOf reads a file or fragment and returns the topics of its records.
func topicsOf(t *testing.T, opts feed.Options, parts ...[]byte) []string {
	t.Helper()
	var out []string
	for _, r := range readAll(t, mustOpen(t, slices.Concat(parts...), opts)) {
		out = append(out, r.topic)
	}
	return out
}

func wantTopics(t *testing.T, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("topics %q, want %q", got, want)
	}
}

func symbolHead(m ...mapping) []byte {
	return head{version: 3, dataset: "XNAS.ITCH", stypeIn: stypeRawSymbol, stypeOut: stypeInstrumentID, mappings: m}.bytes()
}

// TestTopicIntervals holds that a mapping is valid for its days, by ts_recv.
func TestTopicIntervals(t *testing.T) {
	h := symbolHead(
		mapping{"AAPL", []dates{{20240102, 20240103, "7"}, {20240104, 20240105, "8"}}},
		mapping{"MSFT", []dates{{20240103, 20240104, "7"}}},
	)
	day := uint64(dayNs)
	got := topicsOf(t, feed.Options{}, h,
		trade(7, day0, day0-1),                 // the day before
		trade(7, day0-12*hour, day0),           // the event before, the receipt on the day
		trade(7, day0, day0+day-1),             // last moment
		trade(7, day0, day0+day),               // first moment of the next day
		trade(7, day0, day0+2*day),             // a day without
		trade(8, day0, day0+2*day),             // another id has the symbol
		trade(7, day0, day0),                   // back, out of order
		trade(7, day0+day, undefinedTime),      // no receive time: the event's day
		trade(8, undefinedTime, undefinedTime), // no time, one symbol
		trade(7, undefinedTime, undefinedTime), // no time, two symbols
		trade(9, day0, day0),                   // not mapped
	)
	wantTopics(t, got, "XNAS.ITCH.7", "XNAS.ITCH.AAPL", "XNAS.ITCH.AAPL", "XNAS.ITCH.MSFT", "XNAS.ITCH.7",
		"XNAS.ITCH.AAPL", "XNAS.ITCH.AAPL", "XNAS.ITCH.MSFT", "XNAS.ITCH.AAPL", "XNAS.ITCH.7", "XNAS.ITCH.9")
}

// TestTopicDirections covers the symbology of the head: which side is the id.
func TestTopicDirections(t *testing.T) {
	all := []dates{{20240101, 20250101, "7"}}
	named := []dates{{20240101, 20250101, "ESH4"}}
	tests := []struct {
		name    string
		in, out uint8
		mapping mapping
		want    string
	}{
		{"raw symbol to id", 1, 0, mapping{"ESH4", all}, "D.ESH4"},
		{"id to raw symbol", 0, 1, mapping{"7", named}, "D.ESH4"},
		{"continuous to id", 3, 0, mapping{"ES.c.0", all}, "D.ES.c.0"},
		{"mixed to id", 255, 0, mapping{"ESH4", all}, "D.ESH4"},
		{"id to id", 0, 0, mapping{"7", all}, "D.7"},
		{"continuous to raw symbol", 3, 1, mapping{"ES.c.0", named}, "D.7"},
		{"symbol with spaces", 1, 0, mapping{"ES  240315C05000000", all}, "D.ES  240315C05000000"},
		{"not an id", 1, 0, mapping{"ESH4", []dates{{20240101, 20250101, "7x"}}}, "D.7"},
		{"id too large", 1, 0, mapping{"ESH4", []dates{{20240101, 20250101, "4294967303"}}}, "D.7"},
		{"empty symbol", 1, 0, mapping{"", all}, "D.7"},
		{"not UTF-8", 1, 0, mapping{"ES\xff", all}, "D.7"},
		{"control character", 1, 0, mapping{"ES\n", all}, "D.7"},
		{"empty interval", 1, 0, mapping{"ESH4", []dates{{20250101, 20240101, "7"}}}, "D.7"},
	}
	for _, tt := range tests {
		for version := uint8(1); version <= 3; version++ {
			h := head{version: version, dataset: "D", stypeIn: tt.in, stypeOut: tt.out, mappings: []mapping{tt.mapping}}
			got := topicsOf(t, feed.Options{}, h.bytes(), trade(7, day0, day0))
			if got[0] != tt.want {
				t.Errorf("%s, version %d: topic %q, want %q", tt.name, version, got[0], tt.want)
			}
		}
	}
}

// TestTopicFirstMapping holds that the first of several mappings counts.
func TestTopicFirstMapping(t *testing.T) {
	h := symbolHead(mapping{"ES.c.0", []dates{{20240101, 20250101, "7"}}}, mapping{"ES.v.0", []dates{{20240101, 20250101, "7"}}})
	wantTopics(t, topicsOf(t, feed.Options{}, h, trade(7, day0, day0)), "XNAS.ITCH.ES.c.0")
}

// TestTopicMappingRecords covers symbol mappings in the stream.
func TestTopicMappingRecords(t *testing.T) {
	h := symbolHead(mapping{"OLD", []dates{{20240101, 20250101, "7"}}})
	got := topicsOf(t, feed.Options{}, h,
		trade(7, day0, day0),
		mappingV2Record(7, 4, "ES.FUT", 1, "ESH4"),
		trade(7, day0, day0),
		trade(8, day0, day0),
		mappingV2Record(8, 1, "NQH4", 0, "8"),
		trade(8, day0, day0),
		mappingV1Record(7, "ES.FUT", "ESM4"),
		trade(7, day0+uint64(dayNs), day0+uint64(dayNs)),
		mappingV1Record(8, "NQM4", "8"),
		mappingV2Record(8, 255, "", 255, ""), // names nothing
		trade(8, day0, day0),
	)
	const d = "XNAS.ITCH."
	wantTopics(t, got, d+"OLD", d+"ESH4", d+"ESH4", d+"8", d+"NQH4", d+"NQH4", d+"ESM4", d+"ESM4",
		d+"NQM4", d+"NQM4", d+"NQM4")
}

func definition(size int, id uint32, symbol string) []byte {
	b := blank(rtypeDefinition, size, id, day0)
	l, _ := findLayout(rtypeDefinition, size)
	b[l.recvOff+7] = 0x17 // 2023 or so
	copy(b[l.symbolOff:], symbol)
	return b
}

// TestTopicDefinitions holds that a definition names itself where nothing else
// does, and nobody else.
func TestTopicDefinitions(t *testing.T) {
	got := topicsOf(t, feed.Options{},
		definition(360, 7, "ESH4"), definition(400, 7, "ESM4"), definition(520, 8, ""), trade(7, day0, day0),
		mappingV1Record(7, "ES.FUT", "MAPPED"), definition(400, 7, "ESM4"))
	const d = "GLBX.MDP3."
	wantTopics(t, got, d+"ESH4", d+"ESM4", d+"8", d+"7", d+"MAPPED", d+"MAPPED")
}

// TestTopicDataset covers where the dataset of a topic comes from.
func TestTopicDataset(t *testing.T) {
	opra, nobody := trade(7, day0, day0), trade(7, day0, day0)
	opra[2], nobody[2] = 22, 0
	nobody[3] = 0xff
	rec := trade(7, day0, day0)
	wantTopics(t, topicsOf(t, feed.Options{}, rec, opra, nobody, rec), "GLBX.MDP3.7", "OPRA.PILLAR.7", "DBN.7", "GLBX.MDP3.7")
	wantTopics(t, topicsOf(t, feed.Options{Dataset: "MINE"}, rec, opra), "MINE.7", "MINE.7")
	wantTopics(t, topicsOf(t, feed.Options{Topic: "test/"}, rec), "test/GLBX.MDP3.7")
	unnamed := head{version: 2, stypeOut: 0}.bytes()
	wantTopics(t, topicsOf(t, feed.Options{}, unnamed, rec, opra), "GLBX.MDP3.7", "OPRA.PILLAR.7")
	wantTopics(t, topicsOf(t, feed.Options{Dataset: "MINE"}, unnamed, rec), "MINE.7")
	wantTopics(t, topicsOf(t, feed.Options{Dataset: "XNAS.ITCH"}, symbolHead(), rec), "XNAS.ITCH.7")
}

// TestTopicSize holds that a topic always fits: a symbol that is too long gives
// way to the instrument id, and a prefix that leaves no room is refused.
func TestTopicSize(t *testing.T) {
	long := strings.Repeat("S", 240)
	h := head{version: 2, dataset: "DATASET", stypeIn: 1, symbolLen: 300,
		mappings: []mapping{{long, []dates{{20240101, 20250101, "7"}}}, {long + long, []dates{{20240101, 20250101, "8"}}}}}
	recs := slices.Concat(h.bytes(), trade(7, day0, day0), trade(8, day0, day0))
	wantTopics(t, topicsOf(t, feed.Options{}, recs), "DATASET."+long, "DATASET.8")
	wantTopics(t, topicsOf(t, feed.Options{Topic: "12345678"}, recs), "12345678DATASET.7", "12345678DATASET.8")
	_, err := Format.Open(t.Context(), input(recs), feed.Options{Topic: long})
	if !errors.Is(err, ErrOption) {
		t.Errorf("a prefix without room gives %v", err)
	}
}

// TestTopicsForgotten holds that more instruments than are kept ready still get
// their topics.
func TestTopicsForgotten(t *testing.T) {
	tp, err := newTopics("", "D", &symbolTable{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint32(topicsKept + 10) {
		if got := string(tp.of(opaque, nil, 1, i, day0)); got != "D."+idText(i) {
			t.Fatalf("instrument %d: topic %q", i, got)
		}
	}
	if len(tp.ready) > topicsKept {
		t.Errorf("%d topics are kept, want at most %d", len(tp.ready), topicsKept)
	}
}

func TestMappingsBounded(t *testing.T) {
	tp, err := newTopics("", "D", &symbolTable{})
	if err != nil {
		t.Fatal(err)
	}
	l, _ := findLayout(rtypeMapping, mappingSizeV1)
	for i := range uint32(learnedMax) {
		if err := tp.learn(l, mappingV1Record(i, "", "S"), i); err != nil {
			t.Fatal(err)
		}
	}
	if err := tp.learn(l, mappingV1Record(learnedMax, "", "S"), learnedMax); !errors.Is(err, ErrMappings) {
		t.Errorf("one mapping more gives %v", err)
	}
	if err := tp.learn(l, mappingV1Record(1, "", "T"), 1); err != nil {
		t.Errorf("a new symbol for a known instrument gives %v", err)
	}
}
