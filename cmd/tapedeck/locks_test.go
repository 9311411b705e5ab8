package main

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
	"github.com/tapedeck/tapedeck/keys"
	"github.com/tapedeck/tapedeck/wire"
)

// keyring is the keys of a test, and the list of a server that is called deck.
type keyring struct {
	t    *testing.T
	dir  string
	list string
}

func newKeyring(t *testing.T) *keyring {
	t.Helper()
	if !zsock.Has("curve") {
		t.Skip("this libzmq has no CURVE")
	}
	r := &keyring{t: t, dir: t.TempDir()}
	r.list = filepath.Join(r.dir, "authorized.toml")
	r.make("deck")
	return r
}

func (r *keyring) make(name string) { tapedeck(r.t, "keys", "new", name, "-o", r.dir) }

// allow makes a key and allows it.
func (r *keyring) allow(name string, args ...string) {
	r.make(name)
	tapedeck(r.t, append([]string{"keys", "allow", r.file(name + ".pub"), "--file", r.list}, args...)...)
}

func (r *keyring) revoke(name string) {
	tapedeck(r.t, "keys", "revoke", name, "--file", r.list, "--why", "a test")
}

func (r *keyring) file(name string) string { return filepath.Join(r.dir, name) }

// serves are the flags of who is connected to.
func (r *keyring) serves() []string {
	return []string{"--key", r.file("deck.key"), "--authorized", r.list}
}

// as are the flags of who connects.
func (r *keyring) as(name string) []string {
	return []string{"--key", r.file(name + ".key"), "--server-key", r.file("deck.pub")}
}

// noSecrets fails where one of the secrets was written to one of the texts.
func (r *keyring) noSecrets(texts ...string) {
	r.t.Helper()
	files, err := filepath.Glob(r.file("*.key"))
	if err != nil || len(files) < 2 {
		r.t.Fatal(files, err)
	}
	for _, f := range files {
		p, err := keys.ReadPair(f)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, text := range texts {
			if strings.Contains(text, p.Secret.Z85()) {
				r.t.Errorf("the secret of %s was written", p.Name)
			}
		}
	}
}

// startKeyed starts tapedeck with some more flags.
func startKeyed(t *testing.T, more []string, args ...string) *process {
	t.Helper()
	return start(t, append(args, more...)...)
}

// boundAt waits until play says where it is bound.
func boundAt(t *testing.T, play *process) string {
	t.Helper()
	if !play.stderr.await("on [tcp://") || !play.stderr.await("]\n") {
		t.Fatal(play.stderr)
	}
	_, at, _ := strings.Cut(play.stderr.String(), "on [")
	at, _, _ = strings.Cut(at, "]")
	return at
}

func (p *process) awaits(text string) {
	p.t.Helper()
	if !p.stderr.await(text) {
		p.t.Fatalf("nobody says %q:\n%s", text, p.stderr)
	}
}

// TestKeysRefusals: whoever has a wrong key of the server, none at all, one that is not
// allowed, was revoked or has no right to all of the stream, does not get in; the
// server says who and why, once, and counts it; and the one who may gets everything.
func TestKeysRefusals(t *testing.T) {
	r := newKeyring(t)
	src := day(t, t.TempDir(), 1000)
	r.allow("desk")
	r.allow("partner", "--topics", "SYN.0")
	r.allow("clerk", "--roles", "control")
	r.allow("gone")
	r.revoke("gone")
	r.allow("elsewhere", "--from", "10.0.0.0/8")
	r.make("stranger")
	play := startKeyed(t, r.serves(), "play", src, "--speed", "max", "--wait", "1", "--bind", "tcp://127.0.0.1:*", "--metrics", "0")
	at := boundAt(t, play)
	written := []string{}
	for _, tc := range []struct {
		flags  []string
		server string // what the server says
		client string // what the client says; "": nothing
	}{
		{r.as("stranger"), "on data: unknown key", "refuses the key stranger"},
		{r.as("gone"), "refused gone (key ", "refuses the key gone"},
		{r.as("gone"), "on data: revoked key", "refuses the key gone"},
		{r.as("partner"), "on data: no right to every topic", "refuses the key partner"},
		{r.as("clerk"), "on data: no such right", "refuses the key clerk"},
		{r.as("elsewhere"), "on data: not from this address", "refuses the key elsewhere"},
		{[]string{"--key", r.file("desk.key"), "--server-key", r.file("stranger.pub")}, "on data: wrong server key", "it has another key than --server-key says"},
		{nil, "refused somebody on data: no ", ""},
	} {
		sub := startKeyed(t, tc.flags, "sub", "--connect", at)
		play.awaits(tc.server)
		if tc.client != "" {
			sub.awaits(tc.client)
		}
		sub.signal(os.Interrupt)
		_, code := sub.end()
		if tc.client != "" && code != 130 {
			t.Errorf("%q: exit code %d", tc.server, code)
		}
		written = append(written, sub.stderr.String())
	}
	if play.stderr.await("metrics on ") {
		m := scrape(t, play)
		for _, reason := range []keys.Refusal{keys.RefusedUnknown, keys.RefusedRevoked, keys.RefusedTopics, keys.RefusedRole, keys.RefusedFrom, keys.RefusedServer} {
			want := regexp.MustCompile(`tapedeck_auth_refused_total\{channel="data",reason="` + string(reason) + `"\} [1-9]`)
			if !want.MatchString(m) {
				t.Errorf("metrics do not count %q", reason)
			}
		}
		written = append(written, m)
	}
	sub := startKeyed(t, r.as("desk"), "sub", "--connect", at, "--json")
	out, code := sub.end()
	if m := summary(t, out, "sub.summary"); code != 0 || m["complete"] != true || m["records"] != 1000.0 {
		t.Errorf("sub exits with %d: %v\n%s", code, m, sub.stderr)
	}
	if _, code := play.end(); code != 0 {
		t.Errorf("play exits with %d\n%s", code, play.stderr)
	}
	if n := strings.Count(play.stderr.String(), "on data: revoked key"); n != 1 {
		t.Errorf("a refusal was said %d times", n)
	}
	r.noSecrets(append(written, out, play.stderr.String(), sub.stderr.String())...)
}

