package export

import (
	"fmt"
	"net/netip"
	"strings"
)

// Limits of Config.MTU, bytes: what every IPv4 link carries, and what a packet's
// length field can say.
const (
	mtuMin     = 68
	mtuMax     = 65535
	mtuDefault = 1500
)

// Groups that feeds of ITCH go to.
var (
	groupNasdaq = netip.MustParseAddrPort("233.54.12.111:26477")
	groupBX     = netip.MustParseAddrPort("233.49.196.40:25475")
)

const (
	venueBX        = "XBOS" // as the encodings of ITCH name it
	sessionDefault = "TAPEDECK"
	sessionSize    = 10
)

// checkPacketOptions refuses options for packets where there are none, and bad
// values.
func checkPacketOptions(target string, c *Config) error {
	given := c.Group.IsValid() || c.Session != "" || c.MTU != 0
	if given && target != "pcap" {
		return fmt.Errorf("%w: group, session and MTU are of packets, and %s has none", ErrOption, target)
	}
	if len(c.Session) > sessionSize || strings.ContainsFunc(c.Session, notSession) {
		return fmt.Errorf("%w: session %q is not up to %d letters and digits", ErrOption, c.Session, sessionSize)
	}
	if c.MTU != 0 && (c.MTU < mtuMin || c.MTU > mtuMax) {
		return fmt.Errorf("%w: MTU %d is not within %d and %d", ErrOption, c.MTU, mtuMin, mtuMax)
	}
	return nil
}

func notSession(r rune) bool {
	return (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
}
