package keys

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestZ85 holds the code against the example of RFC 32.
func TestZ85(t *testing.T) {
	example := []byte{0x86, 0x4F, 0xD2, 0x6F, 0xB5, 0x59, 0xF7, 0x5B}
	if got := encodeZ85(example); got != "HelloWorld" {
		t.Errorf("%q", got)
	}
	back := make([]byte, 8)
	if err := decodeZ85(back, "HelloWorld"); err != nil || !bytes.Equal(back, example) {
		t.Errorf("%x, %v", back, err)
	}
	for _, bad := range []string{"", "HelloWorl", "HelloWorld!", "Hello~orld", "#####World"} {
		if err := decodeZ85(back, bad); !errors.Is(err, ErrKey) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestPairIsWrittenAndRead(t *testing.T) {
	dir := t.TempDir()
	p, err := NewPair("desk-7")
	if err != nil {
		t.Fatal(err)
	}
	file, public, err := p.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ReadPair(file)
	if err != nil || got != p {
		t.Errorf("%v, %v", got, err)
	}
	for _, s := range []string{file, public, p.Public.String()} {
		k, name, err := ReadPublic(s)
		if err != nil || k != p.Public || name != "desk-7" && s != p.Public.String() {
			t.Errorf("%s: %v %q, %v", s, k, name, err)
		}
	}
	if _, err := ReadPair(public); err == nil {
		t.Error("the public half was taken for the pair")
	}
	if _, _, err := p.Write(dir); !errors.Is(err, os.ErrExist) {
		t.Errorf("a pair was overwritten: %v", err)
	}
	if b, err := os.ReadFile(public); err != nil || bytes.Contains(b, []byte(p.Secret.Z85())) {
		t.Errorf("the public half has the secret, or %v", err)
	}
	if err := os.Chmod(file, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadPair(file); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a pair that others can read was taken: %v", err)
	}
}

// TestFileAsLongAsAKey: a file whose path has 40 characters, all of them letters of keys,
// is a file.
func TestFileAsLongAsAKey(t *testing.T) {
	t.Chdir(t.TempDir())
	p, err := NewPair(strings.Repeat("a", 36))
	if err != nil {
		t.Fatal(err)
	}
	_, public, err := p.Write("")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseKey(public); err != nil {
		t.Fatalf("%s is no key: %v", public, err)
	}
	if k, name, err := ReadPublic(public); err != nil || k != p.Public || name != p.Name {
		t.Errorf("%v %q, %v", k, name, err)
	}
}

func TestSecretIsNotPrinted(t *testing.T) {
	p, err := NewPair("a")
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, p); strings.Contains(s, p.Secret.Z85()) || !strings.Contains(s, "(secret)") {
			t.Errorf("%s prints %s", verb, s)
		}
	}
}

