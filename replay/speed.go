package replay

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Speed is how many seconds of the tape pass in a second. Max, the zero Speed,
// is as fast as it goes.
type Speed float64

// Max plays as fast as the readers take it.
const Max Speed = 0

// Bounds of a paced speed.
const (
	speedMin = 1e-6
	speedMax = 1e9
)

func (s Speed) check() error {
	if s != Max && !(s >= speedMin && s <= speedMax) { // not a number, too
		return fmt.Errorf("replay: speed %v is out of range", float64(s))
	}
	return nil
}

// ParseSpeed reads "max", or a factor such as "1x", "10x", "0.5x" or "2".
func ParseSpeed(s string) (Speed, error) {
	if s == "max" {
		return Max, nil
	}
	f, err := strconv.ParseFloat(strings.TrimSuffix(s, "x"), 64)
	if err != nil || math.IsNaN(f) || f < speedMin || f > speedMax {
		return 0, fmt.Errorf(`speed %q: want "max" or a factor from 0.000001x to 1000000000x, such as 1x, 10x or 0.5x`, s)
	}
	return Speed(f), nil
}

// String is the inverse of ParseSpeed.
func (s Speed) String() string {
	if s == Max {
		return "max"
	}
	return strconv.FormatFloat(float64(s), 'f', -1, 64) + "x"
}
