package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/internal/fsys"
)

// jobLedger is what this machine knows of the effects of jobs: of each one that was
// begun what it is about to make, and, when it is through, its reply. A job that
// comes again, because whoever did it died before it could answer, is held against
// it. It is a directory with a file for each job, which is written whole or not at
// all; jobs are few and large. Any goroutine may use it.
//
// It implements control.ReplyStore.
type jobLedger struct {
	dir  string
	keep time.Duration // entries that nobody has looked at for so long go
	lock io.Closer

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

// openLedger opens a ledger, which no other process may have open.
func openLedger(dir string, keep time.Duration) (*jobLedger, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	lock, err := fsys.OS{}.Lock(dir)
	if errors.Is(err, fsys.ErrLocked) {
		return nil, withHint(fmt.Errorf("%s: another process has the jobs of this directory: %w", dir, err), "--work names another directory; with jobs.locked=wait this one takes over when that has ended")
	}
	if err != nil {
		return nil, err
	}
	return &jobLedger{dir: dir, keep: keep, lock: lock}, nil
}

func (l *jobLedger) close() error { return l.lock.Close() }

func ledgerName(k control.Key) string { return fmt.Sprintf("%v-%d.json", k.Client, k.Number) }

// read returns the entry of a job; nil where it has not been begun.
func (l *jobLedger) read(k control.Key) (*ledgerEntry, error) {
	name := filepath.Join(l.dir, ledgerName(k))
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

// change changes the entry of a job, making one where there is none. It is on the
// disk when change returns.
func (l *jobLedger) change(k control.Key, edit func(*ledgerEntry)) (*ledgerEntry, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
	return e, fsys.WriteFile(fsys.OS{}, l.dir, ledgerName(k), b)
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
	list, err := os.ReadDir(l.dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		info, err := e.Info()
		if err == nil && filepath.Ext(e.Name()) == ".json" && now.Sub(info.ModTime()) > l.keep {
			err = os.Remove(filepath.Join(l.dir, e.Name()))
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
