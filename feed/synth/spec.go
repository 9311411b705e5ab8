package synth

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// SpecHelp lists the keys of a spec, for a command's help.
const SpecHelp = `topics=1000        number of topics, SYN.A0001 and on
rate=100000        mean records a second of event time (100k, 2M)
records=10M        end after so many records
duration=60s       end after so much event time; records or duration must be given
size=100           bytes of a body, or 64-256 for sizes between
zipf=1.1           popularity of topic k is 1/k^zipf; 0 makes all alike
seed=1             the same spec gives the same bytes
start=2024-01-02T14:30:00Z
burst=10           bursts at ten times the calm rate; burst-length=20ms, burst-share=0.05
quiet=0.1          quiet stretches at a tenth of it; quiet-length=2s, quiet-share=0.1`

const specExample = "topics=1000,rate=100000,size=100,zipf=1.1,duration=60s,seed=7"

// ParseSpec reads a generator's configuration as a user writes it: key=value
// pairs separated by commas, such as
// "topics=1000,rate=100000,size=100,zipf=1.1,duration=60s,seed=7". SpecHelp lists
// the keys. Beside Config's defaults zipf is 1.1 and seed 1. The error names the
// entry.
func ParseSpec(spec string) (Config, error) {
	cfg := Config{Zipf: 1.1, Seed: 1}
	var given []string
	place := 0
	for item := range strings.SplitSeq(spec, ",") {
		place++
		key, value, ok := strings.Cut(strings.TrimSpace(item), "=")
		err := errors.New("no key=value")
		switch set := specKeys[key]; {
		case !ok:
		case set == nil:
			err = fmt.Errorf("unknown key %q, known are %s", key, strings.Join(specNames(), ", "))
		case slices.Contains(given, key):
			err = fmt.Errorf("%s is given twice", key)
		default:
			err = set(&cfg, value)
		}
		if err != nil {
			return Config{}, fmt.Errorf("synth: spec %q: entry %d: %w; example: %s", spec, place, err, specExample)
		}
		given = append(given, key)
	}
	if cfg.Records == 0 && cfg.Duration == 0 {
		return Config{}, fmt.Errorf("synth: spec %q: records or duration must be given; example: %s", spec, specExample)
	}
	if err := fillPhases(&cfg, given); err != nil {
		return Config{}, fmt.Errorf("synth: spec %q: %w; example: burst=10,burst-length=20ms,burst-share=0.05", spec, err)
	}
	if err := cfg.fill(); err != nil {
		return Config{}, fmt.Errorf("synth: spec %q: %s", spec, strings.TrimPrefix(err.Error(), "synth: "))
	}
	return cfg, nil
}

// fillPhases puts in the defaults of phases that are wanted, and refuses what is
// said about phases that are not.
func fillPhases(cfg *Config, given []string) error {
	for _, p := range []struct {
		name  string
		phase *Phase
		def   Phase
	}{
		{"burst", &cfg.Burst, Phase{Length: 20 * time.Millisecond, Share: 0.05}},
		{"quiet", &cfg.Quiet, Phase{Length: 2 * time.Second, Share: 0.1}},
	} {
		if slices.Contains(given, p.name) {
			setDefault(&p.phase.Length, p.def.Length)
			setDefault(&p.phase.Share, p.def.Share)
		} else if *p.phase != (Phase{}) {
			return fmt.Errorf("%s-length or %s-share without %s", p.name, p.name, p.name)
		}
	}
	return nil
}

