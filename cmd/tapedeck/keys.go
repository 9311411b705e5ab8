package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/keys"
)

// authorizedDefault is the list of those who are allowed, where nobody names one.
const authorizedDefault = "authorized.toml"

func newKeys() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "Make keys, and say whose are allowed to connect, and do what",
		Long: `Keys encrypt every connection of Tapedeck, and tell both ends who the other is
(CURVE, as ZeroMQ has it). Each process has a key pair, and knows the public key of
whoever it connects to; who is connected to has a list of those who are allowed.

  on the server   tapedeck keys new deck                      deck.key, deck.pub
  on the desk     tapedeck keys new desk                      desk.key, desk.pub
  on the server   tapedeck keys allow desk.pub --roles read   into authorized.toml
                  tapedeck play es.tape --bind tcp://eth1:7100 \
                    --key deck.key --authorized authorized.toml
  on the desk     tapedeck sub --connect tcp://server:7100 \
                    --key desk.key --server-key deck.pub

A .key file has a secret: it stays where it was made, readable by its owner alone, and
no command takes or prints what is in it. A .pub file may be seen by anybody.

Roles: read (records, last values, refills, state), record (what recorders and workers
do), control (commands that change something), admin (everything). --topics bounds what
read may read: on the plain stream of lvc, which looks at each subscription. Shards,
snapshots and refills carry every topic, and take the right to all.

A process reads its list again when the file changes, or on SIGHUP. Whoever is allowed
no longer is cut off. docs/OPERATIONS.md says more.`,
		Example: example(
			"tapedeck keys new deck -o /etc/tapedeck",
			"tapedeck keys show deck.key",
			"tapedeck keys allow desk.pub --roles read --topics GLBX.MDP3.ES --from 10.0.0.0/8",
			"tapedeck keys revoke desk --why 'left the firm'",
		),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeysNew(), newKeysShow(), newKeysAllow(), newKeysRevoke())
	for _, sub := range cmd.Commands() {
		sub.Args = usageArgs(sub.Args)
	}
	return cmd
}

func newKeysNew() *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use:   "new NAME",
		Short: "Make a key pair: NAME.key, and NAME.pub for others",
		Long: `Make a key pair. NAME.key has both halves and stays on this machine, readable by
its owner alone; NAME.pub has the public half, for tapedeck keys allow on the machines
that this one connects to, and for --server-key on those that connect to it. Files that
exist are not touched.`,
		Example: example("tapedeck keys new desk-7", "tapedeck keys new deck -o /etc/tapedeck"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := keys.CheckName(args[0]); err != nil {
				return usagef("%s", withoutKeys(err))
			}
			p, err := keys.NewPair(args[0])
			if err != nil {
				return err
			}
			file, public, err := p.Write(dir)
			if err != nil {
				return keysError(err)
			}
			return newOutput(cmd).message("keys.new", struct {
				Name       string `json:"name"`
				Public     string `json:"public"`
				File       string `json:"file"`
				PublicFile string `json:"public_file"`
			}{p.Name, p.Public.String(), file, public},
				fmt.Sprintf("%s  the pair: it stays here\n%s  the public key, for others: %s", file, public, p.Public))
		},
	}
	cmd.Flags().StringVarP(&dir, "output", "o", ".", "directory to write to")
	return cmd
}

func newKeysShow() *cobra.Command {
	return &cobra.Command{
		Use:   "show FILE",
		Short: "Show a public key, or who a list allows",
		Long: `Show whose key a .key or .pub file has, and its public half, never the secret; or
who is allowed by a list such as authorized.toml, and whose keys are revoked there.`,
		Example: example("tapedeck keys show desk.pub", "tapedeck keys show authorized.toml --json"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			out := newOutput(cmd)
			k, name, keyErr := keys.ReadPublic(args[0])
			if keyErr == nil {
				return out.message("keys.key", struct {
					Name   string `json:"name,omitempty"`
					Public string `json:"public"`
				}{name, k.String()}, strings.TrimSpace(name+"  "+k.String()))
			}
			if !strings.HasSuffix(args[0], ".toml") {
				return keysError(keyErr)
			}
			l, err := keys.ReadList(args[0])
			if err != nil {
				return keysError(err)
			}
			return showList(out, args[0], l)
		},
	}
}

