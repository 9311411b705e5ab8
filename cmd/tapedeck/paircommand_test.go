package main

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/tapedeck/tapedeck/control"
)

// TestPairJudge: what pair status finds wrong with what two servers say.
func TestPairJudge(t *testing.T) {
	member := func(role, state string, silent bool) pairMemberState {
		return pairMemberState{Endpoint: role, PairState: &control.PairState{Part: "lvc", PairLink: control.PairLink{Role: role, State: state, Silent: silent}}}
	}
	gone := pairMemberState{Endpoint: "gone", Error: "no answer"}
	other := member("backup", "passive", false)
	other.Part = "deck"
	for _, c := range []struct {
		name    string
		members []pairMemberState
		want    []string
	}{
		{"as it should be", []pairMemberState{member("primary", "active", false), member("backup", "passive", false)}, nil},
		{"the backup has taken over", []pairMemberState{member("primary", "passive", false), member("backup", "active", false)}, nil},
		{"one alone was asked", []pairMemberState{member("backup", "passive", false)}, nil},
		{"one is gone", []pairMemberState{gone, member("backup", "active", true)}, []string{"gone does not answer", "backup does not hear the other one"}},
		{"both are gone", []pairMemberState{gone, gone}, []string{"gone does not answer", "gone does not answer"}},
		{"both serve", []pairMemberState{member("primary", "active", false), member("backup", "active", false)}, []string{"both are active"}},
		{"none serves", []pairMemberState{member("primary", "waiting", false), member("backup", "waiting", true)}, []string{"backup does not hear the other one", "none is active"}},
		{"two of one kind", []pairMemberState{member("backup", "active", false), member("backup", "passive", false)}, []string{"both are the backup"}},
		{"two pairs", []pairMemberState{member("primary", "active", false), other}, []string{"one serves lvc, the other deck"}},
	} {
		r := pairReport{Members: c.members}
		r.judge()
		if !slices.Equal(r.Wrong, c.want) {
			t.Errorf("%s: %q, want %q", c.name, r.Wrong, c.want)
		}
		if r.text() == "" {
			t.Errorf("%s: nothing is said", c.name)
		}
	}
}

// startPairedLVC starts one of a pair of proxies that follow nobody.
func startPairedLVC(t *testing.T, dir, role string, more ...string) (p *process, bus string) {
	t.Helper()
	at := func(kind, role string) string { return "ipc://" + filepath.Join(dir, kind+role) }
	other := map[string]string{"primary": "backup", "backup": "primary"}[role]
	p = start(t, append([]string{"lvc", "--json", "--shards", at("shard", ""), "--plain", at("plain", role), "--pair", role, "--pair-bind", at("link", role),
		"--pair-peer", at("link", other), "--pair-bus", at("bus", role), "--heartbeat", "2s"}, more...)...)
	return p, at("bus", role)
}

// pairStates asks both of a pair, until one is active and the other passive and both
// hear each other.
func pairStates(t *testing.T, flags []string, buses ...string) pairReport {
	t.Helper()
	for {
		out, _ := start(t, slices.Concat([]string{"pair", "status", "--json"}, flags, buses)...).end()
		var r pairReport
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if len(r.Wrong) == 0 && (r.Members[0].State == "passive" || r.Members[1].State == "passive") {
			return r
		}
	}
}

// TestPairCommand: a pair is asked how it stands, work is moved to the backup, and the
// primary is killed.
func TestPairCommand(t *testing.T) {
	dir := t.TempDir()
	_, one := startPairedLVC(t, dir, "primary")
	_, two := startPairedLVC(t, dir, "backup")
	if r := pairStates(t, nil, one, two); r.Members[0].State != "active" || r.Members[0].Epoch%2 != 0 || r.Members[1].Part != "lvc" {
		t.Fatalf("%+v %+v", r.Members[0].PairState, r.Members[1].PairState)
	}
	refused := start(t, "pair", "promote", two)
	if _, code := refused.end(); code != exitFailed || !strings.Contains(refused.stderr.String(), "the other one is active and heard") {
		t.Fatalf("code %d: %s", code, refused.stderr)
	}
	tapedeck(t, "pair", "promote", "--force", two)
	r := pairStates(t, nil, one, two)
	if r.Members[1].State != "active" || r.Members[0].Yields != 1 || r.Members[1].Epoch%2 != 1 {
		t.Fatalf("%+v %+v", r.Members[0].PairState, r.Members[1].PairState)
	}
	if err := syscall.Kill(r.Members[0].PID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	lonely := start(t, "pair", "status", "--timeout", "300ms", one, two)
	if out, code := lonely.end(); code != exitFailed || !strings.Contains(out, one+"  no answer") || !strings.Contains(lonely.stderr.String(), one+" does not answer") {
		t.Fatalf("code %d: %s %s", code, out, lonely.stderr)
	}
}

// TestPairKeys: with keys, the two of a pair hear each other only where each has the
// role admin on the other's list; whoever commands needs the role control.
func TestPairKeys(t *testing.T) {
	ring := newKeyring(t)
	dir := t.TempDir()
	tapedeck(t, "keys", "allow", ring.file("deck.pub"), "--file", ring.list, "--roles", "admin")
	ring.allow("boss", "--roles", "control")
	ring.allow("looker", "--roles", "read")
	own := append(ring.serves(), "--server-key", ring.file("deck.pub"))
	p, one := startPairedLVC(t, dir, "primary", own...)
	_, two := startPairedLVC(t, dir, "backup", own...)
	pairStates(t, ring.as("boss"), one, two)
	denied := start(t, append([]string{"pair", "promote", "--force", two}, ring.as("looker")...)...)
	if _, code := denied.end(); code != exitFailed || !strings.Contains(denied.stderr.String(), "no right") {
		t.Fatalf("code %d: %s", code, denied.stderr)
	}
	tapedeck(t, append([]string{"pair", "promote", "--force", two}, ring.as("boss")...)...)
	if r := pairStates(t, ring.as("boss"), one, two); r.Members[1].State != "active" {
		t.Fatalf("%+v", r.Members[1].PairState)
	}

	ring.make("stranger")
	stranger := start(t, append([]string{"lvc", "--json", "--shards", "ipc://" + filepath.Join(dir, "shard"), "--plain", "ipc://" + filepath.Join(dir, "plainx"),
		"--pair", "backup", "--pair-bind", "ipc://" + filepath.Join(dir, "linkx"), "--pair-peer", "ipc://" + filepath.Join(dir, "linkprimary"), "--heartbeat", "100ms"},
		ring.as("stranger")...)...)
	p.awaits("on pair: unknown key")
	stranger.awaits("refuses the key")
}
