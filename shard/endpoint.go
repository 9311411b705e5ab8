package shard

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	placeholder = "{shard}"

	exampleTCP      = "tcp://127.0.0.1:7100"
	exampleTCPPorts = "tcp://127.0.0.1:7100+"
	exampleTCPList  = "tcp://10.0.0.1:7100,tcp://10.0.0.2:7100"
	exampleSource   = "tcp://eth1;10.0.0.2:7100"
	exampleIPC      = "ipc:///tmp/tapedeck-{shard}"
	exampleInproc   = "inproc://tapedeck-{shard}"
	exampleEPGM     = "epgm://eth0;239.192.1.{shard}:7100"
)

// EndpointError says what is wrong with an endpoint pattern.
type EndpointError struct {
	Pattern string // as the user gave it
	Place   string // "entry 2" of a list (from 1), "shard 3" of a pattern (from 0), or ""
	Reason  string // what is wrong there
	Example string // a correct pattern of the kind that was probably meant
}

// Error implements error.
func (e *EndpointError) Error() string {
	place := ""
	if e.Place != "" {
		place = e.Place + ": "
	}
	return fmt.Sprintf("shard: endpoint %q: %s%s; example: %s", e.Pattern, place, e.Reason, e.Example)
}

// Endpoints returns the endpoints of n shards, in the order of the shards. The
// pattern is one of
//
//	tcp://127.0.0.1:7100+        shard i has port 7100+i
//	ipc:///tmp/tapedeck-{shard}  {shard} becomes 0, 1, 2, ... in any endpoint
//	tcp://a:7100,tcp://b:7100    a list with one endpoint per shard
//	tcp://127.0.0.1:*            to bind only: each shard gets a free port
//	tcp://127.0.0.1:7100         one shard
//	tcp://eth1;10.0.0.1:7100+    any tcp one may name where to connect from
//
// The place to connect from is an interface or one of its addresses. libzmq wants
// a port there and without one never connects, without a word; so it is added
// where it lacks: tcp://eth1:0;10.0.0.1:7100, any port.
//
// The schemes are tcp, ipc, inproc, epgm and pgm, as libzmq names them. IPv6
// addresses stand in brackets. A comma always separates the entries of a list,
// and blanks around it are ignored; the order of the entries is the order of
// the shards, so both ends must give the same one.
//
// The error is an *EndpointError, or says that n is no number of shards.
func Endpoints(pattern string, n int) ([]string, error) {
	if err := checkCount(n); err != nil {
		return nil, err
	}
	list, bad := expand(pattern, n)
	if bad != nil {
		bad.Pattern = pattern
		return nil, bad
	}
	for i, e := range list {
		list[i] = completeSource(e)
	}
	return list, nil
}

// Source returns where an endpoint says to connect from: an interface or an
// address, without port and brackets, or "".
func Source(endpoint string) string {
	addr, ok := strings.CutPrefix(endpoint, "tcp://")
	source, _, found := strings.Cut(addr, ";")
	if !ok || !found {
		return ""
	}
	host, _ := cutSourcePort(source)
	return strings.Trim(host, "[]")
}

// From returns a tcp endpoint with the place to connect from put in: an interface
// or an address. It must have none, and no other scheme can have one.
func From(endpoint, source string) (string, error) {
	addr, ok := strings.CutPrefix(endpoint, "tcp://")
	if !ok || strings.Contains(addr, ";") {
		return "", &EndpointError{Pattern: endpoint, Reason: "an interface is for a tcp endpoint that names none itself", Example: exampleSource}
	}
	if strings.Contains(source, ":") && !strings.HasPrefix(source, "[") {
		source = "[" + source + "]"
	}
	e := completeSource("tcp://" + source + ";" + addr)
	if bad := checkEndpoint(e); bad != nil {
		bad.Pattern = e
		return "", bad
	}
	return e, nil
}

// completeSource adds the port that libzmq wants.
func completeSource(e string) string {
	addr, ok := strings.CutPrefix(e, "tcp://")
	source, dest, found := strings.Cut(addr, ";")
	if !ok || !found {
		return e
	}
	host, port := cutSourcePort(source)
	if port == "" {
		port = "0"
	}
	return "tcp://" + host + ":" + port + ";" + dest
}

// cutSourcePort cuts the port, if there is one, off where to connect from.
func cutSourcePort(source string) (host, port string) {
	i := strings.LastIndexByte(source, ':')
	if i < 0 || strings.HasSuffix(source, "]") {
		return source, ""
	}
	return source[:i], source[i+1:]
}