// keyPeer is somebody who is allowed, as it is shown.
type keyPeer struct {
	Name    string       `json:"name"`
	Public  string       `json:"public"`
	Roles   []keys.Role  `json:"roles"`
	Topics  []string     `json:"topics,omitempty"`
	From    []string     `json:"from,omitempty"`
	Expires *time.Time   `json:"expires,omitempty"`
	State   keys.Refusal `json:"state,omitempty"` // "expired key"
}

func newKeyPeer(p *keys.Peer) keyPeer {
	v := keyPeer{Name: p.Name, Public: p.Key.String(), Roles: p.Roles}
	for _, t := range p.Topics {
		v.Topics = append(v.Topics, string(t))
	}
	for _, n := range p.From {
		v.From = append(v.From, n.String())
	}
	if !p.Expires.IsZero() {
		v.Expires = &p.Expires
		if !time.Now().Before(p.Expires) {
			v.State = keys.RefusedExpired
		}
	}
	return v
}

func (v *keyPeer) text() string {
	roles := make([]string, len(v.Roles))
	for i, r := range v.Roles {
		roles[i] = string(r)
	}
	s := fmt.Sprintf("%-16s %s  %s", v.Name, v.Public, strings.Join(roles, ","))
	if len(v.Topics) > 0 {
		s += "  topics " + strings.Join(v.Topics, ",")
	}
	if len(v.From) > 0 {
		s += "  from " + strings.Join(v.From, ",")
	}
	if v.Expires != nil {
		s += "  expires " + v.Expires.UTC().Format(time.RFC3339)
	}
	if v.State != "" {
		s += "  (" + string(v.State) + ")"
	}
	return s
}

// showList shows who is allowed.
func showList(out *output, file string, l *keys.List) error {
	type revoked struct {
		Name   string    `json:"name"`
		Public string    `json:"public"`
		Time   time.Time `json:"time"`
		Why    string    `json:"why"`
	}
	v := struct {
		File    string    `json:"file"`
		Allowed []keyPeer `json:"allowed"`
		Revoked []revoked `json:"revoked"`
	}{file, []keyPeer{}, []revoked{}}
	var lines []string
	for _, p := range l.Peers() {
		peer := newKeyPeer(&p)
		v.Allowed = append(v.Allowed, peer)
		lines = append(lines, peer.text())
	}
	for _, r := range l.Revoked() {
		v.Revoked = append(v.Revoked, revoked{r.Name, r.Key.String(), r.Time, r.Why})
		lines = append(lines, strings.TrimSpace(fmt.Sprintf("%-16s %s  revoked %s  %s", r.Name, r.Key, r.Time.UTC().Format(time.RFC3339), r.Why)))
	}
	if len(lines) == 0 {
		lines = []string{"nobody is allowed"}
	}
	return out.message("keys.list", &v, strings.Join(lines, "\n"))
}

// listFlag is the flag that names the list.
func listFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "file", cmp.Or(os.Getenv(authorizedVariable), authorizedDefault), "the list to write to; $"+authorizedVariable+" names another default")
}

