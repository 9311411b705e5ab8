package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/internal/fsys"
)

// jobLedger is what is known of the effects of jobs: of each one that was begun what it
// is about to make, and, when it is through, its reply. A job that comes again, because
// whoever did it died before it could answer, is held against it. It is a directory with
// one for each epoch of the job log, in which each job has a file, written whole or not
// at all; jobs are few and large. It belongs to whoever has the job log: one that has
// lost it can write to the files of its own epoch alone, and later ones count more. Any
// goroutine may use it.
//
// It implements control.ReplyStore.
type jobLedger struct {
	dir    string
	keep   time.Duration // entries that nobody has looked at for so long go
	epoch  uint64
	epochs []uint64     // own, then those before, the latest first; 0: files of versions without epochs
	held   func() error // nil while the job log is this process's

	mu sync.Mutex // of read, change and write
}

// ledgerEntry is a file of the ledger.
type ledgerEntry struct {
	Client string `json:"client"`
	Number uint64 `json:"number"`
	// Begun is when the job was begun for the first time.
	Begun time.Time `json:"begun"`
	// Through: the job has recorded what it was to record, and only closes its tape.
	Through bool `json:"through,omitempty"`
	// Made is the file that the job has made, before it has its name.
	Made *fileMark `json:"made,omitempty"`
	// Reply is what was answered, or is about to be.
	Reply *ledgerReply `json:"reply,omitempty"`
}

// ledgerReply is a control.StoredReply.
type ledgerReply struct {
	Digest string          `json:"digest"`
	Code   control.Code    `json:"code"`
	Object json.RawMessage `json:"object"`
}

// ledgerEntryMax is how large a file of the ledger may be, bytes.
const ledgerEntryMax = 4 << 20

// openLedger opens a ledger, for who has the job log in an epoch.
func openLedger(dir string, keep time.Duration, epoch uint64, held func() error) (*jobLedger, error) {
	l := &jobLedger{dir: dir, keep: keep, epoch: epoch, epochs: []uint64{epoch, 0}, held: held}
	if err := os.MkdirAll(l.of(epoch), 0o777); err != nil {
		return nil, err
	}
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range list {
		if n, err := strconv.ParseUint(e.Name(), 10, 64); err == nil && e.IsDir() && n < epoch && n > 0 {
			l.epochs = append(l.epochs, n)
		}
	}
	slices.SortFunc(l.epochs, func(a, b uint64) int { return cmp.Compare(b, a) })
	return l, syncDir(dir)
}

// of is the directory of an epoch.
func (l *jobLedger) of(epoch uint64) string {
	if epoch == 0 {
		return l.dir
	}
	return filepath.Join(l.dir, strconv.FormatUint(epoch, 10))
}

func ledgerName(k control.Key) string { return fmt.Sprintf("%v-%d.json", k.Client, k.Number) }

// read returns the entry of a job, the latest; nil where it has not been begun.
func (l *jobLedger) read(k control.Key) (*ledgerEntry, error) {
	for _, epoch := range l.epochs {
		e, err := l.readOf(epoch, k)
		if e != nil || err != nil {
			return e, err
		}
	}
	return nil, nil
}

func (l *jobLedger) readOf(epoch uint64, k control.Key) (*ledgerEntry, error) {
	name := filepath.Join(l.of(epoch), ledgerName(k))
	b, err := fsys.ReadFile(fsys.OS{}, name, ledgerEntryMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var e ledgerEntry
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	now := time.Now()
	_ = os.Chtimes(name, now, now) // it was looked at
	return &e, nil
}

// made reports whether a file is one that a try of the job has made, in any epoch.
func (l *jobLedger) made(k control.Key, m *fileMark) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, epoch := range l.epochs {
		e, err := l.readOf(epoch, k)
		if err != nil {
			return false, err
		}
		if e != nil && e.Made.same(m) {
			return true, nil
		}
	}
	return false, nil
}

// change changes the entry of a job, making one where there is none. It is on the disk
// when change returns, and the job log was this process's until then.
func (l *jobLedger) change(k control.Key, edit func(*ledgerEntry)) (*ledgerEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.held(); err != nil {
		return nil, err
	}
	e, err := l.read(k)
	if err != nil {
		return nil, err
	}
	if e == nil {
		e = &ledgerEntry{Client: k.Client.String(), Number: k.Number, Begun: time.Now().UTC()}
	}
	edit(e)
	b, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	if err := fsys.WriteFile(fsys.OS{}, l.of(l.epoch), ledgerName(k), b); err != nil {
		return nil, err
	}
	return e, l.held()
}

// Get implements control.ReplyStore.
func (l *jobLedger) Get(k control.Key) (control.StoredReply, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e, err := l.read(k)
	if err != nil || e == nil || e.Reply == nil {
		return control.StoredReply{}, false, err
	}
	r := control.StoredReply{Code: e.Reply.Code, Object: e.Reply.Object}
	d, err := hex.DecodeString(e.Reply.Digest)
	if err != nil || len(d) != len(r.Digest) {
		return control.StoredReply{}, false, fmt.Errorf("%s: the digest is none", ledgerName(k))
	}
	copy(r.Digest[:], d)
	return r, true, nil
}

// Put implements control.ReplyStore.
func (l *jobLedger) Put(k control.Key, r control.StoredReply) error {
	_, err := l.change(k, func(e *ledgerEntry) {
		e.Reply = &ledgerReply{Digest: hex.EncodeToString(r.Digest[:]), Code: r.Code, Object: r.Object}
	})
	return err
}

// ledgerLook is how often a ledger looks for entries that can go.
const ledgerLook = time.Hour

// run lets go of old entries until the context ends.
func (l *jobLedger) run(ctx context.Context) error {
	tick := time.NewTicker(ledgerLook)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now := <-tick.C:
			_ = l.forget(now) // the next look tries again
		}
	}
}

// forget removes entries that nobody has looked at for long. A job that may still
// come again is looked at each time that it does.
func (l *jobLedger) forget(now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.held(); err != nil {
		return err
	}
	for _, epoch := range l.epochs {
		if err := l.forgetOf(epoch, now); err != nil {
			return err
		}
	}
	return nil
}

func (l *jobLedger) forgetOf(epoch uint64, now time.Time) error {
	list, err := os.ReadDir(l.of(epoch))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range list {
		info, err := e.Info()
		if err == nil && filepath.Ext(e.Name()) == ".json" && now.Sub(info.ModTime()) > l.keep {
			err = os.Remove(filepath.Join(l.of(epoch), e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if epoch != 0 && epoch != l.epoch {
		_ = os.Remove(l.of(epoch)) // it fails while anything is in it
	}
	return nil
}
