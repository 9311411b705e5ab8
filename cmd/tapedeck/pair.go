package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/tapedeck/tapedeck/control/binarystar"
)

// pairFlags are the flags of a server that is one of a pair, whatever it serves.
type pairFlags struct {
	role      string
	bind      string
	peer      string
	heartbeat time.Duration
	failback  time.Duration
	dir       string
	bus       string
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
	fl.StringVar(&f.dir, "pair-dir", "", "directory where the pair's epoch is kept over restarts (default: nowhere)")
	fl.StringVar(&f.bus, "pair-bus", "", "endpoint where tapedeck pair asks this one how it stands, and promotes it (default: nowhere)")
}

// on reports whether the server is one of a pair.
func (f *pairFlags) on() bool { return f.role != "" }

// check refuses what makes no pair.
func (f *pairFlags) check() error {
	switch {
	case f.role == "" && (f.bind != "" || f.peer != "" || f.dir != "" || f.bus != "" || f.failback != 0):
		return usagef("--pair says which of a pair this one is: primary or backup")
	case f.role == "":
		return nil
	case f.role != binarystar.Primary.String() && f.role != binarystar.Backup.String():
		return usagef("--pair %s: want primary or backup", f.role)
	case f.bind == "" || f.peer == "":
		return usagef("--pair needs --pair-bind and --pair-peer")
	case f.heartbeat < time.Millisecond || f.failback < 0:
		return usagef("--heartbeat and --pair-failback: want a time such as 1s")
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

// pairLink is a server's half of a pair, with the bus where an operator asks for it.
type pairLink struct {
	*binarystar.Pair
	bus *pairBus // nil without --pair-bus
}

// open opens the link, and the bus. part says what is served: lvc, deck, broker.
func (f *pairFlags) open(part string, cfg binarystar.Config) (*pairLink, error) {
	p, err := binarystar.New(cfg)
	if err != nil {
		return nil, withHint(err, "--pair-bind and --pair-peer say where the two of a pair talk")
	}
	l := &pairLink{Pair: p}
	if f.bus != "" {
		if l.bus, err = openPairBus(f.bus, part, p); err != nil {
			return nil, errors.Join(withHint(err, "--pair-bus says where tapedeck pair asks"), p.Close())
		}
	}
	return l, nil
}

// Run keeps the link, and answers on the bus, until ctx ends.
func (l *pairLink) Run(ctx context.Context) error {
	if l.bus == nil {
		return l.Pair.Run(ctx)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		wg     sync.WaitGroup
		busErr error
	)
	wg.Go(func() {
		defer cancel()
		busErr = l.bus.run(ctx)
	})
	err := l.Pair.Run(ctx)
	cancel()
	wg.Wait()
	return errors.Join(err, busErr)
}

// Close closes what open has opened, after Run.
func (l *pairLink) Close() error {
	var err error
	if l.bus != nil {
		err = l.bus.close()
	}
	if err = errors.Join(err, l.Pair.Close()); err != nil {
		return fmt.Errorf("pair: %w", err)
	}
	return nil
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
		out.remark("warning: the pair's link and its clients share an interface, that of %v: when it breaks, both take the other one for gone; give the link an interface of its own", link)
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
