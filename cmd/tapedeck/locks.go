package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/keys"
)

// The variables that say what the flags of keys do not.
const (
	keyVariable        = "TAPEDECK_KEY"
	serverKeyVariable  = "TAPEDECK_SERVER_KEY"
	authorizedVariable = "TAPEDECK_AUTHORIZED"
)

// lockFlags say what keys a process has, and who is allowed to come to it. Secrets are
// in files alone.
type lockFlags struct {
	key        string
	servers    []string
	authorized string
}

// lockDefaults are the flags where nothing is said but in variables.
func lockDefaults() lockFlags {
	f := lockFlags{key: os.Getenv(keyVariable), servers: []string{}, authorized: os.Getenv(authorizedVariable)}
	if s := os.Getenv(serverKeyVariable); s != "" {
		f.servers = strings.Split(s, ",")
	}
	return f
}

// add adds the flags to a command and those below it, and has them heeded before
// anything else. Others connect to a command that binds.
func (f *lockFlags) add(cmd *cobra.Command, binds bool) {
	*f = lockDefaults()
	if !binds {
		f.authorized = ""
	}
	f.declare(cmd, binds)
	cmd.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return f.lock(cmd.Context(), newOutput(cmd), false) }
}

// declare adds the flags alone.
func (f *lockFlags) declare(cmd *cobra.Command, binds bool) {
	fl := cmd.PersistentFlags()
	fl.StringVar(&f.key, "key", f.key, "file with this process's key pair, as tapedeck keys new writes it: every connection is encrypted then, and both ends know each other; $"+keyVariable+" sets it, too")
	fl.StringArrayVar(&f.servers, "server-key", f.servers, "public key of who is connected to, or the file that has it; ENDPOINT=KEY for one endpoint, or tcp://HOST=KEY for one host; can be given again; $"+serverKeyVariable+" sets it, too")
	if !binds {
		return
	}
	fl.StringVar(&f.authorized, "authorized", f.authorized, "file that says which keys may connect to this process; $"+authorizedVariable+" sets it, too (default: whoever has its public key)")
}

// locks are the keys of this process; nil: it has none.
var locks atomic.Pointer[processLock]

// processLock is how this process knows others, and they it.
type processLock struct {
	pair    keys.Pair
	servers []serverKey
	own     bool       // connections to nobody knows whom are to processes with the same pair
	door    *keys.Door // nil: whoever has the public key comes in
	zmq     *zsock.Lock
	out     *output
	said    sayer

	mu      sync.Mutex
	recheck map[*func() int]struct{} // of doors of their own
}

// serverKey is whose key is at an endpoint; "" is any other one.
type serverKey struct {
	endpoint string
	key      keys.Key
}

// lock makes the flags count for every socket of the process that is opened from now
// on. own is for a process whose parts connect to each other.
func (f *lockFlags) lock(ctx context.Context, out *output, own bool) error {
	if f.key == "" {
		usual := lockDefaults() // that variables say more than is needed is no mistake
		if f.authorized != "" && f.authorized != usual.authorized || len(f.servers) > 0 && !slices.Equal(f.servers, usual.servers) {
			return withHint(usagef("--authorized and --server-key say nothing without --key"), "tapedeck keys new NAME makes a key pair")
		}
		return nil
	}
	if !zsock.Has("curve") {
		return errors.New("--key: this libzmq was built without CURVE")
	}
	l := &processLock{own: own, out: out, said: sayer{out: out}, recheck: map[*func() int]struct{}{}}
	var err error
	if l.pair, err = keys.ReadPair(f.key); err != nil {
		return withHint(fmt.Errorf("--key: %s", withoutKeys(err)), "tapedeck keys new NAME makes a key pair")
	}
	for _, s := range f.servers {
		k, err := parseServerKey(s)
		if err != nil {
			return usagef("--server-key %s: %s", s, withoutKeys(err))
		}
		l.servers = append(l.servers, k)
	}
	l.zmq = &zsock.Lock{Public: l.pair.Public.String(), Secret: l.pair.Secret.Z85(), ServerKey: l.serverKey, Failed: l.failed}
	if f.authorized != "" {
		l.door, err = keys.OpenDoor(keys.DoorConfig{File: f.authorized, Say: func(line string) { out.remark("keys: %s", withoutKeysText(line)) }, Changed: l.changed})
		if err != nil {
			return withHint(fmt.Errorf("--authorized: %s", withoutKeys(err)), "tapedeck keys allow KEY --file "+f.authorized+" makes such a file")
		}
		l.zmq.Check = l.check
		reload := make(chan os.Signal, 1)
		signal.Notify(reload, syscall.SIGHUP)
		go func() {
			defer signal.Stop(reload)
			l.door.Watch(ctx, reload)
		}()
	}
	locks.Store(l)
	zsock.LockAll(l.zmq)
	return nil
}

// withoutKeys is an error of keys as people read it.
func withoutKeys(err error) string { return withoutKeysText(err.Error()) }

func withoutKeysText(s string) string { return strings.TrimPrefix(s, "keys: ") }

// parseServerKey reads KEY, or ENDPOINT=KEY. A key is its 40 characters, which may have
// a "=" among them, or a file.
func parseServerKey(s string) (serverKey, error) {
	var at string
	if strings.HasPrefix(s, "tcp://") || strings.HasPrefix(s, "ipc://") {
		cut := strings.IndexByte(s, '=')
		if i := len(s) - 41; i > 0 && s[i] == '=' {
			if _, err := keys.ParseKey(s[i+1:]); err == nil {
				cut = i
			}
		}
		if cut < 0 {
			return serverKey{}, errors.New("want ENDPOINT=KEY")
		}
		at, s = s[:cut], s[cut+1:]
	}
	k, _, err := keys.ReadPublic(s)
	return serverKey{at, k}, err
}

// serverKey is whose key is at an endpoint: what was said of the endpoint, of its host,
// or of all.
func (l *processLock) serverKey(endpoint string) (string, error) {
	at := endpoint
	if address, ok := strings.CutPrefix(endpoint, "tcp://"); ok {
		if _, remote, ok := strings.Cut(address, ";"); ok { // an interface to come from
			at = "tcp://" + remote
		}
	}
	var best *serverKey
	for i, s := range l.servers {
		fits := s.endpoint == "" || s.endpoint == at || strings.HasPrefix(at, "tcp://") && strings.HasPrefix(at, s.endpoint+":")
		if fits && (best == nil || len(s.endpoint) > len(best.endpoint)) {
			best = &l.servers[i]
		}
	}
	switch {
	case best != nil:
		return best.key.String(), nil
	case l.own:
		return l.pair.Public.String(), nil
	}
	return "", withHint(usagef("nobody has said whose key is at %s", endpoint), "--server-key names it: the .pub file that tapedeck keys new has written there")
}