func TestBadPairs(t *testing.T) {
	p, err := NewPair("a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := NewPair("b")
	if err != nil {
		t.Fatal(err)
	}
	secret := p.Secret.Z85()
	for name, text := range map[string]string{
		"no TOML":      "secret = " + secret,
		"no secret":    fmt.Sprintf("name = \"a\"\npublic = %q\n", p.Public.String()),
		"bad secret":   fmt.Sprintf("name = \"a\"\npublic = %q\nsecret = \"%s~\"\n", p.Public.String(), secret[:39]),
		"not its own":  fmt.Sprintf("name = \"a\"\npublic = %q\nsecret = %q\n", other.Public.String(), secret),
		"unknown word": fmt.Sprintf("name = \"a\"\npublic = %q\nsecret = %q\nx = 1\n", p.Public.String(), secret),
		"bad name":     fmt.Sprintf("name = \"../a\"\npublic = %q\nsecret = %q\n", p.Public.String(), secret),
	} {
		file := filepath.Join(t.TempDir(), "a.key")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := ReadPair(file)
		if err == nil || !strings.Contains(err.Error(), file) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && strings.Contains(err.Error(), secret[:39]) {
			t.Errorf("%s: the error tells the secret", name)
		}
	}
}

const listText = `
deny = ["10.9.0.0/16", "192.0.2.7"]
[[peer]]
name = "desk"
key = "%[1]s"
roles = ["read"]
topics = ["GLBX.MDP3.ES", "XNAS."]
from = ["10.0.0.0/8", "127.0.0.1"]
expires = 2030-01-01T00:00:00Z
[[peer]]
name = "boss"
key = "%[2]s"
roles = ["admin"]
[[peer]]
name = "gone"
key = "%[3]s"
roles = ["read"]
[[revoked]]
name = "gone"
key = "%[3]s"
time = 2026-01-01T00:00:00Z
why = "left"
`

func threePairs(t *testing.T) (ps [4]Pair) {
	for i := range ps {
		p, err := NewPair(fmt.Sprint("p", i))
		if err != nil {
			t.Fatal(err)
		}
		ps[i] = p
	}
	return ps
}

func TestCheck(t *testing.T) {
	ps := threePairs(t)
	l, err := ParseList(fmt.Sprintf(listText, ps[0].Public, ps[1].Public, ps[2].Public))
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)
	local, lan, outside := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("10.1.2.3"), netip.MustParseAddr("203.0.113.9")
	for _, tc := range []struct {
		key  Key
		from netip.Addr
		at   time.Time
		want Refusal
	}{
		{ps[0].Public, local, now, ""},
		{ps[0].Public, lan, now, ""},
		{ps[0].Public, netip.MustParseAddr("::ffff:10.1.2.3"), now, ""},
		{ps[0].Public, outside, now, RefusedFrom},
		{ps[0].Public, netip.Addr{}, now, RefusedFrom},
		{ps[0].Public, lan, now.AddDate(1, 0, 0), RefusedExpired},
		{ps[1].Public, outside, now, ""},
		{ps[1].Public, netip.Addr{}, now, ""},
		{ps[1].Public, netip.MustParseAddr("10.9.1.1"), now, RefusedAddress},
		{ps[1].Public, netip.MustParseAddr("192.0.2.7"), now, RefusedAddress},
		{ps[2].Public, local, now, RefusedRevoked},
		{ps[3].Public, local, now, RefusedUnknown},
		{Key{}, local, now, RefusedNoKey},
	} {
		p, got := l.Check(tc.key, tc.from, tc.at)
		if got != tc.want || (p == nil) != (got != "") {
			t.Errorf("%s from %v: %v, refused %q, want %q", tc.key.Short(), tc.from, p, got, tc.want)
		}
	}
	if ps := l.Peers(); len(ps) != 2 || ps[0].Name != "desk" || ps[1].Name != "boss" {
		t.Errorf("peers %v", ps)
	}
	if rs := l.Revoked(); len(rs) != 1 || rs[0].Why != "left" {
		t.Errorf("revoked %v", rs)
	}
}

func TestRights(t *testing.T) {
	topics := [][]byte{[]byte("GLBX.MDP3.ES"), []byte("XNAS.")}
	for _, tc := range []struct {
		p      Peer
		prefix string
		want   bool
	}{
		{Peer{Roles: []Role{Read}}, "", true},
		{Peer{Roles: []Role{Read}, Topics: topics}, "", false},
		{Peer{Roles: []Role{Read}, Topics: topics}, "GLBX.MDP3.E", false},
		{Peer{Roles: []Role{Read}, Topics: topics}, "GLBX.MDP3.ES", true},
		{Peer{Roles: []Role{Read}, Topics: topics}, "GLBX.MDP3.ESH4", true},
		{Peer{Roles: []Role{Control}, Topics: topics}, "XNAS.AAPL", true},
		{Peer{Roles: []Role{Record}, Topics: topics}, "", true},
		{Peer{Roles: []Role{Admin}}, "", true},
		{Peer{}, "XNAS.AAPL", false},
	} {
		if got := tc.p.MayRead([]byte(tc.prefix)); got != tc.want {
			t.Errorf("%v may read %q: %v", tc.p.Roles, tc.prefix, got)
		}
	}
	if p := (&Peer{Roles: []Role{Control}}); p.May(Read) || !p.May(Read, Control) || p.May(Admin) {
		t.Error("roles of control")
	}
	if p := (&Peer{Roles: []Role{Admin}}); !p.May(Record) {
		t.Error("an admin may not record")
	}
}

