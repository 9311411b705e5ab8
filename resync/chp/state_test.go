package chp

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

func newTestState(t testing.TB, cfg Config) *state {
	t.Helper()
	cfg.Updates = "inproc://none"
	if cfg.Store == nil && cfg.First == 0 {
		cfg.First = 1
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	return newState(&cfg)
}

// TestTable: a table does what a map does, and captures stay as they were,
// through any changes.
func TestTable(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		tab, model := newTable(), map[string]string{}
		type captured struct {
			chunks []*chunk
			model  map[string]string
			prefix string
		}
		var captures []captured
		for i := range 3000 {
			key := fmt.Sprintf("%c/%d", 'a'+rng.IntN(3), rng.IntN(700))
			switch rng.IntN(10) {
			case 0, 1, 2:
				if old := tab.remove([]byte(key)); (old != nil) != (model[key] != "") {
					t.Fatalf("seed %d: removed %v, had %q", seed, old, model[key])
				}
				delete(model, key)
			case 3:
				if rng.IntN(30) == 0 {
					captures = append(captures, captured{tab.capture(), maps.Clone(model), key[:rng.IntN(3)]})
				}
			default:
				value := fmt.Sprint(i)
				old := tab.put(newItem(&Entry{Key: []byte(key), Value: []byte(value), Sequence: uint64(i)}))
				if old == nil != (model[key] == "") || old != nil && string(old.Value) != model[key] {
					t.Fatalf("seed %d: replaced %v, had %q", seed, old, model[key])
				}
				model[key] = value
			}
			if it := tab.get([]byte(key)); (it != nil) != (model[key] != "") || it != nil && string(it.Value) != model[key] {
				t.Fatalf("seed %d: got %v, want %q", seed, it, model[key])
			}
		}
		bytes := 0
		for k, v := range model {
			bytes += len(k) + len(v)
		}
		if tab.len() != len(model) || tab.bytes != bytes {
			t.Fatalf("seed %d: %d entries of %d bytes, want %d of %d", seed, tab.len(), tab.bytes, len(model), bytes)
		}
		for i, c := range append(captures, captured{tab.capture(), model, ""}) {
			got := map[string]string{}
			w := walk{chunks: c.chunks, prefix: []byte(c.prefix)}
			for e := w.next(); e != nil; e = w.next() {
				got[string(e.Key)] = string(e.Value)
			}
			maps.DeleteFunc(c.model, func(k, _ string) bool { return !strings.HasPrefix(k, c.prefix) })
			if !maps.Equal(got, c.model) {
				t.Fatalf("seed %d: capture %d of %q differs", seed, i, c.prefix)
			}
		}
	}
}

