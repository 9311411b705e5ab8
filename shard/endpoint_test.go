package shard_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/shard"
)

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		pattern string
		n       int
		want    string // joined by blanks
	}{
		{"tcp://127.0.0.1:7100+", 3, "tcp://127.0.0.1:7100 tcp://127.0.0.1:7101 tcp://127.0.0.1:7102"},
		{"tcp://127.0.0.1:7100+", 1, "tcp://127.0.0.1:7100"},
		{"tcp://127.0.0.1:7100", 1, "tcp://127.0.0.1:7100"},
		{"tcp://*:65534+", 2, "tcp://*:65534 tcp://*:65535"},
		{"tcp://[::1]:7100+", 2, "tcp://[::1]:7100 tcp://[::1]:7101"},
		{"tcp://eth1;10.0.0.2:7100+", 2, "tcp://eth1:0;10.0.0.2:7100 tcp://eth1:0;10.0.0.2:7101"},
		{"tcp://eth0;h:1,tcp://eth1:*;h:2", 2, "tcp://eth0:0;h:1 tcp://eth1:*;h:2"},
		{"tcp://[fe80::1];[fe80::2]:7100", 1, "tcp://[fe80::1]:0;[fe80::2]:7100"},
		{"tcp://eth{shard}:5000;h:710{shard}", 2, "tcp://eth0:5000;h:7100 tcp://eth1:5000;h:7101"},
		{"tcp://10.0.0.1:0;10.0.0.2:7100+", 2, "tcp://10.0.0.1:0;10.0.0.2:7100 tcp://10.0.0.1:0;10.0.0.2:7101"},
		{"tcp://127.0.0.1:*", 2, "tcp://127.0.0.1:* tcp://127.0.0.1:*"},
		{"tcp://*:*", 1, "tcp://*:*"},
		{"tcp://127.0.0.1:*,tcp://127.0.0.1:*", 2, "tcp://127.0.0.1:* tcp://127.0.0.1:*"},
		{"tcp://feed{shard}.lan:7100", 2, "tcp://feed0.lan:7100 tcp://feed1.lan:7100"},
		{"tcp://h:71{shard}", 2, "tcp://h:710 tcp://h:711"},
		{"ipc:///tmp/a b/{shard}.sock", 2, "ipc:///tmp/a b/0.sock ipc:///tmp/a b/1.sock"},
		{"ipc://@tapedeck-{shard}", 2, "ipc://@tapedeck-0 ipc://@tapedeck-1"},
		{"ipc://*", 2, "ipc://* ipc://*"},
		{"inproc://s{shard}", 2, "inproc://s0 inproc://s1"},
		{"inproc://s", 1, "inproc://s"},
		{"epgm://eth0;239.192.1.{shard}:5555", 2, "epgm://eth0;239.192.1.0:5555 epgm://eth0;239.192.1.1:5555"},
		{"pgm://eth0;239.192.1.1:5555", 1, "pgm://eth0;239.192.1.1:5555"},
		{"tcp://a:1, ipc:///tmp/b ,inproc://c", 3, "tcp://a:1 ipc:///tmp/b inproc://c"},
	} {
		got, err := shard.Endpoints(c.pattern, c.n)
		if err != nil {
			t.Errorf("%q for %d: %v", c.pattern, c.n, err)
			continue
		}
		// ipc paths may hold blanks, so the joined forms are compared.
		if joined := strings.Join(got, " "); joined != c.want || len(got) != c.n {
			t.Errorf("%q for %d:\n got %s\nwant %s", c.pattern, c.n, joined, c.want)
		}
	}
}

