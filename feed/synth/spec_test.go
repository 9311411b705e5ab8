package synth_test

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/synth"
	"github.com/tapedeck/tapedeck/wire"
)

func TestParseSpec(t *testing.T) {
	const start = wire.Nanos(1_704_205_800_000_000_000)
	base := synth.Config{Seed: 1, Topics: 1000, Rate: 100_000, Zipf: 1.1, BodySizeMin: 100, BodySizeMax: 100, Start: start, Duration: time.Minute}
	with := func(change func(c *synth.Config)) synth.Config {
		c := base
		change(&c)
		return c
	}
	for spec, want := range map[string]synth.Config{
		"topics=1000,rate=100000,size=100,zipf=1.1,duration=60s,seed=7": with(func(c *synth.Config) { c.Seed = 7 }),
		"duration=1m":                                   base,
		" duration=60s , rate=2M ":                      with(func(c *synth.Config) { c.Rate = 2e6 }),
		"duration=1m,records=10M":                       with(func(c *synth.Config) { c.Records = 10_000_000 }),
		"duration=1m,size=64-256":                       with(func(c *synth.Config) { c.BodySizeMin, c.BodySizeMax = 64, 256 }),
		"duration=1m,zipf=0":                            with(func(c *synth.Config) { c.Zipf = 0 }),
		"duration=1m,topics=100k":                       with(func(c *synth.Config) { c.Topics = 100_000 }),
		"duration=1m,start=2024-01-02T15:30:00.5+01:00": with(func(c *synth.Config) { c.Start = start + 5e8 }),
		"duration=1m,burst=10,quiet=0,quiet-length=1s": with(func(c *synth.Config) {
			c.Burst = synth.Phase{Factor: 10, Length: 20 * time.Millisecond, Share: 0.05}
			c.Quiet = synth.Phase{Factor: 0, Length: time.Second, Share: 0.1}
		}),
	} {
		got, err := synth.ParseSpec(spec)
		if err != nil || got != want {
			t.Errorf("%q:\n got %+v, %v\nwant %+v", spec, got, err, want)
		}
	}
}

func TestParseSpecRefuses(t *testing.T) {
	for spec, want := range map[string]string{
		"":                                     "entry 1: no key=value",
		"duration=1m,":                         "entry 2: no key=value",
		"duration":                             "entry 1: no key=value",
		"topics=10":                            "records or duration must be given",
		"duration=1m,colour=red":               `entry 2: unknown key "colour", known are burst, burst-length`,
		"duration=1m,duration=2m":              "entry 2: duration is given twice",
		"duration=60":                          `entry 1: "60" is not a time above 0 with a unit`,
		"duration=-1s":                         "is not a time above 0",
		"duration=0s":                          "is not a time above 0",
		"records=0":                            `entry 1: "0" is not a number above 0`,
		"records=99999999999G":                 "is not a number above 0",
		"records=":                             "is not a number above 0",
		"records=k":                            "is not a number above 0",
		"records=1,rate=-5":                    `"-5" is not a number above 0`,
		"records=1,rate=2G":                    "rate is 2e+09",
		"records=1,topics=1G":                  "topics is 1000000000, must be 1 to 259974",
		"records=1,zipf=x":                     `"x" is not a number`,
		"records=1,zipf=NaN":                   `"NaN" is not a number`,
		"records=1,zipf=11":                    "zipf is 11, must be 0 to 10",
		"records=1,size=31":                    "size is 31, must be 32 to 16777215 bytes",
		"records=1,size=0":                     `size "0"`,
		"records=1,size=200-100":               "the smaller must come first",
		"records=1,size=a-b":                   `size "a-b" is not a number of bytes`,
		"records=1,seed=-1":                    `seed "-1"`,
		"records=1,start=yesterday":            `start "yesterday"`,
		"records=1,start=1677-12-31T23:59:59Z": "from 1678",
		"records=1,start=1970-01-01T00:00:00Z": "one instant",
		"records=1,burst-share=0.1":            "burst-length or burst-share without burst",
		"records=1,burst=2,burst-share=0":      "share 0 is not above 0",
		"records=1,burst=-1":                   "burst factor is -1, must be 0 to 1000",
		"records=1,quiet=1,quiet-length=25h":   "quiet length is 25h0m0s",
		"records=1,quiet=0,quiet-share=1":      "leaves no records",
	} {
		_, err := synth.ParseSpec(spec)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "synth: spec ") || strings.Count(err.Error(), "synth:") != 1 {
			t.Errorf("%q: %v, want %s", spec, err, want)
		}
	}
}

// TestSpecHelp: the help names every key, and its values are accepted.
func TestSpecHelp(t *testing.T) {
	var items []string
	for line := range strings.Lines(synth.SpecHelp) {
		items = append(items, strings.Fields(line)[0])
	}
	if _, err := synth.ParseSpec(strings.Join(items, ",")); err != nil {
		t.Error(err)
	}
	_, err := synth.ParseSpec("x=1")
	_, known, _ := strings.Cut(err.Error(), "known are ")
	known, _, _ = strings.Cut(known, ";")
	for key := range strings.SplitSeq(known, ", ") {
		if !strings.Contains(synth.SpecHelp, key+"=") {
			t.Errorf("the help does not name %s", key)
		}
	}
}

// FuzzParseSpec: what is accepted can be generated from.
func FuzzParseSpec(f *testing.F) {
	for _, s := range []string{
		"topics=1000,rate=100000,size=100,zipf=1.1,duration=60s,seed=7", "records=5,size=64-256,start=2024-01-02T14:30:00Z",
		"duration=1ms,burst=10,burst-share=0.9,quiet=0.1,quiet-share=0.1", "records=1,zipf=1e-300,burst=1e-9",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		cfg, err := synth.ParseSpec(spec)
		if err != nil {
			return
		}
		if math.IsNaN(cfg.Rate) || cfg.Records == 0 && cfg.Duration == 0 {
			t.Fatalf("accepted %+v", cfg)
		}
		if cfg.Topics > 5000 || cfg.BodySizeMax > 1<<16 {
			return // correct, but slow to set up
		}
		s, err := synth.New(cfg)
		if err != nil {
			t.Fatalf("ParseSpec accepts what New refuses: %v", err)
		}
		// An hour at a tiny rate may pass without a record, so only a few are
		// asked for, and only at a rate that gives them.
		for range 10 {
			if r, err := s.Next(); err != nil || len(r.Body) < cfg.BodySizeMin || len(r.Body) > cfg.BodySizeMax || r.Event < cfg.Start {
				if err == nil {
					t.Fatalf("%+v from %+v", r, cfg)
				}
				return
			}
		}
	})
}