// published parses what waits to be published.
func published(t testing.TB, s *state) []Message {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	open := func(kind zsock.Type) *zsock.Socket {
		socket, err := ctx.NewSocket(kind, zsock.SocketConfig{SendQueue: -1, ReceiveQueue: -1})
		if err != nil {
			t.Fatal(err)
		}
		return socket
	}
	push, pull, in := open(zsock.PUSH), open(zsock.PULL), zsock.NewInbox()
	defer in.Close()
	defer func() {
		if err := errors.Join(push.Close(), pull.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	}()
	if _, err := pull.Bind("inproc://box"); err != nil {
		t.Fatal(err)
	}
	if err := push.Connect("inproc://box"); err != nil {
		t.Fatal(err)
	}
	box := s.take(nil)
	n := box.Messages()
	if sent, err := push.SendMany(box); sent != n || err != nil {
		t.Fatal(sent, err)
	}
	s.mu.Lock()
	s.spare = box
	s.mu.Unlock()
	var all []Message
	for len(all) < n {
		if err := pull.RecvMany(in, n, 1<<30); err != nil {
			t.Fatal(err)
		}
		for frames := in.Next(); frames != nil; frames = in.Next() {
			m, err := Parse(s.form, frames)
			if err != nil {
				t.Fatal(err)
			}
			k := keep(&m)
			all = append(all, k.Message)
		}
	}
	return all
}

// TestExpiry: values live as long as they are told to, in the order of their
// ends, and their removal is an update. In the guide a backup takes seconds for
// milliseconds, and a value without a time to live has one at random.
func TestExpiry(t *testing.T) {
	s := newTestState(t, Config{})
	now := epochZero
	set := func(key, props, value string) {
		t.Helper()
		p, ttl, err := s.given([]byte(key), Properties(props), []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.set([]byte(key), nil, p, ttl, []byte(value), now); err != nil {
			t.Fatal(err)
		}
	}
	set("/ever", "", "1")
	set("/zero", "ttl=0\n", "1")
	set("/five", "colour=red\nttl=5\n", "1")
	set("/two", "ttl=2\n", "1")
	set("/renewed", "ttl=1\n", "1")
	set("/renewed", "ttl=9\n", "2")
	set("/kept", "ttl=1\n", "1")
	set("/kept", "", "2")
	set("/deleted", "ttl=1\n", "1")
	set("/deleted", "", "")
	got := published(t, s)
	if p := got[2].Properties; string(p.Get("ttl")) != "5" || string(p.Get("colour")) != "red" {
		t.Errorf("/five is published with %q", p)
	}
	if removed, next := s.expire(now.Add(2*time.Second-1), 100); removed != 0 || !next.Equal(now.Add(2*time.Second)) {
		t.Fatalf("removed %d, next %v", removed, next)
	}
	if removed, _ := s.expire(now.Add(5*time.Second), 1); removed != 1 {
		t.Fatalf("removed %d, want 1 at once", removed)
	}
	if removed, next := s.expire(now.Add(5*time.Second), 100); removed != 1 || !next.Equal(now.Add(9*time.Second)) {
		t.Fatalf("removed %d, next %v", removed, next)
	}
	var gone []string
	for _, m := range published(t, s) {
		gone = append(gone, fmt.Sprintf("%d %s=%q %q", m.Sequence, m.Key, m.Value, m.Properties.Get("ttl")))
	}
	if want := `[11 /two="" "" 12 /five="" ""]`; fmt.Sprint(gone) != want {
		t.Errorf("published %v, want %s", gone, want)
	}
	// A snapshot tells the seconds that are left, not when the server's clock ends
	// them.
	at := now.Add(6500 * time.Millisecond)
	a := Answer{capture: s.capture(nil, at), now: func() time.Time { return at }, counters: new(counters)}
	left := map[string]string{}
	for m, ok := a.message(); ok && !m.End(); m, ok = a.message() {
		left[string(m.Key)] = string(m.Properties)
	}
	if want := "map[/ever: /kept: /renewed:ttl=3\n /zero:]"; fmt.Sprint(left) != want {
		t.Errorf("snapshot has %q, want %q", left, want)
	}
	// What is due is in no snapshot, also before it is removed.
	a = Answer{capture: s.capture([]byte("/renewed"), now.Add(9*time.Second)), now: func() time.Time { return at }, counters: new(counters)}
	if m, _ := a.message(); !m.End() {
		t.Errorf("snapshot has %q, which is due", m.Key)
	}
}

// TestRefusals: what cannot be stored or told is refused and changes nothing.
func TestRefusals(t *testing.T) {
	s := newTestState(t, Config{EntriesMax: 2, BytesMax: 60, ValueMax: 50})
	for _, tc := range []struct {
		key, props, value string
		want              error
	}{
		{"", "", "v", ErrKey},
		{strings.Repeat("k", 256), "", "v", ErrKey},
		{"a\x00b", "", "v", ErrKey},
		{"HUGZ", "", "v", ErrKey},
		{"KTHXBAI", "", "v", ErrKey},
		{"k", "ttl=-1\n", "v", ErrTTL},
		{"k", "ttl=soon\n", "v", ErrTTL},
		{"k", "ttl=1.5\n", "v", ErrTTL},
		{"k", "ttl=99999999999999999999\n", "v", ErrTTL},
		{"k", "ttl", "v", ErrProperty},
		{"k", strings.Repeat("x", 4096) + "=\n", "v", ErrProperty},
		{"k", "", strings.Repeat("v", 51), ErrValue},
	} {
		if _, _, err := s.given([]byte(tc.key), Properties(tc.props), []byte(tc.value)); !errors.Is(err, tc.want) {
			t.Errorf("%.20q %.20q: got %v, want %v", tc.key, tc.props, err, tc.want)
		}
	}
	put := func(key, value string) error {
		_, err := s.set([]byte(key), nil, nil, 0, []byte(value), epochZero)
		return err
	}
	if err := errors.Join(put("a", strings.Repeat("v", 40)), put("b", "v")); err != nil {
		t.Fatal(err)
	}
	if err := put("c", "v"); !errors.Is(err, ErrTableFull) {
		t.Errorf("a third entry: %v", err)
	}
	if err := put("b", strings.Repeat("v", 30)); !errors.Is(err, ErrTableFull) {
		t.Errorf("too many bytes: %v", err)
	}
	if s.last() != 2 {
		t.Errorf("sequence is %d after refusals", s.last())
	}
	if err := errors.Join(put("a", "v"), put("b", strings.Repeat("v", 50)), put("a", ""), put("c", "v")); err != nil {
		t.Errorf("replacing and deleting make room: %v", err)
	}
}

// TestServersProperties: what only a server says, a client cannot make it say.
func TestServersProperties(t *testing.T) {
	s := newTestState(t, Config{Epoch: 255})
	p, _, err := s.given([]byte("k"), Properties("epoch=1\na=b\nprevious=0:9\nentries=4\nsequence=1\n"), []byte("v"))
	if err != nil || string(p) != "a=b\n" {
		t.Fatalf("kept %q, %v", p, err)
	}
	if _, err := s.set([]byte("/a/b/c"), []byte("0123456789abcdef"), p, 0, []byte("v"), epochZero); err != nil {
		t.Fatal(err)
	}
	m := published(t, s)[0]
	if want := "a=b\nepoch=00000000000000ff\nprevious=0:0,1:0,3:0,5:0\n"; string(m.Properties) != want || string(m.UUID) != "0123456789abcdef" {
		t.Errorf("published %q, %q", m.Properties, m.UUID)
	}
}

// TestLineage: each update says what was before it in all subtrees that it is in,
// checked against a model.
func TestLineage(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 7))
	l := newLineage("/.")
	lasts := map[string]uint64{}
	var n uint64
	for range 5000 {
		var key strings.Builder
		for range rng.IntN(12) {
			key.WriteByte(byte('a' + rng.IntN(3)))
			if rng.IntN(2) == 0 {
				key.WriteByte("/."[rng.IntN(2)])
			}
		}
		key.WriteByte('z')
		k := key.String()
		n += 1 + rng.Uint64N(3)
		p := l.appendPrevious(Properties{}, []byte(k), n)
		if err := p.check(); err != nil {
			t.Fatalf("%q: %v", p, err)
		}
		deep := 0
		for i := 0; i <= len(k); i++ {
			is := i == 0 || k[i-1] == '/' || k[i-1] == '.'
			if is {
				deep++
			}
			got, told := previous(p, i)
			if told != (is && deep <= lineageDeep+1) || told && got != lasts[k[:i]] {
				t.Fatalf("%q at %d: got %d, %v, want %d", k, i, got, told, lasts[k[:i]])
			}
			if is {
				lasts[k[:i]] = n
			}
		}
		if _, told := previous(p, len(k)+1); told {
			t.Fatal("told of what is beyond the key")
		}
	}
	// More subtrees than are followed: those that were are, and the others never.
	full := newLineage("/")
	for i := range lineageMax + 10 {
		full.note([]byte(fmt.Sprintf("%d/k", i)), uint64(i)+1)
	}
	if len(full.subtrees) != lineageMax {
		t.Errorf("follows %d subtrees", len(full.subtrees))
	}
	if got, told := previous(full.appendPrevious(Properties{}, []byte("7/x"), 1<<20), 2); !told || got != 8 {
		t.Errorf("got %d, %v", got, told)
	}
	if _, told := previous(full.appendPrevious(Properties{}, fmt.Appendf(nil, "%d/x", lineageMax+5), 1<<21), 6); told {
		t.Error("told of a subtree that is not followed")
	}
}

