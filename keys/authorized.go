package keys

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// authorizedFile is the file that says who is allowed.
type authorizedFile struct {
	Peers   []authorizedPeer `toml:"peer"`
	Revoked []revokedKey     `toml:"revoked"`
	Deny    []string         `toml:"deny"` // addresses and networks
}

type authorizedPeer struct {
	Name    string    `toml:"name"`
	Key     string    `toml:"key"`
	Roles   []string  `toml:"roles"`
	Topics  []string  `toml:"topics"`
	From    []string  `toml:"from"`
	Expires time.Time `toml:"expires"`
}

type revokedKey struct {
	Name string    `toml:"name"`
	Key  string    `toml:"key"`
	Time time.Time `toml:"time"`
	Why  string    `toml:"why"`
}

// ReadList reads the file that says who is allowed. The error says where and what is
// wrong; half a list is never returned.
func ReadList(name string) (*List, error) {
	text, err := readFile(name, false)
	if err != nil {
		return nil, err
	}
	l, err := ParseList(text)
	if err != nil {
		return nil, fmt.Errorf("keys: %s: %w", name, err)
	}
	return l, nil
}

// ParseList reads what such a file holds.
func ParseList(text string) (*List, error) {
	var f authorizedFile
	if err := decodeStrict(text, &f); err != nil {
		return nil, err
	}
	l := &List{peers: map[Key]*Peer{}, revoked: map[Key]Revoked{}}
	var err error
	if l.denied, err = networks("deny", f.Deny); err != nil {
		return nil, err
	}
	for i, p := range f.Peers {
		if err := l.add(p); err != nil {
			return nil, fmt.Errorf("peer %d (%q): %w", i+1, p.Name, err)
		}
	}
	for i, r := range f.Revoked {
		k, err := ParseKey(r.Key)
		if err != nil {
			return nil, fmt.Errorf("revoked %d (%q): %w", i+1, r.Name, err)
		}
		l.revoked[k] = Revoked{Name: r.Name, Key: k, Time: r.Time, Why: r.Why}
	}
	return l, nil
}

func (l *List) add(a authorizedPeer) error {
	p := Peer{Name: a.Name, Expires: a.Expires}
	if err := CheckName(a.Name); err != nil {
		return err
	}
	var err error
	if p.Key, err = ParseKey(a.Key); err != nil {
		return err
	}
	if p.Roles, err = ParseRoles(a.Roles); err != nil {
		return err
	}
	for _, t := range a.Topics {
		if t == "" {
			return errors.New("an empty topic means all: leave topics out")
		}
		p.Topics = append(p.Topics, []byte(t))
	}
	if p.From, err = networks("from", a.From); err != nil {
		return err
	}
	if slices.Contains(l.names, p.Name) {
		return errors.New("the name is taken")
	}
	if other := l.peers[p.Key]; other != nil {
		return fmt.Errorf("the key is %q's, too", other.Name)
	}
	l.peers[p.Key] = &p
	l.names = append(l.names, p.Name)
	return nil
}

// ParseRoles reads the names of roles; at least one.
func ParseRoles(names []string) ([]Role, error) {
	var roles []Role
	for _, n := range names {
		if !slices.Contains(Roles(), Role(n)) {
			return nil, fmt.Errorf("keys: the role %q: want read, record, control or admin", n)
		}
		roles = append(roles, Role(n))
	}
	if len(roles) == 0 {
		return nil, errors.New("keys: no role: want read, record, control or admin")
	}
	return roles, nil
}

// networks reads networks such as 10.0.0.0/8, and single addresses.
func networks(what string, list []string) ([]netip.Prefix, error) {
	var ns []netip.Prefix
	for _, s := range list {
		n, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return nil, fmt.Errorf("%s: %q is no address, and no network such as 10.0.0.0/8", what, s)
			}
			n = netip.PrefixFrom(a, a.BitLen())
		}
		ns = append(ns, n.Masked())
	}
	return ns, nil
}

// Allow appends a peer to the file that says who is allowed, which is made where it is
// not there. A name or key that is there, or a key that is revoked, is refused.
func Allow(file string, p Peer) error {
	return appendTo(file, func(l *List) (string, error) {
		if err := CheckName(p.Name); err != nil {
			return "", err
		}
		if _, gone := l.revoked[p.Key]; gone {
			return "", fmt.Errorf("keys: the key %s… is revoked: make a new one, or take it out of %s by hand", p.Key.Short(), file)
		}
		var s strings.Builder
		fmt.Fprintf(&s, "\n[[peer]]\nname = %q\nkey = %q\nroles = [%s]\n", p.Name, p.Key.String(), quoted(p.Roles, func(r Role) string { return string(r) }))
		if len(p.Topics) > 0 {
			fmt.Fprintf(&s, "topics = [%s]\n", quoted(p.Topics, func(t []byte) string { return string(t) }))
		}
		if len(p.From) > 0 {
			fmt.Fprintf(&s, "from = [%s]\n", quoted(p.From, netip.Prefix.String))
		}
		if !p.Expires.IsZero() {
			fmt.Fprintf(&s, "expires = %s\n", p.Expires.UTC().Format(time.RFC3339))
		}
		return s.String(), nil
	})
}

// quoted writes values as a TOML array has them.
func quoted[T any](list []T, text func(T) string) string {
	var s []string
	for _, v := range list {
		s = append(s, strconv.Quote(text(v)))
	}
	return strings.Join(s, ", ")
}

// Revoke appends to the file that a key is allowed no longer, and returns whose it was.
// whom is the name of a peer, or a key.
func Revoke(file, whom, why string, now time.Time) (Peer, error) {
	var p Peer
	err := appendTo(file, func(l *List) (string, error) {
		k, kerr := ParseKey(whom)
		for _, x := range l.peers {
			if x.Name == whom || kerr == nil && x.Key == k {
				p = *x
			}
		}
		if p.Name == "" {
			return "", fmt.Errorf("keys: %s allows nobody named %q: tapedeck keys show %s lists them", file, whom, file)
		}
		if _, gone := l.revoked[p.Key]; gone {
			return "", fmt.Errorf("keys: the key of %q is revoked already", p.Name)
		}
		return fmt.Sprintf("\n[[revoked]]\nname = %q\nkey = %q\ntime = %s\nwhy = %q\n", p.Name, p.Key.String(), now.UTC().Format(time.RFC3339), why), nil
	})
	return p, err
}
