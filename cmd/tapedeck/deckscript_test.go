package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/wire"
)

// seedEnv repeats the choices of a random test.
const seedEnv = "TAPEDECK_TEST_SEED"

// testSeed is what a test draws its choices from. It is another one on every run, unless
// it is given.
func testSeed(t *testing.T) uint64 {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv(seedEnv); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%s=%d makes the same choices", seedEnv, seed)
	return seed
}

// TestDeckScript gives a deck of a serving process random commands over the bus, while
// readers stay attached. Whenever the deck stands still, every reader must have been
// sent what the commands say, and nothing else: last values where an epoch begins, then
// the tape's records from there on, in order, through the filter in force, round by round
// where they loop. All of them have the same bytes, the deck's state is what they have
// seen, and the connections at the end are those of the beginning.
func TestDeckScript(t *testing.T) {
	const readers = 20
	commands := 200
	if testing.Short() {
		commands = 40
	}
	seed := testSeed(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "day.tape")
	tapedeck(t, "import", "synth:topics=60,records=12000,rate=2000,size=64-200,burst=20,quiet=0.02,quiet-length=300ms,seed=11",
		"--shards", "2", "--block-size", "16384", "-o", path)
	serve := startServe(t, dir, "--only", "metrics,broker,decks", "--metrics", "127.0.0.1:0")
	s := &deckScript{stationTest: serve.on(t), book: readBook(t, path), rng: rand.New(rand.NewPCG(seed, 0)), speed: "1x"}
	s.state = ask[control.DeckResult](s.stationTest, control.ServiceDeck, "open", control.DeckOpen{
		Tapes: []string{"day.tape"}, Bind: "tcp://127.0.0.1:*", Wait: readers, Paused: true,
	}).DeckState
	for i := range readers {
		s.readers = append(s.readers, readDeck(t, fmt.Sprint("reader ", i), s.book, s.state.Shards))
	}
	for s.state.Phase == "waiting" {
		s.state = ask[control.DeckResult](s.stationTest, control.ServiceDeck, "state", nil).DeckState
	}
	s.first = wire.Epoch(s.state.Epoch)
	s.cur = &deckEpoch{epoch: s.first}
	s.cur.plan(s.book)
	connections := s.connections()
	if len(connections) != readers {
		t.Fatalf("%d readers have connections: %v", len(connections), connections)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the last commands were\n%s", strings.Join(s.story[max(0, len(s.story)-12):], "\n"))
		}
	})
	s.give("step", control.DeckStep{N: 3}, nil) // a mark needs a place
	for range commands {
		s.next()
	}
	s.finish(serve.serving.Metrics, connections)
	t.Logf("%d commands (%v), %d epochs, %d records to each of %d readers", s.given, s.counts, s.epochs, s.state.Records, readers)
}

// deckScript is a deck and what it has been told.
type deckScript struct {
	*stationTest
	book    *deckBook
	readers []*deckReader
	rng     *rand.Rand

	state   control.DeckState // as it was answered last
	settled bool              // readers have everything that it says
	speed   string
	squeeze time.Duration
	marks   []control.TapeMark
	looped  int64 // time that the latest loop was given
	given   int
	counts  map[string]int
	story   []string // what was told and answered

	said   []deckSaid // since it was settled
	first  wire.Epoch
	cur    *deckEpoch // the epoch at hand, as far as it was followed
	over   []*deckEpoch
	mute   int // epochs that a command began and nobody said so
	epochs int
}

// deckSaid is a command that was done, and what it must have brought about.
type deckSaid struct {
	name   string
	state  control.DeckState // the answer
	own    *deckOwn          // the epoch that it begins, nil: none
	may    bool              // it may do without
	loop   *deckSpan         // of a loop
	off    bool              // no loop any more
	topics []string          // of a filter
}

// deckOwn is the epoch that a command begins.
type deckOwn struct {
	reason string
	at     wire.Nanos // 0: only the deck knows
}

// next gives one random command, and looks at what came of it.
func (s *deckScript) next() {
	s.Helper()
	s.command()
	if s.state.Phase == "playing" {
		s.playOn()
	}
	if s.state.Phase != "playing" {
		s.settle()
	}
}

