package metrics

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/subscriber"
)

// serve serves a set at a free port until the test ends.
func serve(t testing.TB, s *Set) (url string) {
	t.Helper()
	srv, err := NewServer(ServerConfig{Address: "127.0.0.1:0", Set: s})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx) }()
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := srv.Close(); err != nil {
			t.Error(err)
		}
	})
	return "http://" + srv.Address()
}

// get returns what is served.
func get(t testing.TB, url string) (int, string, http.Header) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b), r.Header
}

func TestServer(t *testing.T) {
	s := New(Config{Version: "v1.2", Libzmq: "4.3.4"})
	s.Root().Subscriber(func() subscriber.Summary { return subscriber.Summary{Records: 42} })
	var bad error
	s.Root().Check("stream", func() error { return bad })
	url := serve(t, s)
	code, body, _ := get(t, url+"/metrics")
	for _, want := range []string{
		"tapedeck_subscriber_records_total 42\n", `tapedeck_build_info{go_version="go`, `libzmq_version="4.3.4",version="v1.2"} 1`,
		"go_goroutines ", "process_cpu_seconds_total ", "# TYPE tapedeck_subscriber_records_total counter\n", `tapedeck_check_ok{check="stream"} 1`,
	} {
		if code != 200 || !strings.Contains(body, want) {
			t.Errorf("/metrics: %d, without %q", code, want)
		}
	}
	if code, body, _ := get(t, url+"/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	code, body, head := get(t, url+"/readyz")
	var st Status
	if err := json.Unmarshal([]byte(body), &st); err != nil || code != 200 || !st.Ready || head.Get("Content-Type") != "application/json" {
		t.Errorf("/readyz: %d %q %v", code, body, err)
	}
	bad = errors.New("no data")
	if code, body, _ := get(t, url+"/readyz"); code != http.StatusServiceUnavailable || !strings.Contains(body, `"name":"stream","ok":false,"reason":"no data"`) {
		t.Errorf("/readyz, not ready: %d %q", code, body)
	}
	if code, body, _ := get(t, url+"/"); code != 200 || body != index {
		t.Errorf("/: %d %q", code, body)
	}
	if code, _, _ := get(t, url+"/debug/pprof/"); code != 404 {
		t.Errorf("there is more than there should be: %d", code)
	}
	r, err := http.Post(url+"/metrics", "text/plain", strings.NewReader("x"))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", r.StatusCode)
	}
}

// TestAddress: what is an address, and which of them other machines can reach.
func TestAddress(t *testing.T) {
	for address, want := range map[string]error{
		"127.0.0.1:0": nil, "0": nil, "localhost:0": nil, "127.9.8.7:0": nil,
		"0.0.0.0:0": ErrOpen, ":0": ErrOpen, "[::]:0": ErrOpen, "[::ffff:0.0.0.0]:0": ErrOpen,
		"": ErrAddress, "x": ErrAddress, "127.0.0.1": ErrAddress, "127.0.0.1:": ErrAddress, "127.0.0.1:http": ErrAddress,
		"127.0.0.1:65536": ErrAddress, "127.0.0.1:-1": ErrAddress, "::1": ErrAddress, "a:b:c": ErrAddress, "-1": ErrAddress, "70000": ErrAddress,
		"no such host:1": ErrAddress, "tcp://127.0.0.1:1": ErrAddress,
	} {
		srv, err := NewServer(ServerConfig{Address: address, Set: New(Config{})})
		if !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", address, err, want)
		}
		if err == nil {
			if err := srv.Close(); err != nil {
				t.Errorf("%q: %v", address, err)
			}
		}
	}
	srv, err := NewServer(ServerConfig{Address: ":0", Open: true, Set: New(Config{})})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(srv.Address())
	busy, err := NewServer(ServerConfig{Address: port, Set: New(Config{})})
	if err == nil || !strings.Contains(err.Error(), "address already in use") || !strings.Contains(err.Error(), port) {
		t.Errorf("an address in use: %v, %v", busy, err)
	}
	if err := srv.Close(); err != nil {
		t.Error(err)
	}
}

// TestIdlePeersAreBounded: peers that connect and say nothing take so many connections
// and no more; the server ends in spite of them.
func TestIdlePeersAreBounded(t *testing.T) {
	s := New(Config{})
	srv, err := NewServer(ServerConfig{Address: "0", Set: s})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { done <- srv.Run(ctx) }()
	places := srv.listener.(*limited).open
	for range connectionsMax + 5 {
		c, err := net.Dial("tcp", srv.Address())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for len(places) < connectionsMax {
		<-tick.C
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