// TestLongestPrevious: however large the numbers, the property can be parsed.
func TestLongestPrevious(t *testing.T) {
	l := newLineage("/")
	key := []byte(strings.Repeat("/", 254) + "k")
	huge := uint64(1<<64 - 2)
	l.note(key, huge)
	p := l.appendPrevious(Properties("epoch=0123456789abcdef\n"), key, huge+1)
	if err := p.check(); err != nil {
		t.Fatalf("%q: %v", p, err)
	}
	if got, told := previous(p, lineageDeep); !told || got != huge {
		t.Errorf("got %d, %v", got, told)
	}
}

// TestLostUpdateShows: an update that could not be queued is the one before the
// next for those who check.
func TestLostUpdateShows(t *testing.T) {
	s := newTestState(t, Config{Store: &memory{}, QueueMax: 100})
	s.wanted.Store(true)
	if err := s.update([]byte("/a/x"), 5, nil, make([]byte, 100)); err != nil {
		t.Fatal(err)
	}
	if err := s.update([]byte("/a/x"), 6, nil, []byte("lost")); !errors.Is(err, ErrQueueFull) {
		t.Fatal(err)
	}
	if n := len(published(t, s)); n != 1 {
		t.Fatalf("%d messages", n)
	}
	if err := s.update([]byte("/a/x"), 7, nil, []byte("v")); err != nil {
		t.Fatal(err)
	}
	if before, told := previous(published(t, s)[0].Properties, 3); !told || before != 6 {
		t.Errorf("says that %d was before it, %v", before, told)
	}
	if err := s.update([]byte("/a/x"), 7, nil, []byte("v")); !errors.Is(err, ErrOrder) {
		t.Errorf("the same sequence again: %v", err)
	}
}

