package shard

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	portMax = 65535
	// ipcPathMax is the size of sockaddr_un.sun_path on Linux less its final
	// zero. libzmq refuses longer paths, but only when it binds or connects.
	ipcPathMax = 107
)

// checkEndpoint checks one endpoint that has no placeholder any more.
func checkEndpoint(e string) *EndpointError {
	scheme, addr, ok := strings.Cut(e, "://")
	if !ok {
		reason := "no scheme"
		if e == "" {
			reason = "empty"
		}
		return &EndpointError{Reason: reason, Example: exampleTCP}
	}
	if strings.ContainsAny(addr, "{}") {
		return &EndpointError{Reason: "unknown placeholder, only {shard} is known", Example: exampleIPC}
	}
	for i := range len(addr) {
		if addr[i] < ' ' || addr[i] == 0x7f {
			return &EndpointError{Reason: fmt.Sprintf("control character %q", addr[i]), Example: exampleTCP}
		}
	}
	if strings.HasSuffix(addr, " ") {
		return &EndpointError{Reason: "blank at the end", Example: exampleTCP}
	}
	switch scheme {
	case "tcp":
		return checkTCP(addr)
	case "ipc":
		return checkIPC(addr)
	case "inproc":
		if addr == "" {
			return &EndpointError{Reason: "no name", Example: exampleInproc}
		}
		return nil
	case "epgm", "pgm":
		return checkPGM(addr)
	}
	return &EndpointError{
		Reason:  fmt.Sprintf("unknown scheme %q, must be tcp, ipc, inproc, epgm or pgm", scheme),
		Example: exampleTCP,
	}
}

func checkIPC(path string) *EndpointError {
	switch {
	case path == "":
		return &EndpointError{Reason: "no path", Example: exampleIPC}
	case len(path) > ipcPathMax:
		return &EndpointError{
			Reason:  fmt.Sprintf("path has %d bytes, at most %d are possible", len(path), ipcPathMax),
			Example: exampleIPC,
		}
	}
	return nil
}

// checkTCP checks an address as zmq_tcp(7) has it: a host, address, interface or
// *, and a port, and before them optionally the address to connect from and a
// semicolon.
func checkTCP(addr string) *EndpointError {
	if source, dest, ok := strings.Cut(addr, ";"); ok {
		if reason := checkSource(source); reason != "" {
			return &EndpointError{Reason: reason, Example: exampleSource}
		}
		addr = dest
	}
	host, reason := cutPort(addr, true)
	if reason == "" {
		reason = checkHost(host)
	}
	if reason != "" {
		return &EndpointError{Reason: reason, Example: exampleTCP}
	}
	return nil
}

// checkSource checks where to connect from: an interface or an address, with or
// without a port. There 0 is one: any.
func checkSource(source string) string {
	if source == "" {
		return "no source address before the semicolon"
	}
	host, port := cutSourcePort(source)
	switch {
	case host == "*":
		return "source address: * is none"
	case strings.HasSuffix(source, ":"):
		return "no port behind the colon of the source address"
	case port != "" && port != "0":
		if _, reason := cutPort("x:"+port, true); reason != "" {
			return "source address: " + reason
		}
	}
	if reason := checkHost(host); reason != "" {
		return "source address: " + reason
	}
	return ""
}

// checkPGM checks an address as zmq_pgm(7) has it: interface, semicolon,
// multicast address, colon, port.
func checkPGM(addr string) *EndpointError {
	iface, group, ok := strings.Cut(addr, ";")
	reason := "no interface and semicolon before the multicast address"
	if ok && iface != "" {
		group, reason = cutPort(group, false)
		if reason == "" {
			reason = checkHost(group)
		}
	}
	if reason != "" {
		return &EndpointError{Reason: reason, Example: exampleEPGM}
	}
	return nil
}

// cutPort returns what stands before the port, or what is wrong with the port.
func cutPort(addr string, wildcard bool) (host, reason string) {
	i := strings.LastIndexByte(addr, ':')
	// The last colon of a bare [::1] is inside the brackets.
	if i < 0 || strings.HasSuffix(addr, "]") || i == len(addr)-1 {
		return "", "no port"
	}
	host, port := addr[:i], addr[i+1:]
	if port == "*" && wildcard {
		return host, ""
	}
	n, err := strconv.ParseUint(port, 10, 64)
	switch {
	case err != nil && strings.Trim(port, "0123456789") != "":
		return "", fmt.Sprintf("port %q is not a number", port)
	case err != nil || n > portMax:
		return "", fmt.Sprintf("port %s is above %d", port, portMax)
	case n == 0:
		return "", "port 0 is not a port; * lets the system choose"
	case port[0] == '0':
		// Otherwise one port could be written in two ways.
		return "", fmt.Sprintf("port %s has a leading zero", port)
	}
	return host, ""
}

func checkHost(host string) string {
	switch {
	case host == "":
		return "no host"
	case strings.ContainsAny(host, " \t/"):
		return fmt.Sprintf("host %q has a blank or a slash", host)
	case strings.HasPrefix(host, "[") != strings.HasSuffix(host, "]"):
		return fmt.Sprintf("host %q has an unpaired bracket", host)
	case strings.Contains(host, ":") && host[0] != '[':
		return fmt.Sprintf("IPv6 address %s must stand in brackets, with the port behind them", host)
	}
	return ""
}

// exampleOfMany is a pattern for several shards in the scheme of e.
func exampleOfMany(e string) string {
	switch scheme, _, _ := strings.Cut(e, "://"); scheme {
	case "ipc":
		return exampleIPC
	case "inproc":
		return exampleInproc
	case "epgm", "pgm":
		return exampleEPGM
	}
	return exampleTCPPorts
}

// anyPlace reports whether the system chooses where e is, so that several
// sockets can bind to it.
func anyPlace(e string) bool {
	return e == "ipc://*" || strings.HasPrefix(e, "tcp://") && strings.HasSuffix(e, ":*")
}
