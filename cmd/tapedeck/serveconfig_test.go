package main

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
)

var updateSettings = flag.Bool("update-settings", false, "write examples/serve.toml anew")

const (
	exampleSettings = "../../examples/serve.toml"
	settingsPage    = "../../docs/CONFIG.md"
)

// TestExampleHasEverySetting: the example is what --settings prints, and read back it
// is the defaults.
func TestExampleHasEverySetting(t *testing.T) {
	want := newServeConfig().writeSettings()
	if *updateSettings {
		if err := os.WriteFile(exampleSettings, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(exampleSettings)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what tapedeck serve --settings prints: go test ./cmd/tapedeck -run Example -update-settings", exampleSettings)
	}
	c := newServeConfig()
	if err := c.load(exampleSettings); err != nil {
		t.Fatal(err)
	}
	if again := c.writeSettings(); again != want {
		t.Errorf("the example read back is\n%s", again)
	}
	if err := c.check(); err != nil {
		t.Errorf("the defaults are refused: %v", err)
	}
}

// TestExamplePair: the two examples of a pair are accepted, and fit each other.
func TestExamplePair(t *testing.T) {
	var halves [2]*serveConfig
	for i, role := range []string{"primary", "backup"} {
		halves[i] = newServeConfig()
		if err := halves[i].load("../../examples/serve-pair/" + role + ".toml"); err != nil {
			t.Fatal(err)
		}
		if err := halves[i].check(); err != nil {
			t.Errorf("%s: %v", role, err)
		}
		if d, b := &halves[i].decks.pair, &halves[i].broker; d.role != role || b.pair != role {
			t.Errorf("%s: the decks are the %s, the broker is the %s", role, d.role, b.pair)
		}
	}
	for i, one := range halves {
		other := halves[1-i]
		d, o := &one.decks.pair, &other.decks.pair
		if d.bind != o.peer || d.bus == o.bus || one.broker.pairBind != other.broker.pairPeer || one.busEndpoints()[0] != other.busEndpoints()[1] ||
			one.decks.ports == other.decks.ports || one.state.bind == other.state.bind {
			t.Errorf("half %d does not fit the other one", i)
		}
	}
}

// TestPageHasEverySetting holds docs/CONFIG.md against the settings, both ways.
func TestPageHasEverySetting(t *testing.T) {
	b, err := os.ReadFile(settingsPage)
	if err != nil {
		t.Fatal(err)
	}
	page, of := map[string]string{}, false
	for line := range strings.SplitSeq(string(b), "\n") {
		cells := strings.Split(line, " | ")
		if strings.HasPrefix(line, "#") {
			of = false
		}
		of = of || strings.HasPrefix(line, "| setting |")
		if of && len(cells) == 3 && strings.HasPrefix(cells[0], "| `") {
			page[strings.Trim(cells[0], "| `")] = strings.Trim(strings.TrimSuffix(cells[1], " "), "`")
		}
	}
	for _, s := range newServeConfig().settings() {
		def, ok := page[s.key]
		switch {
		case !ok:
			t.Errorf("docs/CONFIG.md lacks %s", s.key)
		case s.key != "parts" && def != s.text():
			t.Errorf("docs/CONFIG.md says of %s that its default is %s; it is %s", s.key, def, s.text())
		}
		delete(page, s.key)
	}
	for key := range page {
		t.Errorf("docs/CONFIG.md has %s, which is no setting", key)
	}
}

// TestConfigErrors: what cannot be is refused, with where it stands and what to try.
func TestConfigErrors(t *testing.T) {
	for _, x := range []struct{ name, text, want, hint string }{
		{"misspelt", "\n\nbuss = 'x'\n", "serve.toml, line 3: there is no setting buss", "did you mean bus?"},
		{"misspelt in a table", "[decks]\nmaxx = 3\n", "serve.toml, line 2: there is no setting decks.maxx", "did you mean decks.max?"},
		{"other table", "[deckz]\nmax = 3\n", "serve.toml, line 2: there is no setting deckz.max", "did you mean decks.max?"},
		{"nothing like it", "colour = 'blue'\n", "there is no setting colour", "tapedeck serve --settings"},
		{"type", "tapes = 3\n", "line 1: tapes: want a text, not 3", "directory of the tapes"},
		{"number", "decks.max = 'many'\n", `line 1: decks.max: want a number, not "many"`, "decks that can be open at once"},
		{"too many", "[decks]\nmax = 65\n", "line 2: decks.max: 65, want at most 64", "decks"},
		{"too few", "[decks]\nmax = 0\n", "decks.max: 0, want at least 1", ""},
		{"duration", "[broker]\nlife = 3\n", `broker.life: want a duration such as "250ms"`, ""},
		{"short", "[jobs]\nexpire = '1ms'\n", "jobs.expire: 1ms, want at least 1s", ""},
		{"size", "[broker]\nbytes = 'lots'\n", `broker.bytes: "lots" is no size`, ""},
		{"list", "parts = [1]\n", "parts: want a list of texts", ""},
		{"syntax", "a = 1\nb = = 2\n", "serve.toml: line 2", ""},
		{"twice", "bus = 'a'\nbus = 'b'\n", "serve.toml: line 2", ""},
		{"table", "deck = 3\n", "line 1: deck is no table", "[[deck]] begins one"},
		{"part", "parts = ['broker', 'deks']\n", `there is no part "deks"`, "did you mean decks?"},
		{"no part", "parts = []\n", "want at least one of", ""},
		{"ports", "[decks]\nports = '7199-7100'\n", `decks.ports: "7199-7100"`, ""},
		{"ttl", "[state]\nreader_ttl = '1500ms'\n", "want whole seconds", ""},
		{"ttl and pace", "[state]\nreader_ttl = '1s'\nreaders = '1s'\n", "want more than state.readers", ""},
		{"listen", "bus = 'tcp://*:7400'\n", "bus: tcp://*:7400 can be reached from beyond this machine", "--listen"},
		{"listen http", "[metrics]\nbind = '0.0.0.0:7480'\n", "metrics.bind", "--listen"},
		{"listen decks", "[decks]\naddress = '10.0.0.2'\n", "decks.address", "--listen"},
		{"pair of nothing", "[lvc]\npair_bind = 'tcp://127.0.0.1:1'\n", "lvc.pair says which", ""},
		{"pair's role", "[lvc]\nshards = 'x'\npair = 'both'\n", `lvc.pair "both"`, ""},
		{"pair alone", "[lvc]\nshards = 'x'\npair = 'backup'\n", "lvc.pair needs", ""},
		{"pair of no stream", "[lvc]\npair = 'backup'\npair_bind = 'tcp://127.0.0.1:1'\npair_peer = 'tcp://127.0.0.1:2'\n", "lvc.shards says which stream", ""},
		{"pair's memory", "[lvc]\nshards = 'x'\npair = 'backup'\npair_bind = 'tcp://127.0.0.1:1'\npair_peer = 'tcp://127.0.0.1:2'\npair_keep = '900ms'\n", "a takeover takes", ""},
		{"pair in the open", "[lvc]\npair_bind = 'tcp://*:1'\npair = 'backup'\npair_peer = 'tcp://127.0.0.1:2'\nshards = 'x'\n", "lvc.pair_bind: tcp://*:1 can be reached", "--listen"},
		{"decks of no pair", "[decks]\npair_bind = 'tcp://127.0.0.1:1'\n", "decks.pair says which", ""},
		{"decks to follow", "[decks]\npair_follow = '10.0.0.2'\n", "decks.pair says which", ""},
		{"decks' role", "[decks]\npair = 'both'\n", `decks.pair "both"`, ""},
		{"decks alone", "[decks]\npair = 'backup'\n", "decks.pair needs", ""},
		{"pair of no decks", "parts = ['broker']\n[decks]\npair = 'backup'\npair_bind = 'tcp://127.0.0.1:1'\npair_peer = 'tcp://127.0.0.1:2'\n", "there are no decks among the parts", ""},
		{"decks in the open", "[decks]\npair = 'backup'\npair_bind = 'tcp://*:1'\npair_peer = 'tcp://127.0.0.1:2'\n", "decks.pair_bind: tcp://*:1 can be reached", "--listen"},
		{"decks asked in the open", "[decks]\npair = 'backup'\npair_bus = 'tcp://*:1'\npair_bind = 'tcp://127.0.0.1:1'\npair_peer = 'tcp://127.0.0.1:2'\n", "decks.pair_bus: tcp://*:1 can be reached", "--listen"},
		{"brokers of no pair", "[broker]\npair_bind = 'tcp://127.0.0.1:1'\n", "broker.pair says which", ""},
		{"broker's role", "[broker]\npair = 'both'\n", `broker.pair "both"`, ""},
		{"broker alone", "[broker]\npair = 'backup'\n", "broker.pair needs", ""},
		{"pair of no broker", "parts = ['decks']\n[broker]\npair = 'backup'\npair_bind = 'tcp://127.0.0.1:1'\npair_peer = 'tcp://127.0.0.1:2'\n", "there is no broker among the parts", ""},
		{"brokers in the open", "[broker]\npair = 'backup'\npair_bind = 'tcp://*:1'\npair_peer = 'tcp://127.0.0.1:2'\n", "broker.pair_bind: tcp://*:1 can be reached", "--listen"},
		{"locked", "[jobs]\nlocked = 'steal'\n", `jobs.locked "steal"`, ""},
		{"multicast", "[lvc]\nplain = ['epgm://eth0;239.192.1.1:5555']\n", "lvc.plain: epgm://eth0;239.192.1.1:5555 reaches beyond", ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c := newServeConfig()
			err := c.parse("serve.toml", x.text)
			if err == nil {
				err = c.check()
			}
			var usage usageError
			var hint hintError
			if err == nil || !strings.Contains(err.Error(), x.want) || !errors.As(err, &usage) {
				t.Fatalf("%v, want %q as a usage error", err, x.want)
			}
			if x.hint != "" && (!errors.As(err, &hint) || !strings.Contains(hint.hint, x.hint)) {
				t.Errorf("the hint is %q, want %q", hint.hint, x.hint)
			}
		})
	}
}

