package main

import (
	"net"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/control/binarystar"
)

// pairFlags are the flags of a server that is one of a pair.
type pairFlags struct {
	role      string
	bind      string
	peer      string
	heartbeat time.Duration
	failback  time.Duration
	keep      time.Duration
	bytes     string
	dir       string
}

// pairHeartbeat is the default: who is gone is missed for one to two of them, and
// a takeover is to take less than 1.5 s.
const pairHeartbeat = 500 * time.Millisecond

func (f *pairFlags) add(fl *pflag.FlagSet) {
	fl.StringVar(&f.role, "pair", "", `which of a pair this one is: "primary" or "backup" (default: it is alone)`)
	fl.StringVar(&f.bind, "pair-bind", "", "endpoint where this one announces itself to the other one, best on a link of their own")
	fl.StringVar(&f.peer, "pair-peer", "", "endpoint where the other one announces itself")
	fl.DurationVar(&f.heartbeat, "heartbeat", pairHeartbeat, "time between announcements to the other one; one that is silent for two of them is gone; the same on both")
	fl.DurationVar(&f.failback, "pair-failback", 0, "give the work back to a primary that has been well for so long (0: never)")
	fl.DurationVar(&f.keep, "pair-keep", 0, "what a passive one keeps to send again when it takes over (default: 4 heartbeats and 500ms)")
	fl.StringVar(&f.bytes, "pair-bytes", "128MiB", "memory for that at most")
	fl.StringVar(&f.dir, "pair-dir", "", "directory where the pair's epoch is kept over restarts (default: nowhere)")
}

// keepFor is how far back a passive server goes: over the other one's silence before
// it counts, the vote, and what the other one had not sent yet.
func (f *pairFlags) keepFor() time.Duration {
	if f.keep > 0 {
		return f.keep
	}
	return 4*f.heartbeat + 500*time.Millisecond
}

// check refuses what makes no pair.
func (f *pairFlags) check() error {
	switch {
	case f.role == "" && (f.bind != "" || f.peer != "" || f.dir != "" || f.failback != 0 || f.keep != 0):
		return usagef("--pair says which of a pair this one is: primary or backup")
	case f.role == "":
		return nil
	case f.role != binarystar.Primary.String() && f.role != binarystar.Backup.String():
		return usagef("--pair %s: want primary or backup", f.role)
	case f.bind == "" || f.peer == "":
		return usagef("--pair needs --pair-bind and --pair-peer")
	case f.heartbeat < time.Millisecond || f.failback < 0 || f.keep < 0:
		return usagef("--heartbeat, --pair-failback and --pair-keep: want a time such as 1s")
	case f.keep > 0 && f.keep < 2*f.heartbeat:
		return usagef("--pair-keep %v: a takeover takes as long as two heartbeats, %v", f.keep, 2*f.heartbeat)
	}
	return nil
}

// config is the link that the flags describe. They must have been checked.
func (f *pairFlags) config(out *output) binarystar.Config {
	cfg := binarystar.Config{
		Role: binarystar.Primary, Bind: f.bind, Peer: f.peer, Heartbeat: f.heartbeat, Failback: f.failback, Dir: f.dir,
		Warn: func(err error) { out.remark("warning: %v", err) },
	}
	if f.role == binarystar.Backup.String() {
		cfg.Role = binarystar.Backup
	}
	return cfg
}

// warnOfOnePath warns where the pair's link goes over an interface that clients come
// over, too: then one broken cable looks to the backup like a primary that is gone, and
// to clients of it as if there were none.
func (f *pairFlags) warnOfOnePath(out *output, clients []string) {
	link, ok := localAddress(f.peer)
	if !ok {
		return
	}
	for _, endpoint := range clients {
		host, _, err := net.SplitHostPort(strings.TrimPrefix(endpoint, "tcp://"))
		if err != nil || !strings.HasPrefix(endpoint, "tcp://") {
			continue
		}
		at := net.ParseIP(host)
		if at == nil || !at.IsUnspecified() && interfaceOf(at) != interfaceOf(link) {
			continue
		}
		out.remark("warning: the pair's link and its clients share an interface, that of %v: when it breaks, both take the other one for gone; give --pair-bind and --plain addresses of two", link)
		return
	}
}

// localAddress is the address of this machine that packets to a tcp endpoint come from.
// Nothing is sent.
func localAddress(endpoint string) (net.IP, bool) {
	address, ok := strings.CutPrefix(endpoint, "tcp://")
	if !ok {
		return nil, false
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return nil, false
	}
	conn, err := net.Dial("udp", address)
	if err != nil {
		return nil, false
	}
	defer conn.Close()
	a, ok := conn.LocalAddr().(*net.UDPAddr)
	if !ok {
		return nil, false
	}
	return a.IP, true
}

// interfaceOf is the name of the interface that has an address, or "".
func interfaceOf(ip net.IP) string {
	list, err := net.Interfaces()
	if err != nil {
		return ""
	}
	for _, i := range list {
		addrs, err := i.Addrs()
		if err != nil {
			continue
		}
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && (n.IP.Equal(ip) || n.IP.IsLoopback() && n.Contains(ip)) {
				return i.Name
			}
		}
	}
	return ""
}