func specNames() []string {
	names := make([]string, 0, len(specKeys))
	for name := range specKeys {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// specKeys are the keys of a spec. A value of zero is refused where it would
// mean the default.
var specKeys = map[string]func(cfg *Config, value string) error{
	"topics": func(cfg *Config, value string) error {
		n, err := parseCount(value)
		cfg.Topics = int(min(n, math.MaxInt32))
		return err
	},
	"records": func(cfg *Config, value string) (err error) {
		cfg.Records, err = parseCount(value)
		return err
	},
	"rate": func(cfg *Config, value string) error {
		n, err := parseCount(value)
		cfg.Rate = float64(n)
		return err
	},
	"seed": func(cfg *Config, value string) (err error) {
		if cfg.Seed, err = strconv.ParseUint(value, 10, 64); err != nil {
			return fmt.Errorf("seed %q is not a number from 0 to 2^64-1", value)
		}
		return nil
	},
	"zipf":         func(cfg *Config, value string) error { return parseFloat(&cfg.Zipf, value) },
	"size":         parseSize,
	"duration":     func(cfg *Config, value string) error { return parseLength(&cfg.Duration, value) },
	"burst":        func(cfg *Config, value string) error { return parseFloat(&cfg.Burst.Factor, value) },
	"burst-length": func(cfg *Config, value string) error { return parseLength(&cfg.Burst.Length, value) },
	"burst-share":  func(cfg *Config, value string) error { return parseShare(&cfg.Burst.Share, value) },
	"quiet":        func(cfg *Config, value string) error { return parseFloat(&cfg.Quiet.Factor, value) },
	"quiet-length": func(cfg *Config, value string) error { return parseLength(&cfg.Quiet.Length, value) },
	"quiet-share":  func(cfg *Config, value string) error { return parseShare(&cfg.Quiet.Share, value) },
	"start":        parseStart,
}

// parseCount reads a positive number with an optional decimal suffix k, M or G.
func parseCount(value string) (uint64, error) {
	digits, scale := value, uint64(1)
	if value != "" {
		if i := strings.IndexByte("kMG", value[len(value)-1]); i >= 0 {
			digits, scale = value[:len(value)-1], []uint64{1e3, 1e6, 1e9}[i]
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil || n == 0 || n > math.MaxUint64/scale {
		return 0, fmt.Errorf("%q is not a number above 0, with k, M or G behind it if you like", value)
	}
	return n * scale, nil
}

func parseFloat(dst *float64, value string) error {
	x, err := strconv.ParseFloat(value, 64)
	if err != nil || math.IsNaN(x) || math.IsInf(x, 0) {
		return fmt.Errorf("%q is not a number", value)
	}
	*dst = x
	return nil
}

// parseShare refuses 0, which would silently become the default.
func parseShare(dst *float64, value string) error {
	if err := parseFloat(dst, value); err != nil {
		return err
	}
	if *dst <= 0 || *dst > 1 {
		return fmt.Errorf("share %s is not above 0 and at most 1", value)
	}
	return nil
}

func parseLength(dst *time.Duration, value string) error {
	d, err := time.ParseDuration(value)
	if err != nil || d <= 0 {
		return fmt.Errorf("%q is not a time above 0 with a unit, such as 60s or 20ms", value)
	}
	*dst = d
	return nil
}

func parseSize(cfg *Config, value string) error {
	low, high, isRange := strings.Cut(value, "-")
	if !isRange {
		high = low
	}
	a, errLow := strconv.ParseUint(low, 10, 31)
	b, errHigh := strconv.ParseUint(high, 10, 31)
	if errLow != nil || errHigh != nil || a == 0 || b == 0 {
		return fmt.Errorf("size %q is not a number of bytes or a range of them, such as 100 or 64-256", value)
	}
	cfg.BodySizeMin, cfg.BodySizeMax = int(a), int(b)
	return nil
}

func parseStart(cfg *Config, value string) error {
	t, err := time.Parse(time.RFC3339Nano, value)
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return fmt.Errorf("start %q is not a time such as 2024-01-02T14:30:00Z from 1678 to 2261", value)
	}
	if cfg.Start = wire.NanosOf(t); cfg.Start == 0 {
		// In a Config 0 means the default.
		return fmt.Errorf("start %q is the one instant that cannot be had; take a nanosecond more", value)
	}
	return nil
}
