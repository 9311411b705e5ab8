package archtest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/tapedeck/tapedeck/"

// rule is what one room may import of ours, and why no more. A room is a package
// and all packages below it, unless they have a rule of their own.
type rule struct {
	room string
	may  []string
	why  string
}

var rules = []rule{
	{"wire", nil, "the byte layout is a leaf: everybody reads it, it reads nobody"},
	{"wire/lineage", []string{"wire"}, "how epochs lie beside one another is reckoned from what hellos say, and from nothing else"},
	{"tape", []string{"wire", "internal/fsys", "internal/latency"}, "a file format knows no sockets and no processes"},
	{"tape/columns", []string{"wire"}, "a transform of bytes: it knows the record layout, and no files"},
	{"tape/timeorder", []string{"wire", "tape"}, "a rule about times: it opens no tape and reads no record by itself"},
	{"shard", []string{"wire"}, "the map is pure: the same answer on every machine"},
	{"feed", []string{"wire"}, "a source turns vendor bytes into records and knows nothing of where they go"},
	{"feed/formats", []string{"feed"}, "the table of formats knows the formats and nothing else"},
	{"keys", []string{"internal/fsys"}, "who may do what is decided from keys, addresses and names: who asks is another's business"},
	{"snail", []string{"wire"}, "who is slow is decided from numbers alone: no clock, no socket, no goroutine"},
	{"feed/publisher", []string{"wire", "shard", "snail", "internal/zsock", "internal/latency"}, "publishing is order, sequence and send time; where records come from is another's"},
	{"feed/publisher/faults", []string{"wire"}, "what a bad network does to which message is decided from numbers alone: no clock, no socket"},
	{"subscriber", []string{"wire", "wire/lineage", "shard", "internal/zsock", "internal/prefix"}, "recorder, lvc, resync and snail attach through Handler"},
	{"resync", []string{"wire", "wire/lineage", "internal/zsock", "internal/latency", "control/pirate", "control/freelance"}, "it heals a stream through Handler and asks servers; what is read, cmd hands over as Refills"},
	{"control", []string{"control/majordomo", "control/pirate", "internal/zsock"}, "the words of the bus, and who says them: what the commands do, cmd hands over as functions"},
	{"control/pirate", []string{"internal/zsock"}, "requests and replies are bytes to it: what they mean is their handlers' business"},
	{"control/majordomo", []string{"internal/zsock", "control/pirate"}, "a broker knows names of services, not what they do"},
	{"control/titanic", []string{"control/majordomo", "control/pirate", "internal/zsock", "internal/fsys"}, "a job is bytes for a service by name: titanic keeps it and asks, what it means the service knows"},
	{"control/freelance", []string{"internal/zsock"}, "it chooses who is asked: what is asked are bytes to it"},
	{"control/binarystar", []string{"internal/zsock", "internal/fsys"}, "which of two serves is decided from their words and the time: what they serve is their owner's business"},
	{"resync/chp", []string{"internal/zsock"}, "a public protocol over a table of bytes: it knows no records, and whose table it shows it is told"},
	{"lvc", []string{"wire", "snail", "shard", "internal/zsock", "internal/zmtp", "internal/latency"}, "it takes batches from whoever receives them, and is asked for snapshots by whoever serves them"},
	{"recorder", []string{"wire", "tape", "shard"}, "the recorder takes batches from whoever hands them over"},
	{"replay", []string{"wire", "wire/lineage", "tape", "shard", "internal/prefix", "internal/latency"}, "the deck hands batches to a publisher it knows by interface"},
	{"replay/merge", []string{"wire", "tape", "replay"}, "several tapes as one source: what is played of it is the player's business"},
	{"splice", []string{"wire", "tape", "shard", "internal/prefix"}, "tapes from tapes: it reads and writes them as everybody does"},
	{"export", []string{"wire", "feed"}, "a file of the outside knows records, not where they are kept"},
	{"metrics", []string{"wire", "tape", "feed/publisher", "snail", "subscriber", "replay", "lvc", "resync", "control", "keys", "internal/latency"}, "it asks every room for its numbers, and no room knows that it does"},
	{"internal", nil, "mechanisms serve the rooms and know none of them"},
	{"internal/sim", []string{"wire", "subscriber", "resync", "snail", "lvc", "control", "internal/fsys", "internal/zsock", "internal/zmtp"}, "a made-up world around the code that decides: nothing but its command and its tests runs it"},
	{"internal/zsock", nil, "the one package that imports ZeroMQ imports nothing of ours"},
	{"internal/archtest", nil, "the rules import nothing"},
	{"bench", []string{"wire", "tape", "shard", "feed", "subscriber", "recorder", "replay", "snail", "lvc", "resync", "control", "internal/zsock"}, "benchmarks measure everything, and nothing but cmd runs them"},
	{"chaos", nil, "what is done to tapedeck is done from the outside: what a peer, a host or a disk could not do, it cannot"},
	{"examples", []string{"wire", "subscriber", "resync"}, "an example shows what a program of the outside can do, so it uses what that could"},
	{"cmd", []string{"*"}, "commands wire everything together"},
}