// command gives a random command.
func (s *deckScript) command() {
	s.Helper()
	switch n := s.rng.IntN(100); {
	case n < 14:
		s.give("pause", control.DeckOf{}, nil)
	case n < 28:
		s.play("resume", control.DeckOf{})
	case n < 36:
		p := control.DeckPlay{}
		if s.rng.IntN(2) == 0 {
			p.Speed = s.anySpeed()
		}
		s.play("play", p)
	case n < 48:
		s.step(1 + s.rng.IntN(1<<s.rng.IntN(9)))
	case n < 68:
		s.seek()
	case n < 76:
		speed := s.anySpeed()
		s.give("speed", control.DeckSpeed{Speed: speed}, func(said *deckSaid) { s.speed = speed })
	case n < 83:
		s.loop()
	case n < 88:
		s.give("loop", control.DeckLoop{Off: true}, func(said *deckSaid) { said.off = true })
	case n < 94:
		s.filter(s.anyTopics())
	case n < 97:
		s.squeezeTo([]string{"off", "5ms", "50ms"}[s.rng.IntN(3)])
	default:
		s.mark()
	}
}

func (s *deckScript) anySpeed() string {
	return []string{"1x", "0.5x", "10x", "100x", "max"}[s.rng.IntN(5)]
}

// anyTopics is one of all topics, many, few and rare ones, and none that is there.
func (s *deckScript) anyTopics() []string {
	return [][]string{nil, nil, {"SYN.A000"}, {"SYN.A0001", "SYN.A003"}, {"SYN.A005"}, {"NO"}}[s.rng.IntN(6)]
}

// give gives a command that must be done.
func (s *deckScript) give(name string, args any, more func(*deckSaid)) {
	s.Helper()
	if err := s.tell(name, args, more); err != nil {
		s.Fatalf("command %d, %s %+v: %v", s.given, name, args, err)
	}
}

// tell gives a command.
func (s *deckScript) tell(name string, args any, more func(*deckSaid)) error {
	s.Helper()
	said := deckSaid{name: name}
	if more != nil {
		more(&said)
	}
	s.given++
	if s.counts == nil {
		s.counts = map[string]int{}
	}
	s.counts[name]++
	var r control.DeckResult
	err := s.client.Do(s.T.Context(), control.ServiceDeck, name, args, &r)
	if err != nil {
		// It has changed nothing; where the deck is now must be asked for.
		r = ask[control.DeckResult](s.stationTest, control.ServiceDeck, "state", nil)
		said = deckSaid{name: name, state: r.DeckState}
	}
	said.state = r.DeckState
	s.story = append(s.story, fmt.Sprintf("%s %+v (%v): %s at %s, epoch %d, ordinal %d, %d records", name, args, err, r.Phase, r.Speed, r.Epoch, r.Ordinal, r.Records))
	s.said = append(s.said, said)
	s.state, s.settled = r.DeckState, false
	return err
}

// beyond is tell where there may be nothing left to play.
func (s *deckScript) beyond(name string, args any, more func(*deckSaid)) bool {
	s.Helper()
	err := s.tell(name, args, more)
	var told *control.Error
	if err != nil && (!errors.As(err, &told) || told.Code != control.BeyondTape) {
		s.Fatalf("command %d, %s %+v: %v", s.given, name, args, err)
	}
	return err == nil
}

// play goes on, at the end from the start.
func (s *deckScript) play(name string, args any) {
	s.Helper()
	s.give(name, args, func(said *deckSaid) {
		said.own, said.may = &deckOwn{"seek", wire.Nanos(s.state.FirstTime)}, true
		if p, ok := args.(control.DeckPlay); ok && p.Speed != "" {
			s.speed = p.Speed
		}
	})
}

// step makes steps; where the deck stood still, they are the next records in the one
// order.
func (s *deckScript) step(n int) {
	s.Helper()
	before, settled, stood := s.state, s.settled, s.standing()
	done := s.beyond("step", control.DeckStep{N: n}, nil)
	s.settle()
	if s.state.Phase != "paused" {
		s.Fatalf("after %d steps it is %s", n, s.state.Phase)
	}
	made := s.state.Records - before.Records
	left := 0
	if stood != nil {
		for s := range stood.played {
			left += len(stood.played[s]) - stood.at[s]
		}
	}
	switch {
	case !settled:
		if done && made < 1 {
			s.Errorf("%d steps, and no record", n)
		}
	case done && s.state.Loop == nil && made != uint64(min(n, left)), done && s.state.Loop != nil && made != uint64(n), !done && made != 0:
		s.Errorf("%d steps sent %d records, done: %v; %d were left of %v", n, made, done, left, stood.deckEpoch)
	case wire.Epoch(s.state.Epoch) == stood.epoch && !slices.Equal(s.standing().at, stood.after(n)):
		s.Errorf("%d steps of %v went from %v to %v, want %v", n, stood.deckEpoch, stood.at, s.standing().at, stood.after(n))
	}
}