// scrape gets a process's metrics.
func scrape(t *testing.T, p *process) string {
	t.Helper()
	_, url, _ := strings.Cut(p.stderr.String(), "metrics on ")
	url, _, _ = strings.Cut(url, "\n")
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestKeysRevoked: whose key is revoked is cut off while he reads, and not let in again;
// others read on. A list that cannot be read changes nothing.
func TestKeysRevoked(t *testing.T) {
	r := newKeyring(t)
	src := day(t, t.TempDir(), 100_000) // 100 s
	r.allow("desk")
	r.allow("risk")
	play := startKeyed(t, r.serves(), "play", src, "--wait", "2", "--live", "--bind", "tcp://127.0.0.1:*")
	at := boundAt(t, play)
	subs := map[string]*process{}
	lines := map[string]chan struct{}{}
	for _, name := range []string{"desk", "risk"} {
		subs[name] = startKeyed(t, r.as(name), "sub", "--connect", at, "--print", "--name", name)
		lines[name] = heard(subs[name])
	}
	goesOn := func(name string) {
		t.Helper()
		for range 3 { // one may have waited, another been on its way
			if _, ok := <-lines[name]; !ok {
				t.Fatalf("%s gets nothing any more\n%s", name, subs[name].stderr)
			}
		}
	}
	goesOn("desk")
	goesOn("risk")
	good, err := os.ReadFile(r.list)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(r.list, []byte("[[peer]]\nname = 7\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	play.awaits("the list that was read before goes on")
	goesOn("desk")
	goesOn("risk")
	if err := os.WriteFile(r.list, good, 0o644); err != nil {
		t.Fatal(err)
	}
	play.awaits("was read again: 2 allowed, 0 revoked")
	r.revoke("desk")
	play.awaits("keys: ended 1 connection")
	play.awaits("refused desk (key ")
	subs["desk"].awaits("refuses the key desk")
	goesOn("risk")
	r.noSecrets(play.stderr.String(), subs["desk"].stderr.String(), subs["risk"].stderr.String())
}

// heard tells that a process goes on writing lines, until it ends.
func heard(p *process) chan struct{} {
	c := make(chan struct{}, 1)
	go func() {
		defer close(c)
		for s := bufio.NewScanner(p.stdout); s.Scan(); {
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}()
	return c
}

// TestKeysPlain: on the plain stream rights go by topic: what a reader may read he gets,
// what he may not is answered so, and said; and a list that is changed takes rights
// away, while he reads.
func TestKeysPlain(t *testing.T) {
	r := newKeyring(t)
	dir := t.TempDir()
	src := day(t, dir, 500)
	r.allow("partner", "--topics", "SYN.A0001")
	shards, plain := "ipc://"+filepath.Join(dir, "s"), "ipc://"+filepath.Join(dir, "plain")
	lvc := start(t, "lvc", "--shards", shards, "--plain", plain, "--warm", src, "--key", r.file("deck.key"),
		"--authorized", r.list, "--server-key", r.file("deck.pub"), "--json")
	lvc.awaits("serving")
	pair, err := keys.ReadPair(r.file("partner.key"))
	if err != nil {
		t.Fatal(err)
	}
	server, _, err := keys.ReadPublic(r.file("deck.pub"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	ctx.SetLock(&zsock.Lock{Public: pair.Public.String(), Secret: pair.Secret.Z85(), ServerKey: func(string) (string, error) { return server.String(), nil }})
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: zsock.Forever})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	}()
	if err := errors.Join(s.Connect(plain), s.Subscribe("SYN.A0001")); err != nil {
		t.Fatal(err)
	}
	if topics, h := plainMessage(t, s); len(topics) != 1 || topics[0] != "SYN.A0001" || h[0].Flags&wire.PlainSnapshot == 0 || h[0].Flags&wire.PlainRefused != 0 {
		t.Fatalf("%q %+v", topics, h)
	}
	if err := s.Subscribe("SYN.A0002"); err != nil {
		t.Fatal(err)
	}
	if topics, h := plainMessage(t, s); len(topics) != 1 || topics[0] != "SYN.A0002" || h[0].Flags&wire.PlainRefused == 0 {
		t.Fatalf("%q %+v", topics, h)
	}
	lvc.awaits("refused partner (key ")
	lvc.awaits("on plain: no right to this topic")
	pythonIsRefused(t, r, lvc, plain)
	r.revoke("partner")
	lvc.awaits("keys: ended 1 connection")
	lvc.awaits("on plain: revoked key")
	lvc.signal(os.Interrupt)
	out, _ := lvc.end()
	r.noSecrets(out, lvc.stderr.String())
}

// pythonIsRefused has a client in another language find out: where there is one.
func pythonIsRefused(t *testing.T, r *keyring, lvc *process, plain string) {
	t.Helper()
	interpreter, ok := zsocktest.FindPython("import zmq, tomllib; assert zmq.has('curve')")
	if !ok {
		t.Log("no python3 with zmq, CURVE and tomllib: the clients are ours alone")
		return
	}
	for topics, want := range map[string]string{"SYN.A0001": "joined", "SYN.A0003": "no right"} {
		p := startProgram(t, interpreter, "../../examples/python/plain_subscriber.py", plain, "--topics", topics,
			"--timeout", "600", "--key", r.file("partner.key"), "--server-key", r.file("deck.pub"))
		p.awaits(want)
		p.signal(os.Interrupt)
		_, _ = p.end()
	}
}

// TestKeysBus: on the bus, who may read looks, who has control commands, a stranger gets
// no answer, and it is said why.
func TestKeysBus(t *testing.T) {
	r := newKeyring(t)
	dir := t.TempDir()
	day(t, dir, 100)
	r.allow("viewer")
	r.allow("boss", "--roles", "control")
	r.allow("partner", "--topics", "SYN.A0001")
	r.make("stranger")
	serve := startServe(t, dir, r.serves()...)
	bus := serve.serving.Bus
	run := func(name string, want int, args ...string) string {
		t.Helper()
		p := startKeyed(t, r.as(name), append(args, "--bus", bus)...)
		out, code := p.end()
		if code != want {
			t.Errorf("%s: %v: exit code %d, want %d\n%s", name, args, code, want, p.stderr)
		}
		r.noSecrets(out, p.stderr.String())
		return p.stderr.String()
	}
	run("viewer", 0, "status")
	run("viewer", 0, "tapes", "list")
	run("viewer", 0, "tapes", "last", "day.tape")
	if s := run("partner", 1, "tapes", "last", "day.tape"); !strings.Contains(s, "this key has no right to tapes last") {
		t.Error(s)
	}
	if s := run("viewer", 1, "deck", "open", "day.tape"); !strings.Contains(s, "this key has no right to deck open") || !strings.Contains(s, "hint: ") {
		t.Error(s)
	}
	serve.awaits("refused viewer (key ")
	serve.awaits("on control: no such right")
	run("boss", 0, "deck", "open", "day.tape")
	run("boss", 0, "deck", "list")
	if s := run("stranger", 1, "status", "--timeout", "3s"); !strings.Contains(s, "refuses the key stranger") {
		t.Error(s)
	}
	serve.awaits("on control: unknown key")
	r.revoke("boss")
	serve.awaits("1 revoked")
	run("boss", 1, "deck", "close", "day", "--timeout", "3s")
	serve.signal(os.Interrupt)
	if _, code := serve.end(); code != 0 {
		t.Errorf("serve: exit code %d\n%s", code, serve.stderr)
	}
	r.noSecrets(serve.stderr.String())
}

// TestServerKeys: whose key is at an endpoint is what was said of it, of its host, or
// of all.
func TestServerKeys(t *testing.T) {
	var pub [3]string
	for i := range pub {
		p, err := keys.NewPair("a")
		if err != nil {
			t.Fatal(err)
		}
		pub[i] = p.Public.String()
	}
	l := &processLock{}
	for _, s := range []string{"tcp://10.0.0.1:7100=" + pub[0], "tcp://10.0.0.1=" + pub[1], pub[2]} {
		k, err := parseServerKey(s)
		if err != nil {
			t.Fatal(err)
		}
		l.servers = append(l.servers, k)
	}
	for endpoint, want := range map[string]string{
		"tcp://10.0.0.1:7100": pub[0], "tcp://eth1;10.0.0.1:7100": pub[0], "tcp://10.0.0.1:7101": pub[1], "tcp://10.0.0.10:7100": pub[2], "ipc:///tmp/x": pub[2],
	} {
		if got, err := l.serverKey(endpoint); err != nil || got != want {
			t.Errorf("%s: %s, %v", endpoint, got, err)
		}
	}
	l.servers = l.servers[:2]
	if _, err := l.serverKey("ipc:///tmp/x"); err == nil {
		t.Error("a key for nobody knows whom")
	}
	for _, bad := range []string{"", "x", "tcp://10.0.0.1:7100", "tcp://10.0.0.1:7100=x"} {
		if _, err := parseServerKey(bad); err == nil {
			t.Errorf("%q was taken for a key", bad)
		}
	}
}