func newKeysAllow() *cobra.Command {
	var f struct {
		file, name, expires string
		roles, topics, from []string
	}
	cmd := &cobra.Command{
		Use:   "allow KEY|FILE",
		Short: "Allow a public key, in the list of those who may connect",
		Long: `Add a public key to the list that --authorized names; the list is made where it is
not there yet. KEY is 40 characters, FILE a .pub file. Processes that use the list take
it in within a second or so.`,
		Example: example(
			"tapedeck keys allow desk.pub --roles read",
			"tapedeck keys allow desk.pub --roles read,control --from 10.0.0.0/8,127.0.0.1 --expires 30d",
			"tapedeck keys allow partner.pub --roles read --topics GLBX.MDP3.ES,GLBX.MDP3.NQ",
		),
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			k, name, err := keys.ReadPublic(args[0])
			if err != nil {
				return keysError(err)
			}
			p := keys.Peer{Name: cmp.Or(f.name, name), Key: k}
			if p.Name == "" {
				return usagef("--name: a key alone has no name, and the list wants one")
			}
			if err := cmp.Or(keys.CheckName(p.Name), roles(&p, f.roles), topics(&p, f.topics), from(&p, f.from), expires(&p, f.expires, time.Now())); err != nil {
				return usagef("%s", withoutKeys(err))
			}
			if err := keys.Allow(f.file, p); err != nil {
				return keysError(err)
			}
			v := newKeyPeer(&p)
			return newOutput(cmd).message("keys.allow", struct {
				File string `json:"file"`
				keyPeer
			}{f.file, v}, f.file+" allows "+v.text())
		},
	}
	listFlag(cmd, &f.file)
	fl := cmd.Flags()
	fl.StringVar(&f.name, "name", "", "who it is, in logs and lists (default: the name in FILE)")
	fl.StringSliceVar(&f.roles, "roles", []string{string(keys.Read)}, "what he may do: read, record, control, admin")
	fl.StringSliceVar(&f.topics, "topics", nil, "prefixes of the topics that he may read (default: all)")
	fl.StringSliceVar(&f.from, "from", nil, "addresses and networks to come from (default: anywhere)")
	fl.StringVar(&f.expires, "expires", "", "until when: a date, a time in RFC 3339, or so many days or hours from now, such as 30d (default: for ever)")
	_ = cmd.RegisterFlagCompletionFunc("roles", cobra.FixedCompletions([]string{"read", "record", "control", "admin"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func roles(p *keys.Peer, names []string) (err error) {
	p.Roles, err = keys.ParseRoles(names)
	return err
}

func topics(p *keys.Peer, prefixes []string) error {
	for _, t := range prefixes {
		if t == "" {
			return errors.New("--topics: an empty topic is every topic: leave --topics out")
		}
		p.Topics = append(p.Topics, []byte(t))
	}
	return nil
}

func from(p *keys.Peer, list []string) error {
	for _, s := range list {
		n, err := netip.ParsePrefix(s)
		if err != nil {
			a, aerr := netip.ParseAddr(s)
			if aerr != nil {
				return fmt.Errorf("--from: %q is no address, and no network such as 10.0.0.0/8", s)
			}
			n = netip.PrefixFrom(a, a.BitLen())
		}
		p.From = append(p.From, n.Masked())
	}
	return nil
}

func expires(p *keys.Peer, s string, now time.Time) error {
	if s == "" {
		return nil
	}
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.Atoi(days); err == nil && n > 0 {
			p.Expires = now.AddDate(0, 0, n).UTC().Truncate(time.Second)
			return nil
		}
	}
	if d, err := time.ParseDuration(s); err == nil && d > 0 {
		p.Expires = now.Add(d).UTC().Truncate(time.Second)
		return nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if t, err := time.Parse(layout, s); err == nil {
			if !t.After(now) {
				return fmt.Errorf("--expires %s: that is over", s)
			}
			p.Expires = t.UTC()
			return nil
		}
	}
	return fmt.Errorf("--expires %s: want a date such as 2027-01-31, a time in RFC 3339, or 30d", s)
}

func newKeysRevoke() *cobra.Command {
	var file, why string
	cmd := &cobra.Command{
		Use:   "revoke NAME|KEY",
		Short: "Allow a key no longer",
		Long: `Note in the list that a key is allowed no longer, and why. Processes that use the
list take that in within a second or so, end the connections of whoever has the key,
and refuse it from then on. It cannot be allowed again but by hand.`,
		Example: example("tapedeck keys revoke desk --why 'left the firm'"),
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			p, err := keys.Revoke(file, args[0], why, time.Now())
			if err != nil {
				return keysError(err)
			}
			return newOutput(cmd).message("keys.revoke", struct {
				File   string `json:"file"`
				Name   string `json:"name"`
				Public string `json:"public"`
				Why    string `json:"why"`
			}{file, p.Name, p.Key.String(), why}, fmt.Sprintf("%s allows %s (%s) no longer", file, p.Name, p.Key))
		},
	}
	listFlag(cmd, &file)
	cmd.Flags().StringVar(&why, "why", "", "why, for people")
	return cmd
}

// keysError is an error of keys as people read it.
func keysError(err error) error {
	text := errors.New(withoutKeys(err))
	if errors.Is(err, os.ErrExist) {
		return withHint(text, "a pair is never written over: choose another name, or remove both files first")
	}
	return text
}