// seek goes to a random place, by each of the ways to name one.
func (s *deckScript) seek() {
	s.Helper()
	first, last := s.state.FirstTime, s.state.LastTime
	own := &deckOwn{reason: "seek"}
	to := ""
	switch n := s.rng.IntN(10); {
	case n < 4:
		own.at = wire.Nanos(first + s.rng.Int64N(last-first+1))
		to = strconv.FormatInt(int64(own.at), 10)
	case n < 5:
		own.at, to = wire.Nanos(first), "start"
	case n < 6 && len(s.marks) > 0:
		m := s.marks[s.rng.IntN(len(s.marks))]
		own.at, to = wire.Nanos(m.Time), "@"+m.Name
	case n < 7: // somewhere near the end, or behind it
		own.at = wire.Nanos(last - int64(50*time.Millisecond) + s.rng.Int64N(int64(100*time.Millisecond)))
		to = time.Unix(0, int64(own.at)).UTC().Format(time.RFC3339Nano)
	default:
		d := time.Duration(s.rng.Int64N(int64(4*time.Second))) - 2*time.Second
		to = fmt.Sprintf("%+dns", int64(d))
		if s.settled {
			own.at = wire.Nanos(s.state.PositionTime + int64(d))
		}
	}
	done := s.beyond("seek", control.DeckSeek{To: to}, func(said *deckSaid) { said.own = own })
	if own.at != 0 && done != (own.at <= wire.Nanos(last)) {
		s.Errorf("seek %s, the tape ends at %d: done is %v", to, last, done)
	}
}

// loop plays a random stretch again and again.
func (s *deckScript) loop() {
	s.Helper()
	first, last := s.state.FirstTime, s.state.LastTime
	a := first + s.rng.Int64N(last-first)
	l := control.DeckLoop{From: strconv.FormatInt(a, 10)}
	if len(s.marks) > 0 && s.rng.IntN(4) == 0 {
		m := s.marks[s.rng.IntN(len(s.marks))]
		a, l.From = m.Time, "@"+m.Name
	}
	if a == s.looped { // nobody could tell its first round from one of the loop before
		a++
		l.From = strconv.FormatInt(a, 10)
	}
	s.looped = a
	b := a + 1 + s.rng.Int64N(int64(time.Millisecond)<<s.rng.IntN(12))
	if l.To = strconv.FormatInt(b, 10); s.rng.IntN(2) == 0 {
		l.To = fmt.Sprintf("+%dns", b-a)
	}
	span := &deckSpan{from: s.book.at(wire.Nanos(a)), to: s.book.at(wire.Nanos(b)), at: wire.Nanos(a)}
	done := s.beyond("loop", l, func(said *deckSaid) { said.own, said.loop = &deckOwn{"loop", span.at}, span })
	if done != (span.from < span.to) {
		s.Errorf("loop %+v is from place %d to %d: done is %v", l, span.from, span.to, done)
	}
	if done && (s.state.Loop == nil || s.state.Loop.From != int64(s.book.time(span.from)) ||
		s.state.Loop.To != cmp.Or(map[bool]int64{false: b}[span.to == s.book.end()], 0)) {
		s.Errorf("loop %+v from %d to %d: it is %+v", l, a, b, s.state.Loop)
	}
}

func (s *deckScript) filter(topics []string) {
	s.Helper()
	s.give("filter", control.DeckFilter{Topics: topics}, func(said *deckSaid) {
		said.own, said.topics = &deckOwn{reason: "filter"}, topics
	})
}

func (s *deckScript) squeezeTo(to string) {
	s.Helper()
	s.squeeze, _ = time.ParseDuration(to) // off is 0
	s.give("squeeze", control.DeckSqueeze{Squeeze: to}, nil)
}

