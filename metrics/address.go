package metrics

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// PortDefault is where a process shows its metrics by custom.
const PortDefault = 7480

// Errors of addresses.
var (
	// ErrAddress: an address is none.
	ErrAddress = errors.New("metrics: not an address")
	// ErrOpen: an address can be reached from other machines, and nobody said that it
	// may.
	ErrOpen = errors.New("metrics: other machines could reach it")
)

// listen binds an address: host and port, or a port alone, which is one of this
// machine. One that other machines can reach takes open.
func listen(address string, open bool) (net.Listener, error) {
	at, err := resolve(address)
	if err != nil {
		return nil, err
	}
	if !at.IP.IsLoopback() && !open {
		return nil, fmt.Errorf("%w: %s", ErrOpen, address)
	}
	// What was looked at is what is bound: a name is not looked up again.
	l, err := net.ListenTCP("tcp", at)
	if err != nil {
		return nil, fmt.Errorf("metrics: %w", err)
	}
	return l, nil
}

func resolve(address string) (*net.TCPAddr, error) {
	host, port := "127.0.0.1", address
	if strings.Contains(address, ":") {
		var err error
		if host, port, err = net.SplitHostPort(address); err != nil {
			return nil, fmt.Errorf("%w: %q: want HOST:PORT, or a port", ErrAddress, address)
		}
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%w: %q: the port is no number from 0 to 65535", ErrAddress, address)
	}
	if host == "" {
		return &net.TCPAddr{IP: net.IPv6unspecified, Port: int(n)}, nil
	}
	at, err := net.ResolveTCPAddr("tcp", net.JoinHostPort(host, strconv.FormatUint(n, 10)))
	if err != nil {
		return nil, fmt.Errorf("%w: %q: %w", ErrAddress, address, err)
	}
	return at, nil
}