// BindOnly reports whether an endpoint has a wildcard for its address or port,
// so that a socket can bind to it but not connect.
func BindOnly(endpoint string) bool {
	scheme, addr, _ := strings.Cut(endpoint, "://")
	switch scheme {
	case "tcp":
		addr = addr[strings.IndexByte(addr, ';')+1:] // what is before it is where to connect from
		return strings.HasPrefix(addr, "*:") || strings.HasSuffix(addr, ":*")
	case "ipc":
		return addr == "*"
	}
	return false
}

func expand(pattern string, n int) ([]string, *EndpointError) {
	switch {
	case strings.Contains(pattern, ","):
		return expandList(pattern, n)
	case strings.HasSuffix(pattern, "+"):
		return expandPorts(strings.TrimSuffix(pattern, "+"), n)
	case strings.Contains(pattern, placeholder):
		return expandShards(pattern, n)
	}
	if bad := checkEndpoint(pattern); bad != nil {
		return nil, bad
	}
	if n > 1 && !anyPlace(pattern) {
		return nil, &EndpointError{
			Reason:  fmt.Sprintf("one endpoint for %d shards", n),
			Example: exampleOfMany(pattern),
		}
	}
	list := make([]string, n)
	for i := range list {
		list[i] = pattern
	}
	return list, nil
}

// expandPorts counts up the port of base, a pattern without its final plus.
func expandPorts(base string, n int) ([]string, *EndpointError) {
	if !strings.HasPrefix(base, "tcp://") && strings.Contains(base, "://") {
		return nil, &EndpointError{Reason: "a final + counts up tcp ports only", Example: exampleOfMany(base)}
	}
	if strings.Contains(base, placeholder) {
		return nil, &EndpointError{Reason: "both {shard} and a final +", Example: exampleTCPPorts}
	}
	if bad := checkEndpoint(base); bad != nil {
		bad.Example = exampleTCPPorts
		return nil, bad
	}
	i := strings.LastIndexByte(base, ':')
	first, err := strconv.Atoi(base[i+1:])
	if err != nil {
		return nil, &EndpointError{Reason: "a final + needs a number for the port", Example: exampleTCPPorts}
	}
	if last := first + n - 1; last > portMax {
		return nil, &EndpointError{
			Place:   "shard " + strconv.Itoa(portMax+1-first),
			Reason:  fmt.Sprintf("%d shards from port %d on end at port %d, above %d", n, first, last, portMax),
			Example: exampleTCPPorts,
		}
	}
	list := make([]string, n)
	for k := range list {
		list[k] = base[:i+1] + strconv.Itoa(first+k)
	}
	return list, nil
}

// expandShards puts each shard's number in place of every {shard}.
func expandShards(pattern string, n int) ([]string, *EndpointError) {
	list := make([]string, n)
	for i := range list {
		list[i] = strings.ReplaceAll(pattern, placeholder, strconv.Itoa(i))
		if bad := checkEndpoint(list[i]); bad != nil {
			bad.Place = "shard " + strconv.Itoa(i)
			return nil, bad
		}
	}
	return list, nil // different numbers at the same places are different endpoints
}

func expandList(pattern string, n int) ([]string, *EndpointError) {
	list := strings.Split(pattern, ",")
	if len(list) != n {
		return nil, &EndpointError{
			Reason:  fmt.Sprintf("list of %d entries for %d shards", len(list), n),
			Example: exampleTCPList + " for 2 shards",
		}
	}
	for i := range list {
		list[i] = strings.Trim(list[i], " ")
		place := "entry " + strconv.Itoa(i+1)
		if strings.Contains(list[i], placeholder) || strings.HasSuffix(list[i], "+") {
			return nil, &EndpointError{Place: place, Reason: "{shard} or a final + inside a list", Example: exampleTCPList}
		}
		if bad := checkEndpoint(list[i]); bad != nil {
			bad.Place = place
			return nil, bad
		}
	}
	return list, checkDistinct(list)
}

// checkDistinct finds two entries that are one endpoint. Endpoints that let the
// system choose the place are never the same.
func checkDistinct(list []string) *EndpointError {
	seen := make(map[string]int, len(list))
	for i, e := range list {
		if anyPlace(e) {
			continue
		}
		key := e
		if strings.HasPrefix(e, "tcp:") {
			key = strings.ToLower(e) // host names and IPv6 digits have no case
			// Where to connect from does not make it another endpoint.
			key = key[strings.IndexByte(key, ';')+1:]
			key = strings.TrimPrefix(key, "tcp://")
		}
		if first, ok := seen[key]; ok {
			return &EndpointError{
				Place:   "entry " + strconv.Itoa(i+1),
				Reason:  "same endpoint as entry " + strconv.Itoa(first+1),
				Example: exampleOfMany(e),
			}
		}
		seen[key] = i
	}
	return nil
}
