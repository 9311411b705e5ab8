package synth

import (
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Config says what to generate. The zero value of a field means its default.
type Config struct {
	Seed    uint64 // the same Config with the same seed gives the same bytes
	Topics  int    // number of topics, 1 to TopicsMax. Default 1000
	Records uint64 // end after so many records. Default: no such end
	// Duration ends the stream after so much event time. Default: no such end.
	// Without Records and Duration the stream has no end.
	Duration time.Duration
	Rate     float64 // mean records per second of event time, 1 to 1e9. Default 100,000
	// Zipf is the exponent of the topics' popularity: topic k is k^-Zipf as
	// frequent as the first. 0, the default, makes all alike. At most 10.
	Zipf  float64
	Burst Phase // stretches of high rate. Default: none
	Quiet Phase // stretches of low rate. Default: none
	// BodySizeMin and BodySizeMax bound the bodies' sizes, bytes; sizes between
	// are equally frequent. At least HeadSize. Default: min 100, max equal to min.
	BodySizeMin int
	BodySizeMax int
	Start       wire.Nanos // time of the stream's start. Default 2024-01-02T14:30:00Z
}

// Phase is a kind of stretch of time with a rate of its own. Lengths are
// exponentially distributed. The zero Phase never occurs.
type Phase struct {
	Factor float64       // rate, as a multiple of the calm rate; 0 to 1000
	Length time.Duration // mean length, 1 us to 24 h
	Share  float64       // share of all time, 0 to 1
}

const (
	topicsDefault   = 1000
	rateDefault     = 100_000
	bodySizeDefault = 100
	startDefault    = wire.Nanos(1_704_205_800_000_000_000) // 2024-01-02T14:30:00Z, a New York opening

	rateMax        = 1e9
	zipfMax        = 10
	factorMax      = 1000
	phaseLengthMin = time.Microsecond
	phaseLengthMax = 24 * time.Hour
	// timeReserve keeps receive times behind event times from overflowing.
	timeReserve = 1 << 20
	durationMax = 1 << 62 // ns
)

// fill puts in the defaults and checks every field.
func (c *Config) fill() error {
	setDefault(&c.Topics, topicsDefault)
	setDefault(&c.Rate, rateDefault)
	setDefault(&c.Start, startDefault)
	setDefault(&c.BodySizeMin, bodySizeDefault)
	setDefault(&c.BodySizeMax, c.BodySizeMin)
	switch {
	case c.Topics < 1 || c.Topics > TopicsMax:
		return fmt.Errorf("synth: topics is %d, must be 1 to %d", c.Topics, TopicsMax)
	case !(c.Rate >= 1 && c.Rate <= rateMax): // also refuses NaN
		return fmt.Errorf("synth: rate is %v, must be 1 to %.0f records a second", c.Rate, rateMax)
	case !(c.Zipf >= 0 && c.Zipf <= zipfMax):
		return fmt.Errorf("synth: zipf is %v, must be 0 to %d", c.Zipf, zipfMax)
	case c.BodySizeMin < HeadSize || c.BodySizeMax > wire.BodySizeMax:
		return fmt.Errorf("synth: size is %s, must be %d to %d bytes", c.sizes(), HeadSize, wire.BodySizeMax)
	case c.BodySizeMax < c.BodySizeMin:
		return fmt.Errorf("synth: size is %s, the smaller must come first", c.sizes())
	case c.Duration < 0:
		return fmt.Errorf("synth: duration is %v, must not be negative", c.Duration)
	case c.Start > wire.NanosMax-timeReserve-wire.Nanos(c.Duration):
		return fmt.Errorf("synth: start %v and duration %v reach beyond the year 2262", c.Start, c.Duration)
	}
	if err := c.Burst.check("burst"); err != nil {
		return err
	}
	if err := c.Quiet.check("quiet"); err != nil {
		return err
	}
	if c.Burst.Share+c.Quiet.Share > 1 {
		return fmt.Errorf("synth: shares of burst and quiet are %v and %v, more than 1 together", c.Burst.Share, c.Quiet.Share)
	}
	if c.calmShare() == 0 && c.Burst.weight() == 0 && c.Quiet.weight() == 0 {
		return errors.New("synth: factor 0 all of the time leaves no records")
	}
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (p Phase) check(name string) error {
	switch {
	case p == Phase{}:
		return nil
	case !(p.Share > 0 && p.Share <= 1):
		return fmt.Errorf("synth: %s share is %v, must be above 0 and at most 1", name, p.Share)
	case !(p.Factor >= 0 && p.Factor <= factorMax):
		return fmt.Errorf("synth: %s factor is %v, must be 0 to %d", name, p.Factor, factorMax)
	case p.Length < phaseLengthMin || p.Length > phaseLengthMax:
		return fmt.Errorf("synth: %s length is %v, must be %v to %v", name, p.Length, phaseLengthMin, phaseLengthMax)
	}
	return nil
}

// weight is what the phase adds to the mean rate, in calm rates.
func (p Phase) weight() float64 { return float64(p.Share * p.Factor) }

// calmShare is the share of time that is neither burst nor quiet. Less than
// what rounding can leave over is nothing.
func (c *Config) calmShare() float64 {
	if share := 1 - c.Burst.Share - c.Quiet.Share; share > 1e-9 {
		return share
	}
	return 0
}

func (c *Config) sizes() string {
	if c.BodySizeMin == c.BodySizeMax {
		return fmt.Sprint(c.BodySizeMin)
	}
	return fmt.Sprintf("%d-%d", c.BodySizeMin, c.BodySizeMax)
}
