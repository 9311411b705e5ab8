package export

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net/netip"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// lineTape has two records of lines.
func lineTape(t testing.TB) *memory {
	m := &memory{encodings: []wire.Encoding{{Format: "lines"}}}
	for _, body := range []string{"one", "two"} {
		m.add(t, wire.Fields{Topic: []byte("T"), Body: []byte(body)})
	}
	return m
}

// New refuses what does not fit, and says what there is.
func TestNewRefuses(t *testing.T) {
	csv, dbn := wire.Encoding{Format: "csv", Topics: "C."}, wire.Encoding{Format: "dbn"}
	other := wire.Encoding{Format: "dbn", Detail: map[string]string{"head": "RA=="}}
	for _, c := range []struct {
		name, target string
		cfg          Config
		want         error
		text         string
	}{
		{"no target", "xml", Config{}, ErrTarget, "original, dbn, csv, jsonl, parquet, pcap"},
		{"no encoding", "dbn", Config{}, ErrEncoding, "does not say"},
		{"another format", "dbn", Config{Encodings: []wire.Encoding{csv}}, ErrEncoding, "the tape has csv (topics C.)"},
		{"two formats", "dbn", Config{Encodings: []wire.Encoding{dbn, csv}}, ErrEncoding, "the tape has dbn, csv (topics C.)"},
		{"two files", "dbn", Config{Encodings: []wire.Encoding{dbn, other}}, ErrEncoding, "2 files"},
		{"original of a generator", "original", Config{Encodings: []wire.Encoding{{Format: "synth"}}}, ErrEncoding, "has synth"},
		{"original of a capture", "original", Config{Encodings: []wire.Encoding{{Format: "itch", Detail: map[string]string{"framing": "moldudp64"}}}}, ErrEncoding, "pcap"},
		{"pcap of iex", "pcap", Config{Encodings: []wire.Encoding{{Format: "iex"}}}, ErrEncoding, "pcap is written of records of itch, pcap; the tape has iex"},
		{"compressed parquet", "parquet", Config{Compression: Zstd}, ErrOption, "in itself"},
		{"session of csv", "csv", Config{Session: "A"}, ErrOption, "csv has none"},
		{"group of datagrams", "pcap", Config{Encodings: []wire.Encoding{{Format: "pcap"}}, Group: netip.MustParseAddrPort("1.2.3.4:5")}, ErrOption, "had"},
		{"long session", "pcap", Config{Session: "ABCDEFGHIJK"}, ErrOption, "up to 10"},
		{"session with a blank", "pcap", Config{Session: "A B"}, ErrOption, "letters"},
		{"small MTU", "pcap", Config{MTU: 67}, ErrOption, "68"},
		{"large MTU", "pcap", Config{MTU: 65536}, ErrOption, "65535"},
	} {
		_, err := New(c.target, c.cfg)
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// Bad details of an encoding are errors, not files.
func TestNewBadDetail(t *testing.T) {
	for name, e := range map[string]wire.Encoding{
		"dbn head":    {Format: "dbn", Detail: map[string]string{"head": "?"}},
		"csv header":  {Format: "csv", Detail: map[string]string{"header_base64": "?"}},
		"prefix":      {Format: "length-prefixed", Detail: map[string]string{"prefix": "u8"}},
		"json prefix": {Format: "jsonl", Detail: map[string]string{"prefix": "x"}},
		"json unit":   {Format: "jsonl", Detail: map[string]string{"prefix": "time", "prefix_unit": "iso"}},
	} {
		if _, err := New("original", Config{Encodings: []wire.Encoding{e}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// Only the encodings of the records' topics count, and those with the longest
// prefix.
func TestTopicsChooseEncodings(t *testing.T) {
	two := []wire.Encoding{{Format: "dbn", Topics: "GLBX."}, {Format: "csv", Topics: "SPY"}, {Format: "dbn", Topics: "XNAS."}}
	rest := []wire.Encoding{{Format: "csv"}, {Format: "dbn", Topics: "GLBX."}, {Format: "lines", Topics: "GLBX.L"}}
	for _, c := range []struct {
		encodings []wire.Encoding
		topics    []string
		want      string // in the error; "" is none
	}{
		{two, nil, "the tape has dbn (topics GLBX.), csv (topics SPY)"},
		{two, []string{"GLBX.MDP3.ESH4"}, ""},
		{two, []string{"GLBX.", "XNAS.ITCH"}, ""}, // the same but for their topics
		{two, []string{"GLBX.A", "SPY"}, "csv"},
		{two, []string{"GLBX.A", "G"}, "records of topic G are"},
		{two, []string{"G"}, "records of topic G are"},
		{rest, []string{"GLBX.A"}, ""},
		{rest, []string{"GLBX.A", "GLBX.L1"}, "lines (topics GLBX.L)"},
		{rest, []string{"GLBX.A", "X"}, "csv"},
	} {
		_, err := New("dbn", Config{Encodings: c.encodings, Topics: c.topics})
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v: %v, want %q", c.topics, err, c.want)
		}
	}
}

func TestCompression(t *testing.T) {
	for name, want := range map[string]Compression{
		"a.csv": None, "a.csv.zst": Zstd, "A.ZSTD": Zstd, "a.gz": Gzip, "-": None, "zst": None, "": None,
	} {
		if got := CompressionOf(name); got != want {
			t.Errorf("%q: %d, want %d", name, got, want)
		}
	}
	const want = "one\ntwo\n"
	for c, open := range map[Compression]func(io.Reader) (io.Reader, error){
		None: func(r io.Reader) (io.Reader, error) { return r, nil },
		Gzip: func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		Zstd: func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		cfg := lineTape(t).config()
		cfg.Compression = c
		file, rep := write(t, "original", cfg)
		r, err := open(bytes.NewReader(file))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if string(got) != want || err != nil {
			t.Errorf("compression %d: %q %v", c, got, err)
		}
		if rep.Content != uint64(len(want)) || rep.Bytes != uint64(len(file)) {
			t.Errorf("compression %d: report %+v of %d bytes", c, rep, len(file))
		}
	}
}

// failing fails at a byte.
type failing struct {
	left int
	err  error
}

func (f *failing) Write(p []byte) (int, error) {
	if len(p) > f.left {
		n := f.left
		f.left = 0
		return n, f.err
	}
	f.left -= len(p)
	return len(p), nil
}

// Errors of the output, of the walk and of the context are told apart, by every
// target.
func TestErrors(t *testing.T) {
	itchRecords := itchTape(t, []wire.Nanos{1, 2}, 12, 12)
	dbnRecords := importDBN(t, 100)
	for target, m := range map[string]*memory{
		"original": lineTape(t), "csv": lineTape(t), "jsonl": lineTape(t), "parquet": lineTape(t),
		"pcap": itchRecords, "dbn": dbnRecords,
	} {
		for _, c := range []Compression{None, Zstd} {
			if target == "parquet" && c != None {
				continue
			}
			cfg := m.config()
			cfg.Compression = c
			full := errors.New("disk full")
			if _, err := mustNew(t, target, cfg).Write(context.Background(), &failing{err: full}); !errors.Is(err, full) {
				t.Errorf("%s, output: %v", target, err)
			}
			ctx, cancel := context.WithCancelCause(context.Background())
			stop := errors.New("stop")
			cancel(stop)
			if _, err := mustNew(t, target, cfg).Write(ctx, io.Discard); !errors.Is(err, stop) {
				t.Errorf("%s, context: %v", target, err)
			}
			damage := errors.New("damage")
			cfg.Open = func() Records { return &walk{rest: m.data, err: damage} }
			var read *ReadError
			if _, err := mustNew(t, target, cfg).Write(context.Background(), io.Discard); !errors.As(err, &read) || !errors.Is(err, damage) {
				t.Errorf("%s, walk: %v", target, err)
			}
		}
	}
}

func mustNew(t testing.TB, target string, cfg Config) *Export {
	t.Helper()
	x, err := New(target, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func importDBN(t testing.TB, n int) *memory {
	return importBytes(t, "x.dbn", dbnFile(2, n), feed.Options{})
}

// A body that is no DBN record would make the file unreadable.
func TestDBNForeignBody(t *testing.T) {
	m := importDBN(t, 1)
	for _, body := range []string{"", "short", strings.Repeat("\x05", 24)} {
		n := &memory{data: bytes.Clone(m.data), encodings: m.encodings}
		n.add(t, wire.Fields{Topic: []byte("T"), Body: []byte(body)})
		_, err := mustNew(t, "dbn", n.config()).Write(context.Background(), io.Discard)
		var at *RecordError
		if !errors.As(err, &at) || at.Number != 1 || !errors.Is(err, errNotDBN) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

// A body too long for its length field is refused.
func TestPrefixedTooLong(t *testing.T) {
	m := &memory{encodings: []wire.Encoding{{Format: "length-prefixed", Detail: map[string]string{"prefix": "u16le"}}}}
	m.add(t, wire.Fields{Topic: []byte("T"), Body: make([]byte, 65535)})
	write(t, "original", m.config())
	m.add(t, wire.Fields{Topic: []byte("T"), Body: make([]byte, 65536)})
	_, err := mustNew(t, "original", m.config()).Write(context.Background(), io.Discard)
	var at *RecordError
	if !errors.As(err, &at) || at.Number != 1 || !errors.Is(err, errLength) {
		t.Error(err)
	}
}
