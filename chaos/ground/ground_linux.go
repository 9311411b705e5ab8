package ground

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// Ground is hosts in networks. Its methods may be called from any goroutine.
type Ground struct {
	t        testing.TB
	hosts    []string
	networks int
	devices  map[place]*os.File
	cables   map[[2]place]*cable
	done     chan struct{}
	wg       sync.WaitGroup
}

// place is a host in a network.
type place struct{ network, host int }

var grounds atomic.Uint64

// New makes hosts with an address in each of so many networks. All that is lost follows
// from the seed, as far as what is sent is the same. They are taken down at the end of
// the test.
func New(t testing.TB, seed uint64, networks int, hosts ...string) *Ground {
	t.Helper()
	g := &Ground{t: t, networks: networks, devices: map[place]*os.File{}, cables: map[[2]place]*cable{}, done: make(chan struct{})}
	number := grounds.Add(1)
	for _, h := range hosts {
		g.hosts = append(g.hosts, fmt.Sprintf("tapedeck-%d-%d-%s", os.Getpid(), number, h))
	}
	t.Cleanup(g.close)
	for i, h := range g.hosts {
		if err := ip("netns", "add", h); err != nil {
			t.Skipf("no rights to make network namespaces here (ip netns add): %v", err)
		}
		if err := g.furnish(i, h); err != nil {
			t.Skipf("no rights to make network devices here: %v", err)
		}
	}
	g.join(seed)
	return g
}

// furnish gives a host its addresses.
func (g *Ground) furnish(i int, name string) error {
	if err := ip("-n", name, "link", "set", "lo", "up"); err != nil {
		return err
	}
	for n := range g.networks {
		device := fmt.Sprintf("net%d", n)
		f, err := openTUN(name, device)
		if err != nil {
			return err
		}
		g.devices[place{n, i}] = f
		err = errors.Join(ip("-n", name, "addr", "add", address(n, i)+"/24", "dev", device), ip("-n", name, "link", "set", device, "up"))
		if err != nil {
			return err
		}
	}
	return nil
}

// join lays the cables.
func (g *Ground) join(seed uint64) {
	for n := range g.networks {
		for from := range g.hosts {
			for to := range g.hosts {
				a, b := place{n, from}, place{n, to}
				if a == b {
					continue
				}
				c := newCable(seed, uint64(n)<<32|uint64(from)<<16|uint64(to))
				g.cables[[2]place{a, b}] = c
				out := g.devices[b]
				g.wg.Go(func() { c.deliver(func(p []byte) { _, _ = out.Write(p) }, g.done) })
			}
		}
	}
	for at, f := range g.devices {
		g.wg.Go(func() { g.carry(at, f) })
	}
}

// carry takes the packets that a host sends to a network.
func (g *Ground) carry(from place, f *os.File) {
	b := make([]byte, 64<<10)
	for {
		n, err := f.Read(b)
		if err != nil {
			return // closed
		}
		if n < 20 || b[0]>>4 != 4 {
			continue // IPv6 says that it is there
		}
		to := place{from.network, int(b[19]) - 1}
		c := g.cables[[2]place{from, to}]
		if c == nil || b[18] != byte(from.network) {
			continue
		}
		out := g.devices[to]
		c.take(b[:n], func(p []byte) { _, _ = out.Write(p) })
	}
}

// address is that of a host in a network.
func address(network, host int) string { return fmt.Sprintf("10.99.%d.%d", network, host+1) }

// Address is that of a host in a network, by their numbers.
func (g *Ground) Address(network, host int) string { return address(network, host) }

// Set sets the rule from one host to another in a network.
func (g *Ground) Set(network, from, to int, rule Rule) {
	c := g.cables[[2]place{{network, from}, {network, to}}]
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rule = rule
}

// SetBoth sets the rule of both directions between two hosts in a network.
func (g *Ground) SetBoth(network, a, b int, rule Rule) {
	g.Set(network, a, b, rule)
	g.Set(network, b, a, rule)
}

// Isolate sets the rule of everything from and to a host, in all networks.
func (g *Ground) Isolate(host int, rule Rule) {
	for n := range g.networks {
		for other := range g.hosts {
			if other != host {
				g.SetBoth(n, host, other, rule)
			}
		}
	}
}

// Packets are how many got from one host to another in all networks, and how many were
// lost.
func (g *Ground) Packets(from, to int) (sent, lost uint64) {
	for n := range g.networks {
		c := g.cables[[2]place{{n, from}, {n, to}}]
		c.mu.Lock()
		sent, lost = sent+c.sent, lost+c.lost
		c.mu.Unlock()
	}
	return sent, lost
}

// Command is a command that runs on a host; its process is the program's.
func (g *Ground) Command(host int, name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", g.hosts[host], name}, args...)...)
}

func (g *Ground) close() {
	close(g.done)
	for _, f := range g.devices {
		_ = f.Close()
	}
	g.wg.Wait()
	for _, h := range g.hosts {
		_ = ip("netns", "del", h)
	}
}

func ip(args ...string) error {
	out, err := exec.Command("ip", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("ip %v: %w: %s", args, err, out)
	}
	return nil
}

// openTUN makes a TUN device in a namespace.
func openTUN(namespace, name string) (*os.File, error) {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer own.Close()
	there, err := os.Open("/var/run/netns/" + namespace)
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer there.Close()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return nil, fmt.Errorf("enter %s: %w", namespace, err)
	}
	f, err := tun(name)
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		// The thread stays locked, and ends with its goroutine.
		return nil, fmt.Errorf("come back from %s: %w", namespace, back)
	}
	runtime.UnlockOSThread()
	return f, err
}

func tun(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	req, err := unix.NewIfreq(name)
	if err == nil {
		req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, req)
	}
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("make %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}
