package synth_test

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"math"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/wire"
)

var _ feed.Source = (*synth.Source)(nil)

func open(t testing.TB, cfg synth.Config) *synth.Source {
	t.Helper()
	s, err := synth.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// each calls visit for every record until the end.
func each(t testing.TB, s *synth.Source, visit func(r *feed.Record)) {
	t.Helper()
	for {
		r, err := s.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		visit(r)
	}
}

// add puts every byte of a record into a hash.
func add(h hash.Hash, r *feed.Record) {
	var b []byte
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Event))
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Receive))
	b = append(b, byte(r.Kind), byte(r.Flags), byte(len(r.Topic)))
	h.Write(append(append(b, r.Topic...), r.Body...))
}

// TestSameBytesForEver pins whole streams. If it fails, the generator no longer
// gives what its seeds promise: that takes a new layout version.
func TestSameBytesForEver(t *testing.T) {
	for _, c := range []struct {
		spec, want string
	}{
		{"records=100k,seed=7", "6841753e0f66a6dc72a5541a87c0fbdf8bca71e0224bd1a78072080f42a48f94"},
		{"records=50k,topics=30000,rate=5M,size=40-300,zipf=0.8,seed=18446744073709551615", "e0d93f7dd376672ee94bec0044bc6b0b4dc074132cea47ee1288d79e2126f914"},
		{"duration=20s,rate=2000,burst=50,burst-length=5ms,burst-share=0.02,quiet=0,quiet-share=0.3,zipf=0,start=1969-07-20T20:17:40.5Z", "4e7e16e9ccee2653403459333d4af7a3f872a5aad553074a2ab69e886e592b1b"},
	} {
		cfg, err := synth.ParseSpec(c.spec)
		if err != nil {
			t.Fatal(err)
		}
		h := sha256.New()
		each(t, open(t, cfg), func(r *feed.Record) { add(h, r) })
		if got := hex.EncodeToString(h.Sum(nil)); got != c.want {
			t.Errorf("%s: hash %s, want %s", c.spec, got, c.want)
		}
	}
}

// TestLongerStreamsBeginAlike: the end does not change what comes before it.
func TestLongerStreamsBeginAlike(t *testing.T) {
	base := synth.Config{Seed: 3, Burst: synth.Phase{Factor: 10, Length: time.Millisecond, Share: 0.1}}
	short, long, timed := base, base, base
	short.Records, long.Records, timed.Duration = 5000, 5001, time.Hour
	a, b, c := open(t, short), open(t, long), open(t, timed)
	n := 0
	each(t, a, func(r *feed.Record) {
		for _, other := range []*synth.Source{b, c} {
			o, err := other.Next()
			if err != nil || string(o.Body) != string(r.Body) || o.Event != r.Event || o.Receive != r.Receive || string(o.Topic) != string(r.Topic) {
				t.Fatalf("record %d differs: %v", n, err)
			}
		}
		n++
	})
	if n != 5000 {
		t.Errorf("%d records", n)
	}
	if _, err := a.Next(); !errors.Is(err, io.EOF) {
		t.Errorf("after the end: %v", err)
	}
}

func TestSeedsDiffer(t *testing.T) {
	sum := func(seed uint64) string {
		h := sha256.New()
		each(t, open(t, synth.Config{Seed: seed, Records: 100}), func(r *feed.Record) { add(h, r) })
		return string(h.Sum(nil))
	}
	if sum(1) == sum(2) {
		t.Error("two seeds give one stream")
	}
}