func TestBadLists(t *testing.T) {
	ps := threePairs(t)
	peer := func(name string, k Key, more string) string {
		return fmt.Sprintf("[[peer]]\nname = %q\nkey = %q\n%s\n", name, k.String(), more)
	}
	const read = `roles = ["read"]`
	for name, tc := range map[string]struct{ text, want string }{
		"no TOML":       {"peer", "line 1"},
		"unknown word":  {"[[peers]]", "peers"},
		"unknown key":   {peer("a", ps[0].Public, read+"\ntopic = [\"x\"]"), "topic"},
		"bad key":       {"[[peer]]\nname = \"a\"\nkey = \"x\"\n" + read, "peer 1 (\"a\")"},
		"no role":       {peer("a", ps[0].Public, ""), "no role"},
		"bad role":      {peer("a", ps[0].Public, `roles = ["reader"]`), "reader"},
		"empty topic":   {peer("a", ps[0].Public, read+"\ntopics = [\"\"]"), "means all"},
		"bad network":   {peer("a", ps[0].Public, read+"\nfrom = [\"10.0.0.0/40\"]"), "10.0.0.0/40"},
		"bad denial":    {`deny = ["here"]`, "here"},
		"name twice":    {peer("a", ps[0].Public, read) + peer("a", ps[1].Public, read), "peer 2"},
		"key twice":     {peer("a", ps[0].Public, read) + peer("b", ps[0].Public, read), `"a"`},
		"revoked noone": {"[[revoked]]\nkey = \"x\"", "revoked 1"},
	} {
		if _, err := ParseList(tc.text); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q in it", name, err, tc.want)
		}
	}
}

func TestAllowAndRevoke(t *testing.T) {
	ps := threePairs(t)
	file := filepath.Join(t.TempDir(), "authorized.toml")
	desk := Peer{
		Name: "desk", Key: ps[0].Public, Roles: []Role{Read, Control}, Topics: [][]byte{[]byte("GLBX.\"q\"")},
		From: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, Expires: time.Date(2031, 2, 3, 4, 5, 6, 0, time.UTC),
	}
	if err := Allow(file, desk); err != nil {
		t.Fatal(err)
	}
	if err := Allow(file, Peer{Name: "boss", Key: ps[1].Public, Roles: []Role{Admin}}); err != nil {
		t.Fatal(err)
	}
	l, err := ReadList(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(desk, l.Peers()[0], cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
	before, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Peer{
		{Name: "desk", Key: ps[2].Public, Roles: []Role{Read}}, {Name: "other", Key: ps[0].Public, Roles: []Role{Read}},
		{Name: "x y", Key: ps[2].Public, Roles: []Role{Read}}, {Name: "x", Key: ps[2].Public},
	} {
		if err := Allow(file, p); err == nil {
			t.Errorf("%+v was allowed", p)
		}
	}
	if after, err := os.ReadFile(file); err != nil || !bytes.Equal(before, after) {
		t.Errorf("a refusal changed the file, or %v", err)
	}
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	if _, err := Revoke(file, "nobody", "", now); err == nil {
		t.Error("nobody was revoked")
	}
	if p, err := Revoke(file, "desk", "left", now); err != nil || p.Key != ps[0].Public {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := Revoke(file, ps[1].Public.String(), "", now); err != nil || p.Name != "boss" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := Revoke(file, "desk", "", now); err == nil {
		t.Error("revoked twice")
	}
	if err := Allow(file, Peer{Name: "desk2", Key: ps[0].Public, Roles: []Role{Read}}); err == nil || !strings.Contains(err.Error(), "revoked") {
		t.Errorf("a revoked key was allowed again: %v", err)
	}
	if l, err = ReadList(file); err != nil || len(l.Peers()) != 0 || !l.Revoked()[0].Time.Equal(now) {
		t.Errorf("%+v, %v", l, err)
	}
}

func FuzzParseList(f *testing.F) {
	f.Add(fmt.Sprintf(listText, Key{}, Key{1}, Key{2}))
	f.Fuzz(func(t *testing.T, text string) {
		l, err := ParseList(text)
		if err != nil {
			return
		}
		for _, p := range l.Peers() {
			if q, refused := l.Check(p.Key, netip.Addr{}, time.Time{}); refused == "" && q.Name != p.Name {
				t.Errorf("%q is %q", p.Name, q.Name)
			}
		}
	})
}