func TestEndpointsRefuses(t *testing.T) {
	long := "ipc:///" + strings.Repeat("x", 107)
	for _, c := range []struct {
		pattern       string
		n             int
		place, reason string
	}{
		{"", 1, "", "empty"},
		{"127.0.0.1:7100", 1, "", "no scheme"},
		{"127.0.0.1:7100+", 2, "", "no scheme"},
		{"tcp:127.0.0.1:7100", 1, "", "no scheme"},
		{"udp://127.0.0.1:7100", 1, "", `unknown scheme "udp"`},
		{"TCP://127.0.0.1:7100", 1, "", `unknown scheme "TCP"`},
		{"://x", 1, "", `unknown scheme ""`},
		{"tcp://127.0.0.1", 1, "", "no port"},
		{"tcp://127.0.0.1+", 2, "", "no port"},
		{"tcp://127.0.0.1:", 1, "", "no port"},
		{"tcp://[::1]", 1, "", "no port"},
		{"tcp://", 1, "", "no port"},
		{"tcp://:7100", 1, "", "no host"},
		{"tcp://h:0", 1, "", "port 0"},
		{"tcp://h:0+", 2, "", "port 0"},
		{"tcp://h:65536", 1, "", "port 65536 is above 65535"},
		{"tcp://h:99999999999999999999", 1, "", "is above 65535"},
		{"tcp://h:07100", 1, "", "leading zero"},
		{"tcp://h:-1", 1, "", "not a number"},
		{"tcp://h:http", 1, "", `port "http" is not a number`},
		{"tcp://::1:7100", 1, "", "must stand in brackets"},
		{"tcp://[::1:7100", 1, "", "unpaired bracket"},
		{"tcp://a b:7100", 1, "", "blank or a slash"},
		{"tcp://h/:7100", 1, "", "blank or a slash"},
		{"tcp://;h:7100", 1, "", "no source address"},
		{"tcp://*;h:7100", 1, "", "* is none"},
		{"tcp://eth1:;h:7100", 1, "", "no port behind the colon"},
		{"tcp://eth1:70000;h:7100", 1, "", "above 65535"},
		{"tcp://eth1:x;h:7100", 1, "", "not a number"},
		{"tcp://fe80::1;h:7100", 1, "", "brackets"},
		{"tcp://eth 1;h:7100", 1, "", "blank"},
		{"tcp://eth0;h:1,tcp://eth1;H:1", 2, "entry 2", "same endpoint as entry 1"},
		{"tcp://h:7100\n", 1, "", "control character"},
		{"tcp://h:7100\x00", 1, "", "control character"},
		{"tcp://h:7100", 2, "", "one endpoint for 2 shards"},
		{"ipc:///tmp/x", 2, "", "one endpoint for 2 shards"},
		{"tcp://h:65535+", 2, "shard 1", "end at port 65536, above 65535"},
		{"tcp://h:65530+", 60000, "shard 6", "above 65535"},
		{"tcp://h:*+", 2, "", "needs a number"},
		{"tcp://h{shard}:7100+", 2, "", "both {shard} and a final +"},
		{"ipc:///tmp/x+", 2, "", "tcp ports only"},
		{"inproc://x+", 1, "", "tcp ports only"},
		{"epgm://eth0;239.1.1.1:5555+", 2, "", "tcp ports only"},
		{"tcp://h:{shard}", 2, "shard 0", "port 0"},
		{"tcp://h:6553{shard}", 7, "shard 6", "port 65536 is above 65535"},
		{"ipc:///tmp/{Shard}", 2, "", "unknown placeholder"},
		{"ipc:///tmp/{shard}{x}", 2, "shard 0", "unknown placeholder"},
		{"ipc://", 1, "", "no path"},
		{"ipc:///tmp/{shard} ", 2, "shard 0", "blank at the end"},
		{long, 1, "", "path has 108 bytes"},
		{"inproc://", 1, "", "no name"},
		{"epgm://239.1.1.1:5555", 1, "", "no interface"},
		{"epgm://;239.1.1.1:5555", 1, "", "no interface"},
		{"epgm://eth0;239.1.1.1", 1, "", "no port"},
		{"epgm://eth0;239.1.1.1:*", 1, "", "not a number"},
		{"pgm://eth0;:5555", 1, "", "no host"},
		{"tcp://h:1,tcp://h:2", 3, "", "list of 2 entries for 3 shards"},
		{"tcp://h:1,tcp://h:2", 1, "", "list of 2 entries for 1 shards"},
		{"tcp://h:1,h:2", 2, "entry 2", "no scheme"},
		{"tcp://h:1,", 2, "entry 2", "empty"},
		{"tcp://h:1,tcp://h:2+", 2, "entry 2", "inside a list"},
		{"ipc://a{shard},ipc://b", 2, "entry 1", "inside a list"},
		{"tcp://h:1,tcp://i:1,tcp://H:1", 3, "entry 3", "same endpoint as entry 1"},
	} {
		got, err := shard.Endpoints(c.pattern, c.n)
		var bad *shard.EndpointError
		if !errors.As(err, &bad) {
			t.Errorf("%q for %d: %v, %v; want an EndpointError", c.pattern, c.n, got, err)
			continue
		}
		if bad.Place != c.place || !strings.Contains(bad.Reason, c.reason) || bad.Pattern != c.pattern {
			t.Errorf("%q for %d: %v\nwant place %q, reason %q", c.pattern, c.n, err, c.place, c.reason)
		}
		checkExample(t, bad.Example)
	}
}

