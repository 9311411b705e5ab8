package cboe

import (
	"encoding/binary"

	"github.com/tapedeck/tapedeck/wire"
)

const second = 1_000_000_000

// unit is what is known about the times of a unit.
type unit struct {
	second   int64 // of its last time message, s since 1970; 0 if there was none
	midnight int64 // of its last time reference, likewise
	topic    []byte
}

// eventTime returns the time of a message and whether it has one; the error is
// ErrTime. It takes in what the message says about the unit's time.
func (u *unit) eventTime(t *messageType, m []byte) (wire.Nanos, bool, error) {
	le := binary.LittleEndian
	s, ns := u.second, uint32(0)
	switch t.clock {
	case byClock:
		ns = le.Uint32(m[nanosOff:])
	case setsClock:
		s = 0
		if len(m) >= epochSize {
			s = int64(le.Uint32(m[epochOff:]))
		} else if u.midnight != 0 {
			s = u.midnight + int64(le.Uint32(m[timeOff:]))
		}
		u.second = s
	case reference:
		u.midnight = int64(le.Uint32(m[refMidnightOff:]))
		s, ns = u.midnight+int64(le.Uint32(m[refTimeOff:])), le.Uint32(m[refNanosOff:])
		u.second = s
	case stamped:
		s, ns = int64(le.Uint32(m[stampOff:])), le.Uint32(m[nanosOff:])
	case timeless:
		return 0, false, nil
	}
	if ns >= second {
		return 0, false, ErrTime
	}
	return wire.Nanos(s*second + int64(ns)), s != 0, nil
}