// TestConfig: what makes no sense is refused, and the rest gets its default.
func TestConfig(t *testing.T) {
	for _, cfg := range []Config{
		{}, {Updates: "x", EntriesMax: -1}, {Updates: "x", Stall: -1}, {Updates: "x", Form: 2}, {Updates: "x", First: 1 << 63},
		{Updates: "x", Store: &memory{}, First: 9}, {Updates: "x", Separators: "\x00"},
	} {
		if _, err := NewServer(cfg); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", cfg, err)
		}
	}
	before := uint64(time.Now().UnixMicro())
	cfg, err := Config{Updates: "x"}.withDefaults()
	if err != nil || cfg.First < before || cfg.Epoch == 0 || cfg.First > 1<<53 {
		t.Errorf("%+v, %v", cfg, err)
	}
	for _, bad := range []string{"", "tcp://host", "tcp://host:0", "tcp://host:65534", "ipc://x:1", "tcp://host:*"} {
		if _, err := At(bad); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if at, err := At("tcp://[::1]:5556"); err != nil || at != (Endpoints{"tcp://[::1]:5556", "tcp://[::1]:5557", "tcp://[::1]:5558"}) {
		t.Error(at, err)
	}
}

// TestAllocUpdate: publishing allocates nothing once subtrees are known.
func TestAllocUpdate(t *testing.T) {
	s := newTestState(t, Config{Store: &memory{}})
	key, value := []byte("GLBX/MDP3/ESH4"), make([]byte, 100)
	var n uint64
	box := s.take(nil)
	if allocs := testing.AllocsPerRun(1000, func() {
		n++
		if err := s.update(key, n, nil, value); err != nil {
			t.Fatal(err)
		}
		box.Reset()
		box = s.take(box)
	}); allocs != 0 {
		t.Errorf("%v allocations an update", allocs)
	}
}

// TestAllocParse: so does reading a message.
func TestAllocParse(t *testing.T) {
	frames := [][]byte{[]byte("/a/b"), make([]byte, 8), make([]byte, 16), []byte("epoch=1\nprevious=0:12,1:11\nttl=7\n"), []byte("v")}
	if allocs := testing.AllocsPerRun(1000, func() {
		m, err := Parse(KVMsg, frames)
		if err != nil {
			t.Fatal(err)
		}
		if before, _ := previous(m.Properties, 1); before != 11 {
			t.Fatal(before)
		}
		if ttl, _ := m.Properties.TTL(); ttl != 7*time.Second {
			t.Fatal(ttl)
		}
	}); allocs != 0 {
		t.Errorf("%v allocations a message", allocs)
	}
}

// TestAllocAnswer: so does an entry of a snapshot.
func TestAllocAnswer(t *testing.T) {
	s := newTestState(t, Config{})
	for i := range 5000 {
		if _, err := s.set([]byte(numbered("/k/", i)), nil, nil, time.Hour, []byte("v"), epochZero); err != nil {
			t.Fatal(err)
		}
	}
	a := &Answer{capture: s.capture(nil, epochZero), now: func() time.Time { return epochZero }, counters: new(counters)}
	var out zsock.Outbox
	if allocs := testing.AllocsPerRun(1000, func() {
		m, ok := a.message()
		if !ok || m.End() || !bytes.HasPrefix(m.Key, []byte("/k/")) {
			t.Fatal("no entry")
		}
		out.Reset()
		m.put(&out, KVMsg, []byte("12345"))
	}); allocs > 0 {
		t.Errorf("%v allocations an entry", allocs)
	}
}

func BenchmarkParse(b *testing.B) {
	frames := [][]byte{[]byte("GLBX.MDP3.ESH4"), make([]byte, 8), nil, []byte("epoch=0123456789abcdef\nprevious=0:123456789\n"), make([]byte, 100)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Parse(KVMsg, frames); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkCapture(b *testing.B) {
	s := newTestState(b, Config{})
	for i := range 100_000 {
		if _, err := s.set([]byte(numbered("/k/", i)), nil, nil, 0, make([]byte, 100), epochZero); err != nil {
			b.Fatal(err)
		}
		s.out.Reset()
	}
	b.ReportAllocs()
	for b.Loop() {
		s.capture(nil, epochZero)
	}
}
