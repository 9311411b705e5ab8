package zmtp

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// ErrEndpoint: an endpoint that Listen does not understand.
var ErrEndpoint = errors.New("zmtp: want an endpoint such as tcp://*:7200 or ipc:///run/last")

// Listen binds an endpoint as libzmq does and returns it as bound, with a wildcard
// port resolved: tcp://ADDRESS:PORT, where the address may be *, a name, an address
// or an interface, and the port *; ipc://PATH, or ipc://@NAME without a file. A
// socket that nobody listens on any more is replaced.
func Listen(endpoint string) (net.Listener, string, error) {
	transport, address, _ := strings.Cut(endpoint, "://")
	var (
		l     net.Listener
		bound string
		err   error
	)
	switch transport {
	case "tcp":
		l, bound, err = listenTCP(address)
	case "ipc":
		l, bound, err = listenIPC(address)
	default:
		err = ErrEndpoint
	}
	if err != nil {
		return nil, "", fmt.Errorf("bind %s: %w", endpoint, err)
	}
	return l, bound, nil
}

// Serves reports whether Listen takes endpoints of this kind.
func Serves(endpoint string) bool {
	return strings.HasPrefix(endpoint, "tcp://") || strings.HasPrefix(endpoint, "ipc://")
}

func listenTCP(address string) (net.Listener, string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, "", errors.Join(ErrEndpoint, err)
	}
	number := uint64(0)
	if port != "*" {
		if number, err = strconv.ParseUint(port, 10, 16); err != nil {
			return nil, "", errors.Join(ErrEndpoint, err)
		}
	}
	shown := host
	switch host {
	case "*":
		host, shown = "0.0.0.0", "0.0.0.0"
	case "":
		return nil, "", ErrEndpoint
	default:
		if host, err = interfaceAddress(host); err != nil {
			return nil, "", err
		}
		shown = host
	}
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", net.JoinHostPort(host, strconv.FormatUint(number, 10)))
	if err != nil {
		return nil, "", err
	}
	return l, "tcp://" + net.JoinHostPort(shown, strconv.Itoa(l.Addr().(*net.TCPAddr).Port)), nil
}

// interfaceAddress returns the first IPv4 address, else the first, of the
// interface of that name; what is no interface is returned as it is.
func interfaceAddress(name string) (string, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return name, nil
	}
	list, err := i.Addrs()
	if err != nil {
		return "", err
	}
	found := ""
	for _, a := range list {
		ip, ok := a.(*net.IPNet)
		if ok && ip.IP.To4() != nil {
			return ip.IP.String(), nil
		}
		if ok && found == "" && !ip.IP.IsLinkLocalUnicast() {
			found = ip.IP.String()
		}
	}
	if found == "" {
		return "", fmt.Errorf("interface %s has no address", name)
	}
	return found, nil
}

func listenIPC(path string) (net.Listener, string, error) {
	if path == "" {
		return nil, "", ErrEndpoint
	}
	if path == "*" {
		dir, err := os.MkdirTemp("", "zmtp-")
		if err != nil {
			return nil, "", err
		}
		path = dir + "/socket"
	}
	l, err := net.Listen("unix", path)
	if errors.Is(err, syscall.EADDRINUSE) && abandoned(path) {
		l, err = net.Listen("unix", path)
	}
	if err != nil {
		return nil, "", err
	}
	return l, "ipc://" + path, nil
}

// abandoned removes a socket's file that nobody listens on, and reports whether
// it did.
func abandoned(path string) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return false
	}
	c, err := net.Dial("unix", path)
	if err == nil {
		_ = c.Close()
		return false
	}
	return errors.Is(err, syscall.ECONNREFUSED) && os.Remove(path) == nil
}