// checkExample holds what the errors recommend to the rules.
func checkExample(t *testing.T, example string) {
	t.Helper()
	pattern, _, _ := strings.Cut(example, " for ")
	n := 1 + strings.Count(pattern, ",")
	if _, err := shard.Endpoints(pattern, n); err != nil {
		t.Errorf("the example is refused itself: %v", err)
	}
}

func TestEndpointsCount(t *testing.T) {
	for _, n := range []int{-1, 0, shard.Max + 1} {
		if _, err := shard.Endpoints("tcp://127.0.0.1:7100+", n); err == nil {
			t.Errorf("%d shards: no error", n)
		}
	}
}

func TestEndpointErrorText(t *testing.T) {
	_, err := shard.Endpoints("tcp://h:1,h:2", 2)
	want := `shard: endpoint "tcp://h:1,h:2": entry 2: no scheme; example: tcp://127.0.0.1:7100`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

func TestBindOnly(t *testing.T) {
	for endpoint, want := range map[string]bool{
		"tcp://*:7100": true, "tcp://127.0.0.1:*": true, "tcp://*:*": true, "ipc://*": true,
		"tcp://127.0.0.1:7100": false, "ipc:///tmp/*": false, "inproc://*": false,
		"tcp://*:0;10.0.0.2:7100": false, "tcp://10.0.0.1:*;10.0.0.2:7100": false, "": false,
	} {
		if got := shard.BindOnly(endpoint); got != want {
			t.Errorf("BindOnly(%q) = %v", endpoint, got)
		}
	}
}

func FuzzEndpoints(f *testing.F) {
	for _, s := range []string{
		"tcp://127.0.0.1:7100+", "tcp://[::1]:7100", "ipc:///tmp/{shard}", "tcp://a:1,tcp://b:2",
		"epgm://eth0;239.192.1.{shard}:7100", "tcp://127.0.0.1:*", "tcp://a:0;b:1+", "inproc://{shard}{shard}", "ipc://{shard} ",
	} {
		f.Add(s, 2)
	}
	f.Fuzz(func(t *testing.T, pattern string, n int) {
		if n > 300 {
			n = n%300 + 1
		}
		got, err := shard.Endpoints(pattern, n)
		if err != nil {
			var bad *shard.EndpointError
			if n >= 1 && !errors.As(err, &bad) {
				t.Fatalf("%v is no EndpointError", err)
			}
			return
		}
		if len(got) != n {
			t.Fatalf("%d endpoints for %d shards", len(got), n)
		}
		for i, e := range got {
			// What comes out is a plain endpoint: it is accepted for one shard
			// and stays as it is.
			again, err := shard.Endpoints(e, 1)
			if err != nil || !slices.Equal(again, []string{e}) {
				t.Fatalf("shard %s: %q gives %q, %v", strconv.Itoa(i), e, again, err)
			}
		}
		// The joined list is the same pattern written out.
		if n > 1 {
			list, err := shard.Endpoints(strings.Join(got, ","), n)
			if err != nil || !slices.Equal(list, got) {
				t.Fatalf("as a list: %q, %v", list, err)
			}
		}
	})
}

func TestFrom(t *testing.T) {
	for _, c := range []struct{ endpoint, source, want string }{
		{"tcp://h:7100", "eth1", "tcp://eth1:0;h:7100"},
		{"tcp://h:7100", "10.0.0.1", "tcp://10.0.0.1:0;h:7100"},
		{"tcp://h:7100", "fe80::1", "tcp://[fe80::1]:0;h:7100"},
		{"tcp://h:7100", "eth 1", ""},
		{"tcp://h:7100", "", ""},
		{"tcp://eth0:0;h:7100", "eth1", ""},
		{"ipc:///tmp/x", "eth1", ""},
	} {
		got, err := shard.From(c.endpoint, c.source)
		if got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("From(%q, %q) = %q, %v; want %q", c.endpoint, c.source, got, err, c.want)
		}
		if err == nil && shard.Source(got) != c.source {
			t.Errorf("Source(%q) = %q, want %q", got, shard.Source(got), c.source)
		}
	}
	for _, e := range []string{"tcp://h:7100", "ipc:///tmp/a;b", "epgm://eth0;239.1.1.1:5555", ""} {
		if got := shard.Source(e); got != "" {
			t.Errorf("Source(%q) = %q", e, got)
		}
	}
}
