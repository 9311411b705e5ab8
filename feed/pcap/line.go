package pcap

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// linesMax bounds the lines that are kept. Beyond it all are forgotten and found
// anew; only then may a line have more than one Index.
const linesMax = 1 << 16

// Line is one destination of datagrams, as a rule a multicast group and a port.
// It is not to be changed.
type Line struct {
	Group netip.Addr
	Port  uint16
	Index uint32 // counts the lines of a capture from 0
	Name  string // "233.200.79.0:61000", "[ff05::1]:61000"

	selected bool
	ours     bool  // it has brought a datagram of the protocol
	foreign  int64 // datagrams of other protocols
}

// lines are the destinations seen so far, and which of them are wanted.
type lines struct {
	wanted []target
	byKey  map[lineKey]*Line
	recent [recentMax]struct { // by slot, so that feeds of a few lines need no map
		key  lineKey
		line *Line
	}
	next uint32
}

// recentMax is how many lines are found without the map, a power of two.
const recentMax = 64

// slot spreads neighbouring groups and ports.
func (k lineKey) slot() uint64 { return (k.lo ^ k.lo>>6 ^ uint64(k.port)) % recentMax }

func newLines(wanted []target) *lines {
	return &lines{wanted: wanted, byKey: make(map[lineKey]*Line)}
}

// of returns the line of a destination.
func (l *lines) of(key lineKey) *Line {
	recent := &l.recent[key.slot()]
	if recent.line != nil && recent.key == key {
		return recent.line
	}
	line := l.byKey[key]
	if line == nil {
		if len(l.byKey) >= linesMax {
			clear(l.byKey)
			clear(l.recent[:])
		}
		line = &Line{Group: key.addr(), Port: key.port, Index: l.next}
		line.Name = netip.AddrPortFrom(line.Group, line.Port).String()
		line.selected = l.wants(line.Group, int(line.Port))
		l.next++
		l.byKey[key] = line
	}
	recent.key, recent.line = key, line
	return line
}

// anyPort stands where a port is not known.
const anyPort = -1

// wants reports whether datagrams to this destination are asked for.
func (l *lines) wants(group netip.Addr, port int) bool {
	for _, t := range l.wanted {
		if t.prefix.IsValid() && !t.prefix.Contains(group) {
			continue
		}
		if t.port == anyPort || port == anyPort || t.port == port {
			return true
		}
	}
	return len(l.wanted) == 0
}

// target is one value of Options.Groups.
type target struct {
	prefix netip.Prefix // not valid: any group
	port   int          // anyPort: any
}

// parseTargets reads Options.Groups.
func parseTargets(groups []string) ([]target, error) {
	var out []target
	for _, text := range groups {
		t, err := parseTarget(strings.TrimSpace(text))
		if err != nil {
			return nil, fmt.Errorf("%w: group %q is not group:port, a group, a prefix or a port", ErrOption, text)
		}
		out = append(out, t)
	}
	return out, nil
}

func parseTarget(text string) (target, error) {
	if port, err := strconv.ParseUint(strings.TrimPrefix(text, ":"), 10, 16); err == nil {
		return target{port: int(port)}, nil
	}
	if both, err := netip.ParseAddrPort(text); err == nil {
		return target{prefix: whole(both.Addr()), port: int(both.Port())}, nil
	}
	if addr, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return target{prefix: whole(addr), port: anyPort}, nil
	}
	prefix, err := netip.ParsePrefix(text)
	return target{prefix: prefix, port: anyPort}, err
}

// whole is the prefix that holds one address. A zone says which interface of the
// reader's machine is meant; a capture knows none.
func whole(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a.WithZone(""), a.BitLen()) }