// third is a third-party module that few places alone may import.
var third = []struct {
	path  string
	rooms []string
	why   string
}{
	{"github.com/pebbe/zmq4", []string{"internal/zsock", "examples"}, "sockets have one owner, so their traps are handled in one place"},
	{"github.com/spf13/cobra", []string{"cmd"}, "flags are the commands' business"},
	{"github.com/prometheus/client_golang", []string{"metrics"}, "rooms count for themselves, one place shows it"},
	{"github.com/vbauerster/mpb/v8", []string{"cmd"}, "libraries report numbers, commands draw them"},
	{"github.com/BurntSushi/toml", []string{"shard/placement", "keys", "cmd"}, "files that people write: one package reads each"},
	{"github.com/gopacket/gopacket", []string{"feed", "export"}, "captures are a file format of the outside"},
	{"github.com/parquet-go/parquet-go", []string{"feed", "export"}, "Parquet is a file format of the outside"},
}

type pkg struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.Bytes())
	}
	var pkgs []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			return pkgs
		}
		if err != nil {
			t.Fatal(err)
		}
		pkgs = append(pkgs, p)
	}
}

// ruleOf returns the rule of the innermost room that holds the package.
func ruleOf(path string) *rule {
	var best *rule
	for i := range rules {
		if within(path, rules[i].room) && (best == nil || len(rules[i].room) > len(best.room)) {
			best = &rules[i]
		}
	}
	return best
}

func within(path, room string) bool { return path == room || strings.HasPrefix(path, room+"/") }

// allowed reports whether a package under r may import path.
func (r *rule) allowed(path string) bool {
	if within(path, r.room) && !strings.HasPrefix(path, r.room+"/internal") {
		return true
	}
	return slices.ContainsFunc(r.may, func(m string) bool { return m == "*" || within(path, m) })
}

// testsAlone may be imported by tests, and by nothing else.
var testsAlone = []string{"internal/testdata", "internal/zsock/zsocktest"}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module)
		r := ruleOf(path)
		if r == nil {
			t.Errorf("%s is in no room: give it a rule here and a line in docs/ARCHITECTURE.md", path)
			continue
		}
		for _, imp := range p.Imports {
			if ours, ok := strings.CutPrefix(imp, module); ok {
				if slices.Contains(testsAlone, ours) || !r.allowed(ours) {
					t.Errorf("%s imports %s: %s", path, ours, r.why)
				}
				continue
			}
			for _, x := range third {
				here := slices.ContainsFunc(x.rooms, func(room string) bool { return within(path, room) })
				if within(imp, x.path) && !here {
					t.Errorf("%s imports %s, which is for %s alone: %s", path, x.path, strings.Join(x.rooms, " and "), x.why)
				}
			}
		}
	}
}

func TestEveryRuleIsNeeded(t *testing.T) {
	pkgs := packages(t)
	for _, r := range rules {
		if !slices.ContainsFunc(pkgs, func(p pkg) bool { return within(strings.TrimPrefix(p.ImportPath, module), r.room) }) {
			t.Errorf("the rule for %s governs no package: remove it", r.room)
		}
	}
}
