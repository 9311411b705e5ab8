package keys

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// doorTest is a door with a clock of its own.
type doorTest struct {
	*Door
	t       *testing.T
	file    string
	now     time.Time
	said    []string
	changed int
}

func newDoorTest(t *testing.T, peers ...Peer) *doorTest {
	t.Helper()
	d := &doorTest{t: t, file: filepath.Join(t.TempDir(), "authorized.toml"), now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}
	for _, p := range peers {
		if err := Allow(d.file, p); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	d.Door, err = OpenDoor(DoorConfig{
		File: d.file, Say: func(line string) { d.said = append(d.said, line) }, Changed: func() { d.changed++ },
		Now: func() time.Time { return d.now },
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// sayings returns what was said since it was asked last.
func (d *doorTest) sayings() string {
	s := strings.Join(d.said, "\n")
	d.said = nil
	return s
}

func TestMayUse(t *testing.T) {
	topics := [][]byte{[]byte("ES")}
	for _, tc := range []struct {
		p    Peer
		want map[Channel]Refusal // of others: none
	}{
		{Peer{Roles: []Role{Read}}, map[Channel]Refusal{Change: RefusedRole, Worker: RefusedRole, Link: RefusedRole}},
		{Peer{Roles: []Role{Read}, Topics: topics}, map[Channel]Refusal{
			Data: RefusedTopics, Tap: RefusedTopics, Snapshot: RefusedTopics, Refill: RefusedTopics,
			Change: RefusedRole, Worker: RefusedRole, Link: RefusedRole,
		}},
		{Peer{Roles: []Role{Record}, Topics: topics}, map[Channel]Refusal{Change: RefusedRole, Link: RefusedRole}},
		{Peer{Roles: []Role{Control}}, map[Channel]Refusal{
			Data: RefusedRole, Plain: RefusedRole, Tap: RefusedRole, Snapshot: RefusedRole, Refill: RefusedRole, Worker: RefusedRole, Link: RefusedRole,
		}},
		{Peer{Roles: []Role{Admin}, Topics: topics}, nil},
	} {
		for _, c := range Channels() {
			if got := tc.p.MayUse(c); got != tc.want[c] {
				t.Errorf("%v %q on %s: %q, want %q", tc.p.Roles, tc.p.Topics, c, got, tc.want[c])
			}
		}
	}
	if (&Peer{Roles: []Role{Read, Record, Control}}).MayUse("unheard-of") != RefusedRole || (&Peer{Roles: []Role{Admin}}).MayUse("unheard-of") != "" {
		t.Error("a channel that nobody knows is for admins alone")
	}
}

// TestDoorSaysOnce: each refusal is counted, and said once a minute with who it was, from
// where and why.
func TestDoorSaysOnce(t *testing.T) {
	ps := threePairs(t)
	d := newDoorTest(t, Peer{Name: "desk", Key: ps[0].Public, Roles: []Role{Read}}, Peer{Name: "clerk", Key: ps[1].Public, Roles: []Role{Control}})
	from := netip.MustParseAddr("10.1.2.3")
	if p, why := d.Admit(Data, ps[0].Public, from); why != "" || p.Name != "desk" || d.sayings() != "" {
		t.Fatalf("%v, %q", p, why)
	}
	for range 3 {
		if p, why := d.Admit(Data, ps[1].Public, from); why != RefusedRole || p == nil {
			t.Errorf("%v, %q", p, why)
		}
		d.now = d.now.Add(10 * time.Second)
	}
	want := fmt.Sprintf("refused clerk (key %s…) from 10.1.2.3 on data: no such right", ps[1].Public.Short())
	if got := d.sayings(); got != want {
		t.Errorf("said %q, want %q once", got, want)
	}
	d.Admit(Data, ps[1].Public, netip.MustParseAddr("10.1.2.4"))
	d.Admit(Refill, ps[1].Public, from)
	d.now = d.now.Add(time.Minute)
	d.Admit(Data, ps[1].Public, from)
	if got := strings.Count(d.sayings(), "refused clerk"); got != 3 {
		t.Errorf("another address, another channel and a minute later were said %d times", got)
	}
	d.Admit(Data, ps[2].Public, netip.Addr{})
	if got := d.sayings(); !strings.Contains(got, "refused the key "+ps[2].Public.String()+" on data: unknown key (") {
		t.Errorf("said %q", got)
	}
	d.Refused(Command, RefusedServer, Key{}, netip.Addr{})
	if got := d.sayings(); !strings.HasPrefix(got, "refused somebody on control: wrong server key (") {
		t.Errorf("said %q", got)
	}
	s := d.Stats()
	if fmt.Sprint(s.Refused) != "[{wrong server key control 1} {no such right data 5} {unknown key data 1} {no such right refill 1}]" || s.Allowed != 2 {
		t.Errorf("%+v", s)
	}
}

// TestDoorIsBounded: whoever makes up keys fills neither memory nor log, and what was
// not said is.
func TestDoorIsBounded(t *testing.T) {
	ps := threePairs(t)
	d := newDoorTest(t, Peer{Name: "desk", Key: ps[0].Public, Roles: []Role{Read}})
	for i := range 3 * toldMax {
		d.Admit(Data, Key{1, byte(i), byte(i >> 8)}, netip.Addr{})
	}
	if n := len(d.said); n != toldMax || len(d.told) != toldMax {
		t.Errorf("said %d, remembered %d", n, len(d.told))
	}
	d.sayings()
	d.now = d.now.Add(toldEvery)
	d.Admit(Data, Key{9}, netip.Addr{})
	if got := d.sayings(); !strings.Contains(got, fmt.Sprintf("; %d refusals before it were not said", 2*toldMax)) || len(d.told) != 1 {
		t.Errorf("said %q, remembered %d", got, len(d.told))
	}
	if n := d.Stats().Refused[0].Count; n != 3*toldMax+1 {
		t.Errorf("counted %d", n)
	}
}

// TestDoorReloads: a changed list is taken in, one that cannot be read, or is gone, is
// not, and that is said once.
func TestDoorReloads(t *testing.T) {
	ps := threePairs(t)
	d := newDoorTest(t, Peer{Name: "desk", Key: ps[0].Public, Roles: []Role{Read}})
	d.look()
	if d.changed != 0 || d.sayings() != "" {
		t.Error("nothing has changed")
	}
	if _, err := Revoke(d.file, "desk", "", d.now); err != nil {
		t.Fatal(err)
	}
	d.look()
	if got := d.sayings(); d.changed != 1 || !strings.Contains(got, "was read again: 0 allowed, 1 revoked") {
		t.Errorf("changed %d times, said %q", d.changed, got)
	}
	if d.Still(Data, ps[0].Public, netip.Addr{}) {
		t.Error("a revoked key still is allowed")
	}
	if err := os.WriteFile(d.file, []byte("peers"), 0o644); err != nil {
		t.Fatal(err)
	}
	d.look()
	d.look()
	if got := d.sayings(); d.changed != 1 || strings.Count(got, "the list that was read before goes on") != 1 || len(d.List().Revoked()) != 1 {
		t.Errorf("changed %d times, said %q", d.changed, got)
	}
	if err := os.Remove(d.file); err != nil {
		t.Fatal(err)
	}
	d.look()
	d.look()
	if got := d.sayings(); strings.Count(got, "the list that was read before goes on") != 1 {
		t.Errorf("said %q", got)
	}
	if err := Allow(d.file, Peer{Name: "risk", Key: ps[1].Public, Roles: []Role{Read}}); err != nil {
		t.Fatal(err)
	}
	d.look()
	if _, why := d.Admit(Data, ps[1].Public, netip.Addr{}); why != "" || d.changed != 2 {
		t.Errorf("%q, changed %d times", why, d.changed)
	}
	if s := d.Stats(); s.Reloads != 2 || s.Bad != 2 {
		t.Errorf("%+v", s)
	}
}

// TestDoorExpires: a key that expires is as good as a list that has changed.
func TestDoorExpires(t *testing.T) {
	ps := threePairs(t)
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	d := newDoorTest(t, Peer{Name: "desk", Key: ps[0].Public, Roles: []Role{Read}, Expires: now.Add(10 * time.Second)})
	for range 15 {
		d.now = d.now.Add(time.Second)
		d.look()
	}
	if d.changed != 1 || d.Still(Data, ps[0].Public, netip.Addr{}) {
		t.Errorf("changed %d times", d.changed)
	}
}

// TestDoorReloadsOnDemand: SIGHUP, or whatever comes over the channel, reads the list.
func TestDoorReloadsOnDemand(t *testing.T) {
	ps := threePairs(t)
	file := filepath.Join(t.TempDir(), "authorized.toml")
	if err := Allow(file, Peer{Name: "desk", Key: ps[0].Public, Roles: []Role{Read}}); err != nil {
		t.Fatal(err)
	}
	changed := make(chan struct{})
	d, err := OpenDoor(DoorConfig{File: file, Changed: func() { changed <- struct{}{} }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	reload, ended := make(chan os.Signal), make(chan struct{})
	go func() {
		defer close(ended)
		d.Watch(ctx, reload)
	}()
	reload <- syscall.SIGHUP
	<-changed
	cancel()
	<-ended
	if n := d.Stats().Reloads; n != 1 {
		t.Errorf("read %d times", n)
	}
}

func TestOpenDoorFails(t *testing.T) {
	if _, err := OpenDoor(DoorConfig{File: filepath.Join(t.TempDir(), "none")}); err == nil {
		t.Error("a door without a list")
	}
}
