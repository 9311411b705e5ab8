package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// plainReader is a SUB socket on a plain stream.
func plainReader(t *testing.T, endpoint, topic string) *zsock.Socket {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever, ReceiveQueue: -1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
	if err := errors.Join(s.Connect(endpoint), s.Subscribe(topic)); err != nil {
		t.Fatal(err)
	}
	return s
}

// plainMessage receives a message and returns its entries' topics and headers.
func plainMessage(t *testing.T, s *zsock.Socket) (topics []string, headers []wire.Plain) {
	t.Helper()
	frames, err := s.RecvFrames()
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+2 < len(frames); i += 3 {
		h, err := wire.ParsePlain(frames[i+1])
		if err != nil {
			t.Fatal(err)
		}
		topics, headers = append(topics, string(frames[i])), append(headers, h)
	}
	return topics, headers
}

// TestLVC is tape, player, proxy, a plain client and a tap, each a process of its
// own but the client: it gets every record, and the tap shows who it is.
func TestLVC(t *testing.T) {
	const records = 3000
	dir := t.TempDir()
	src := day(t, dir, records)
	shards, plain, tap := "ipc://"+filepath.Join(dir, "s-{shard}"), "ipc://"+filepath.Join(dir, "plain"), "ipc://"+filepath.Join(dir, "tap")
	proxy := start(t, "lvc", "--shards", shards, "--shard-count", "2", "--plain", plain, "--tap", tap, "--json")
	if !proxy.stderr.await("serving") {
		t.Fatal(proxy.stderr)
	}
	tapped := start(t, "tap", tap, "--topics", "S", "--json")
	lines := bufio.NewScanner(tapped.stdout)
	// A tap that has joined is seen by what it shows: one client after another
	// subscribes until it does.
	seen := make(chan string)
	go func() {
		defer close(seen)
		for lines.Scan() {
			seen <- lines.Text()
		}
	}()
	for shown := false; !shown; {
		s := plainReader(t, plain, "S-nothing")
		if topics, headers := plainMessage(t, s); len(topics) != 1 || headers[0].Flags&wire.PlainEmpty == 0 {
			t.Fatalf("answered with %q", topics)
		}
		select {
		case line := <-seen:
			shown = strings.Contains(line, `"message_type":"tap.subscribe"`) && strings.Contains(line, `"topic":"S-nothing"`) && strings.Contains(line, "ipc:pid=")
			if !shown {
				t.Fatalf("the tap shows %s", line)
			}
		default:
		}
	}
	client := plainReader(t, plain, "")
	if topics, headers := plainMessage(t, client); len(topics) != 1 || headers[0].Flags&wire.PlainEmpty == 0 {
		t.Fatalf("answered with %q", topics)
	}
	play := start(t, "play", src, "--shards", "2", "--bind", shards, "--speed", "max", "--wait", "1")
	next := map[uint16]wire.Seq{}
	for n := 0; n < records; {
		topics, headers := plainMessage(t, client)
		h := headers[0]
		if h.Kind == wire.KindNotice {
			continue
		}
		if len(topics) != 1 || h.Flags != 0 || h.Shards != 2 || h.Seq != next[h.Shard] {
			t.Fatalf("%q: %+v, want sequence %d", topics, h, next[h.Shard])
		}
		next[h.Shard]++
		n++
	}
	if _, code := play.end(); code != 0 {
		t.Errorf("play: exit code %d\n%s", code, play.stderr)
	}
	// Who comes when all is over gets the last values.
	if topics, _ := plainMessage(t, plainReader(t, plain, "SYN.")); len(topics) != 20 {
		t.Errorf("%d last values, want 20", len(topics))
	}
	shown := 0
	for line := range seen {
		if strings.Contains(line, `"topic":"SYN.`) && !strings.Contains(line, `"message_type":"tap.`) {
			if shown++; shown == 100 {
				tapped.signal(os.Interrupt)
			}
		}
	}
	if code := tapped.code(); code != 130 || shown < 100 {
		t.Errorf("tap: exit code %d after %d records\n%s", code, shown, tapped.stderr)
	}
	proxy.signal(os.Interrupt)
	out, code := proxy.end()
	if m := summary(t, out, "lvc.summary"); code != 130 || m["records"] != float64(records) || m["topics"] != 20.0 || m["dropped"] != 0.0 {
		t.Errorf("lvc: exit code %d, %v\n%s", code, m, proxy.stderr)
	}
	var first map[string]any
	if err := json.Unmarshal([]byte(out[:strings.Index(out, "\n")]), &first); err != nil || first["message_type"] != "lvc.serving" {
		t.Errorf("first line: %v, %v", first, err)
	}
}

// TestLVCWarm: the last values of a tape are there before a stream is.
func TestLVCWarm(t *testing.T) {
	dir := t.TempDir()
	src := day(t, dir, 3000)
	plain := "ipc://" + filepath.Join(dir, "plain")
	proxy := start(t, "lvc", "--shards", "ipc://"+filepath.Join(dir, "nobody"), "--plain", plain, "--warm", src)
	if !proxy.stderr.await("with 20 last values") {
		t.Fatal(proxy.stderr)
	}
	topics, headers := plainMessage(t, plainReader(t, plain, ""))
	if len(topics) != 20 || headers[19].Flags != wire.PlainSnapshot|wire.PlainLast || headers[0].Epoch == 0 {
		t.Errorf("%d last values, the last: %+v", len(topics), headers[len(headers)-1])
	}
	proxy.signal(os.Interrupt)
	if _, code := proxy.end(); code != 130 {
		t.Errorf("exit code %d\n%s", code, proxy.stderr)
	}
}

// TestLVCUsage: mistakes are refused with the usual codes.
func TestLVCUsage(t *testing.T) {
	for _, c := range []struct {
		args string
		code int
		says string
	}{
		{"lvc --shards tcp://127.0.0.1:1,tcp://127.0.0.1:2 --shard-count 3", 2, "3 shards"},
		{"lvc --shards tcp://127.0.0.1:*", 2, "wildcard"},
		{"lvc --max-topics 0", 2, "--max-topics"},
		{"lvc --max-bytes lots", 2, "--max-bytes lots"},
		{"lvc --queue 0", 2, "--queue 0"},
		{"lvc --plain inproc://x", 1, "transport"},
		{"lvc --plain tcp://127.0.0.1:http", 1, "bind tcp://127.0.0.1:http"},
		{"lvc --warm nowhere.tape", 1, "nowhere.tape"},
		{"tap", 2, "accepts 1 arg"},
		{"tap ipc://nobody --rate -1", 2, "--rate"},
		{"tap ipc://nobody --silence 10ms", 1, "says nothing for 10ms"},
	} {
		p := start(t, strings.Fields(c.args)...)
		if out, code := p.end(); code != c.code || !strings.Contains(p.stderr.String(), c.says) || out != "" {
			t.Errorf("%s: exit code %d, want %d and %q\n%s%s", c.args, code, c.code, c.says, out, p.stderr)
		}
	}
}