// TestListenIsAsked: other addresses than the machine's own only with the operator's
// word; the broker of another process may be anywhere.
func TestListenIsAsked(t *testing.T) {
	for _, text := range []string{
		"listen = ['*']\nbus = 'tcp://*:7400'",
		"listen = ['eth1', '10.0.0.2']\nbus = 'tcp://eth1:7400'\nstate.bind = 'tcp://10.0.0.2:7410'",
		"bus = 'tcp://[::1]:7400'\nstate.bind = 'tcp://localhost:7410'\nmetrics.bind = '127.0.0.1:0'",
		"bus = 'ipc:///tmp/bus'",
		"parts = ['decks']\nbus = 'tcp://other:7400'",
		"metrics.bind = ''",
	} {
		c := newServeConfig()
		if err := errors.Join(c.parse("serve.toml", text), c.check()); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	c := newServeConfig()
	c.listen = []string{"eth1"}
	if err := c.mayListen("tcp://eth2:1"); err == nil {
		t.Error("eth1 was allowed, and eth2 is taken, too")
	}
}

// TestBindsOfCommands: a command cannot have a file removed, which is what libzmq
// does with the path of an ipc endpoint.
func TestBindsOfCommands(t *testing.T) {
	c, file := newServeConfig(), filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.mayBind("ipc://" + file); err == nil {
		t.Error("a file may be bound over")
	}
	if err := c.mayBind("ipc://" + file + "2"); err != nil {
		t.Error(err)
	}
	if err := c.mayBind("ipc://" + strings.TrimSuffix(file, "us") + "{shard}s"); err == nil {
		t.Error("a file may be bound over by way of a pattern")
	}
	if err := c.mayBind("tcp://*:1"); err == nil {
		t.Error("a command may listen on every address")
	}
}

// TestFlagsOverrideFile: flags go before the file, --set before them.
func TestFlagsOverrideFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "serve.toml")
	text := "bus = 'tcp://127.0.0.1:1'\ntapes = '/data'\n[decks]\nmax = 3\n[state]\nposition = '1s'\n[[deck]]\ntapes = ['a.tape']\n[[deck]]\ntapes = ['b.tape']\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := newServe()
	var c *serveConfig
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		f := serveCommandFlags{short: map[string]string{"only": "parts", "bus": "bus", "tapes": "tapes", "state": "state.bind"}}
		f.config, _ = cmd.Flags().GetString("config")
		f.set, _ = cmd.Flags().GetStringArray("set")
		c, err = f.configuration(cmd.Flags())
		return err
	}
	cmd.SetArgs([]string{"--config", file, "--bus", "tcp://127.0.0.1:2", "--only", "broker,decks", "--set", "decks.max=8", "--set", "decks.speed=10x",
		"--set", "jobs.expire = '48h'", "--set", "lvc.plain=tcp://127.0.0.1:5,tcp://127.0.0.1:6"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if c.bus != "tcp://127.0.0.1:2" || c.tapes != "/data" || c.decks.max != 8 || c.decks.speed != "10x" || c.jobs.expire != 48*time.Hour ||
		c.state.position != time.Second || strings.Join(c.parts, " ") != "broker decks" || len(c.deck) != 2 || len(c.lvc.plain) != 2 {
		t.Errorf("%+v", c)
	}
	for text, want := range map[string]string{"decks.max": "want KEY=VALUE", "deck.max=1": "there is no setting", "decks.max=lots": "want a number"} {
		if err := newServeConfig().set(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--set %s: %v", text, err)
		}
	}
}

func TestEditDistance(t *testing.T) {
	for _, x := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"a", "", 1}, {"", "ab", 2}, {"bus", "buss", 1}, {"kitten", "sitting", 3}, {"decks", "deks", 1}} {
		if got := editDistance(x.a, x.b); got != x.want {
			t.Errorf("from %q to %q: %d, want %d", x.a, x.b, got, x.want)
		}
	}
}

func TestPortPool(t *testing.T) {
	p := portPool{first: 10, last: 15, taken: map[int]bool{}}
	if a, b := p.take(0, 2), p.take(0, 3); a != 10 || b != 12 {
		t.Errorf("%d and %d", a, b)
	}
	if at := p.take(0, 2); at != 0 {
		t.Errorf("two ports were given at %d, and one is free", at)
	}
	p.give(10, 2)
	if at := p.take(11, 1); at != 11 {
		t.Errorf("%d", at)
	}
	if at := p.take(0, 2); at != 0 {
		t.Errorf("%d", at)
	}
}