// TestRecordsAreSound checks what every record promises.
func TestRecordsAreSound(t *testing.T) {
	cfg := synth.Config{Seed: 5, Topics: 20_000, Records: 200_000, Zipf: 1, BodySizeMin: synth.HeadSize, BodySizeMax: 200}
	counts := map[string]uint32{}
	sizes, kinds := map[int]int{}, map[wire.Kind]int{}
	number := uint64(0)
	var event, receive wire.Nanos
	each(t, open(t, cfg), func(r *feed.Record) {
		h, err := synth.ParseHead(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		topic := fmt.Sprintf("SYN.%c%04d", 'A'+h.Topic/9999, h.Topic%9999+1)
		if h.Number != number || h.TopicNumber != counts[topic] || string(r.Topic) != topic {
			t.Fatalf("record %d of topic %s (number %d): %+v", number, r.Topic, counts[topic], h)
		}
		if r.Event < event || r.Receive < receive || r.Receive < r.Event+2000 || r.Flags != 0 {
			t.Fatalf("record %d: event %d after %d, receive %d after %d", number, r.Event, event, r.Receive, receive)
		}
		if h.Price <= 0 || h.Price%10_000_000 != 0 || h.Size < 100 || h.Size > 6400 {
			t.Fatalf("record %d: price %d, size %d", number, h.Price, h.Size)
		}
		number++
		counts[topic]++
		sizes[len(r.Body)]++
		kinds[r.Kind]++
		event, receive = r.Event, r.Receive
	})
	if number != cfg.Records || len(sizes) != 200-synth.HeadSize+1 || sizes[synth.HeadSize] == 0 || sizes[200] == 0 {
		t.Errorf("%d records, %d sizes", number, len(sizes))
	}
	if trades := float64(kinds[wire.KindTrade]) / float64(number); len(kinds) != 2 || math.Abs(trades-1.0/8) > 0.01 {
		t.Errorf("kinds %v", kinds)
	}
}

// TestZipf compares frequencies with the law; six standard deviations.
func TestZipf(t *testing.T) {
	for _, exponent := range []float64{0, 0.7, 1, 1.1, 2.5} {
		const topics, records = 50, 400_000
		var count [topics]int
		each(t, open(t, synth.Config{Topics: topics, Records: records, Zipf: exponent}), func(r *feed.Record) {
			h, _ := synth.ParseHead(r.Body)
			count[h.Topic]++
		})
		sum := 0.0
		for k := 1; k <= topics; k++ {
			sum += math.Pow(float64(k), -exponent)
		}
		for k := range count {
			p := math.Pow(float64(k+1), -exponent) / sum
			want, bound := p*records, 6*math.Sqrt(p*(1-p)*records)+1
			if math.Abs(float64(count[k])-want) > bound {
				t.Errorf("exponent %v, topic %d: %d records, want %.0f within %.0f", exponent, k, count[k], want, bound)
			}
		}
	}
}

// TestRate: the mean rate holds whatever the phases are.
func TestRate(t *testing.T) {
	burst := synth.Phase{Factor: 20, Length: 10 * time.Millisecond, Share: 0.1}
	quiet := synth.Phase{Factor: 0, Length: 50 * time.Millisecond, Share: 0.3}
	for name, cfg := range map[string]synth.Config{
		"steady":     {Rate: 10_000, Duration: 60 * time.Second},
		"slow":       {Rate: 1, Duration: 24 * time.Hour},
		"fast":       {Rate: 5e6, Duration: 100 * time.Millisecond},
		"bursts":     {Rate: 10_000, Duration: 200 * time.Second, Burst: burst},
		"quiet":      {Rate: 10_000, Duration: 200 * time.Second, Quiet: quiet},
		"both":       {Rate: 10_000, Duration: 200 * time.Second, Burst: burst, Quiet: quiet},
		"only burst": {Rate: 10_000, Duration: 60 * time.Second, Burst: synth.Phase{Factor: 2, Length: time.Second, Share: 1}},
	} {
		n := 0
		var last wire.Nanos
		each(t, open(t, cfg), func(r *feed.Record) { n++; last = r.Event })
		want := cfg.Rate * cfg.Duration.Seconds()
		// Phases make the count vary more than a Poisson process does.
		if got := float64(n); math.Abs(got-want) > 0.05*want {
			t.Errorf("%s: %d records, want %.0f", name, n, want)
		}
		if start := wire.Nanos(1_704_205_800_000_000_000); last >= start+wire.Nanos(cfg.Duration) || last < start+wire.Nanos(cfg.Duration)*9/10 {
			t.Errorf("%s: last event at %v", name, last)
		}
	}
}

// TestBurstsShow: the busiest millisecond is far busier with bursts, and a quiet
// phase of factor 0 leaves a hole.
func TestBurstsShow(t *testing.T) {
	shape := func(cfg synth.Config) (busiest int, longest wire.Nanos) {
		perMs := map[wire.Nanos]int{}
		var last wire.Nanos
		each(t, open(t, cfg), func(r *feed.Record) {
			ms := r.Event / 1e6
			perMs[ms]++
			busiest = max(busiest, perMs[ms])
			if last != 0 {
				longest = max(longest, r.Event-last)
			}
			last = r.Event
		})
		return busiest, longest
	}
	cfg := synth.Config{Rate: 20_000, Duration: 20 * time.Second}
	flat, flatGap := shape(cfg)
	cfg.Burst = synth.Phase{Factor: 50, Length: 10 * time.Millisecond, Share: 0.02}
	cfg.Quiet = synth.Phase{Factor: 0, Length: time.Second, Share: 0.3}
	bursty, burstyGap := shape(cfg)
	if bursty < 4*flat {
		t.Errorf("busiest millisecond: %d records with bursts, %d without", bursty, flat)
	}
	if burstyGap < wire.Nanos(500*time.Millisecond) || flatGap > wire.Nanos(10*time.Millisecond) {
		t.Errorf("longest gap: %d ns with quiet phases, %d without", burstyGap, flatGap)
	}
}

// TestPaddingDiffers: neighbouring records do not share their padding.
func TestPaddingDiffers(t *testing.T) {
	seen := map[string]bool{}
	each(t, open(t, synth.Config{Records: 1000}), func(r *feed.Record) { seen[string(r.Body[synth.HeadSize:])] = true })
	if len(seen) < 950 {
		t.Errorf("%d paddings in 1000 records", len(seen))
	}
}

func TestLargestTopics(t *testing.T) {
	s := open(t, synth.Config{Topics: synth.TopicsMax, Records: 2_000_000, BodySizeMin: synth.HeadSize})
	last := uint32(0)
	each(t, s, func(r *feed.Record) {
		if h, _ := synth.ParseHead(r.Body); h.Topic >= last {
			if last = h.Topic; last == synth.TopicsMax-1 && string(r.Topic) != "SYN.Z9999" {
				t.Fatalf("last topic is %s", r.Topic)
			}
		}
	})
	if last < synth.TopicsMax-100 {
		t.Errorf("highest topic is %d of %d", last, synth.TopicsMax)
	}
}

func TestConfigRefuses(t *testing.T) {
	phase := synth.Phase{Factor: 2, Length: time.Second, Share: 0.6}
	for name, cfg := range map[string]synth.Config{
		"topics":        {Topics: synth.TopicsMax + 1},
		"negative":      {Topics: -1},
		"rate low":      {Rate: 0.5},
		"rate high":     {Rate: 2e9},
		"rate NaN":      {Rate: math.NaN()},
		"zipf":          {Zipf: 11},
		"zipf negative": {Zipf: -1},
		"body small":    {BodySizeMin: synth.HeadSize - 1},
		"body large":    {BodySizeMin: wire.BodySizeMax + 1},
		"body order":    {BodySizeMin: 200, BodySizeMax: 100},
		"duration":      {Duration: -1},
		"too late":      {Start: wire.NanosMax - 5},
		"too long":      {Start: wire.NanosMax / 2, Duration: math.MaxInt64},
		"shares":        {Burst: phase, Quiet: phase},
		"share":         {Burst: synth.Phase{Factor: 2, Length: time.Second}},
		"factor":        {Quiet: synth.Phase{Factor: -1, Length: time.Second, Share: 0.1}},
		"length":        {Quiet: synth.Phase{Factor: 1, Length: 1, Share: 0.1}},
		"nothing":       {Quiet: synth.Phase{Factor: 0, Length: time.Second, Share: 1}},
	} {
		if _, err := synth.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestNextAllocatesNothing(t *testing.T) {
	s := open(t, synth.Config{BodySizeMin: 64, BodySizeMax: 256, Zipf: 1,
		Burst: synth.Phase{Factor: 10, Length: time.Microsecond, Share: 0.1}})
	n := testing.AllocsPerRun(100, func() {
		for range 1000 {
			if _, err := s.Next(); err != nil {
				panic(err)
			}
		}
	})
	if n != 0 {
		t.Errorf("1000 records allocate %v times", n)
	}
}

func BenchmarkNext(b *testing.B) {
	for _, c := range []struct {
		name string
		cfg  synth.Config
	}{
		{"body=100", synth.Config{Zipf: 1.1}},
		{"body=100/bursts", synth.Config{Zipf: 1.1, Burst: synth.Phase{Factor: 10, Length: 20 * time.Millisecond, Share: 0.05}}},
		{"body=64-256", synth.Config{Zipf: 1.1, BodySizeMin: 64, BodySizeMax: 256}},
		{"body=1000", synth.Config{Zipf: 1.1, BodySizeMin: 1000}},
		{"body=100/topics=100000", synth.Config{Zipf: 1.1, Topics: 100_000}},
	} {
		b.Run(c.name, func(b *testing.B) {
			s := open(b, c.cfg)
			b.ReportAllocs()
			n, size := 0, 0
			for b.Loop() {
				r, err := s.Next()
				if err != nil {
					b.Fatal(err)
				}
				n++
				size += len(r.Body)
			}
			b.SetBytes(int64(size / n))
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