// mark puts a mark where the deck is.
func (s *deckScript) mark() {
	s.Helper()
	var m control.DeckMarked
	name := fmt.Sprint("m", len(s.marks))
	if err := s.client.Do(s.T.Context(), control.ServiceDeck, "mark", control.DeckMark{Name: name}, &m); err != nil {
		s.Fatal(err)
	}
	if m.Mark.Name != name || m.Mark.Clock != "receive" || s.settled && m.Mark.Time != s.state.PositionTime || m.Tape != "day.tape" {
		s.Errorf("mark at %d: %+v", s.state.PositionTime, m.Mark)
	}
	s.marks = append(s.marks, m.Mark)
	s.given++
	s.counts["mark"]++
}

// playOn lets a deck play until some more records have come, or none will.
func (s *deckScript) playOn() {
	s.Helper()
	more := uint64(s.rng.IntN(1 + map[string]int{"0.5x": 5, "1x": 10, "10x": 100, "100x": 1000, "max": 10_000}[s.speed]))
	r := s.readers[0]
	r.mu.Lock()
	from, epochs := r.records, len(r.epochs)
	r.mu.Unlock()
	if err := r.await(func() bool {
		return r.records >= from+more || len(r.epochs) > epochs+5 || r.told.Version > 0 && r.told.Phase != "playing"
	}); err != nil {
		s.Fatal(err)
	}
	s.state = ask[control.DeckResult](s.stationTest, control.ServiceDeck, "state", nil).DeckState
	s.said = append(s.said, deckSaid{name: "state", state: s.state})
}

// connections are the addresses of each reader's connections, by name.
func (s *deckScript) connections() map[string]string {
	s.Helper()
	all := map[string]string{}
	for _, r := range ask[control.ReadersList](s.stationTest, control.ServiceReaders, "list", nil).Readers {
		for _, c := range r.Connections {
			all[r.Name] += fmt.Sprintf("%d: %s ", c.Shard, c.Peer)
		}
	}
	return all
}

// finish plays to the end, and has readers prove that they have everything.
func (s *deckScript) finish(metrics string, connections map[string]string) {
	s.Helper()
	s.give("loop", control.DeckLoop{Off: true}, func(said *deckSaid) { said.off = true })
	s.filter(nil)
	s.play("play", control.DeckPlay{Speed: "max"})
	for s.state.Phase != "held" {
		s.state = ask[control.DeckResult](s.stationTest, control.ServiceDeck, "state", nil).DeckState
		s.said = append(s.said, deckSaid{name: "state", state: s.state})
	}
	s.settle()
	s.cur.whole = true
	s.check()
	if now := s.connections(); fmt.Sprint(now) != fmt.Sprint(connections) {
		s.Errorf("connections were\n%v\nand are\n%v", connections, now)
	}
	shown := s.publisherMetrics(metrics)
	for name, want := range map[string]float64{"readers_joined": float64(len(s.readers)), "readers_left": 0, "records": float64(s.state.Records)} {
		if got := shown["tapedeck_publisher_"+name+"_total"]; got < want || name != "records" && got != want {
			s.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if shown["tapedeck_publisher_dropped_notices_total"] == 0 && s.mute > 0 {
		s.Errorf("the deck dropped no notice, and %d times a reader was not told what began an epoch", s.mute)
	}
	ask[control.DeckResult](s.stationTest, control.ServiceDeck, "stop", nil)
	for _, r := range s.readers {
		if err := <-r.done; err != nil {
			s.Errorf("%s: %v", r.name, err)
		}
		sum := r.sub.Summary()
		if !sum.Complete || sum.Gaps+sum.Lost+sum.Broken+sum.Refused+sum.Repeated+sum.Diverged+sum.Corrupt != 0 {
			s.Errorf("%s: %s, %+v", r.name, sum.Why(), sum)
		}
	}
}

// publisherMetrics are the numbers of the deck's publisher.
func (s *deckScript) publisherMetrics(url string) map[string]float64 {
	s.Helper()
	response, err := http.Get(url)
	if err != nil {
		s.Fatal(err)
	}
	defer response.Body.Close()
	page, err := io.ReadAll(response.Body)
	if err != nil {
		s.Fatal(err)
	}
	shown := map[string]float64{}
	for line := range strings.Lines(string(page)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, _, _ = strings.Cut(name, "{")
		if v, err := strconv.ParseFloat(value, 64); err == nil {
			shown[name] = v
		}
	}
	return shown
}
