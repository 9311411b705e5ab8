package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/tape"
)

// addJob adds a job that must be taken.
func (s *stationTest) addJob(kind string, args any, more control.JobAdd) control.JobAdded {
	s.Helper()
	b, err := json.Marshal(args)
	if err != nil {
		s.Fatal(err)
	}
	more.Kind, more.Args = kind, b
	return ask[control.JobAdded](s, control.ServiceJob, "add", more)
}

// waitJob waits until a job has ended.
func (s *stationTest) waitJob(id string) control.JobState {
	s.Helper()
	return ask[control.JobState](s, control.ServiceJob, "wait", control.JobOf{ID: id})
}

const synthArgs = "synth:topics=20,records=500,rate=1000,size=64,seed=5"

// TestJobs: import, export and record, to their results.
func TestJobs(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	s := serveFor(t, "tapes="+dir, "parts=broker,decks,tapes,recorder,jobs,status")
	j := s.addJob("import", control.ImportArgs{File: synthArgs, Tape: "day.tape"}, control.JobAdd{Note: "by hand", Key: "day"})
	if !j.Created || j.Kind != "import" || j.Key != "day" || j.Note != "by hand" || j.ID == "" || !strings.Contains(string(j.Args), "day.tape") {
		t.Errorf("add: %+v", j)
	}
	done := s.waitJob(j.ID)
	var sum importSummary
	if err := json.Unmarshal(done.Result, &sum); err != nil || done.State != "done" || done.Code != control.Done || sum.Records != 500 || sum.Tape != "day.tape" {
		t.Errorf("the import: %+v, %s, %v", done, done.Result, err)
	}
	if again := s.addJob("import", control.ImportArgs{File: synthArgs, Tape: "day.tape"}, control.JobAdd{Key: "day"}); again.Created || again.ID != j.ID {
		t.Errorf("added again: %+v", again)
	}
	s.refuses(control.ServiceJob, "add", control.JobAdd{Kind: "import", Key: "day", Args: json.RawMessage(`{"file":"synth:records=1","tape":"x.tape"}`)}, control.Refused, "key")

	x := s.waitJob(s.addJob("export", control.ExportArgs{Tape: "day.tape", To: "csv", File: "day.csv.gz"}, control.JobAdd{}).ID)
	var exported exportSummary
	if err := json.Unmarshal(x.Result, &exported); err != nil || x.State != "done" || exported.Records != 500 || exported.File != filepath.Join(s.tapes.root, "day.csv.gz") {
		t.Errorf("the export: %+v, %s, %v", x, x.Result, err)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "day.csv.gz")); err != nil || len(b) < 2 || b[0] != 0x1f {
		t.Errorf("the file: %v", err)
	}

	d := ask[control.DeckResult](s, control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}, Bind: "tcp://127.0.0.1:*", Speed: "max", Wait: 1})
	rec := s.addJob("record", control.RecordArgs{RecorderStart: control.RecorderStart{Connect: d.Shards[0], Tape: "copy.tape"}}, control.JobAdd{})
	for ask[control.DeckResult](s, control.ServiceDeck, "state", nil).Phase != "held" {
	}
	ask[control.DeckResult](s, control.ServiceDeck, "stop", nil)
	var recorded recordSummary
	r := s.waitJob(rec.ID)
	if err := json.Unmarshal(r.Result, &recorded); err != nil || r.State != "done" || recorded.Records != 500 || !recorded.Complete || recorded.Tape != "copy.tape" {
		t.Errorf("the recording: %+v, %s, %v", r, r.Result, err)
	}
	// What is there is not taken: the job fails, and says why.
	conflict := s.waitJob(s.addJob("import", control.ImportArgs{File: synthArgs, Tape: "copy.tape"}, control.JobAdd{}).ID)
	if conflict.State != "failed" || conflict.Code != control.Refused || conflict.Try == "" {
		t.Errorf("an import over a tape: %+v", conflict)
	}
	list := ask[control.JobList](s, control.ServiceJob, "list", nil)
	if len(list.Jobs) != 4 || list.Jobs[0].ID != conflict.ID || list.Jobs[3].ID != j.ID || list.Jobs[0].State != "failed" || list.Jobs[1].State != "done" {
		t.Errorf("list: %+v", list)
	}
	if st := ask[control.Status](s, control.ServiceStatus, "status", nil); st.Jobs != (control.JobCounts{Done: 3, Failed: 1}) {
		t.Errorf("status counts %+v", st.Jobs)
	}
}

// TestJobErrors: what cannot be done is refused before it is stored.
func TestJobErrors(t *testing.T) {
	noLeaks(t)
	dir, outside := t.TempDir(), t.TempDir()
	synthTape(t, dir, "day.tape", 10, 1)
	if err := os.WriteFile(filepath.Join(outside, "secret.csv"), []byte("a"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(outside, "secret.csv"), filepath.Join(dir, "link.csv")); err != nil {
		t.Fatal(err)
	}
	s := serveFor(t, "tapes="+dir, "parts=broker,jobs")
	for _, x := range []struct {
		kind, args string
		code       control.Code
		reason     string
	}{
		{"bake", `{}`, control.BadRequest, "kind"},
		{"import", `{"file":"no.csv","tape":"x.tape"}`, control.NotFound, "no file"},
		{"import", `{"file":"` + outside + `/secret.csv","tape":"x.tape"}`, control.Refused, "in none of the directories"},
		{"import", `{"file":"` + outside + `/nothing.csv","tape":"x.tape"}`, control.Refused, "in none of the directories"},
		{"import", `{"file":"link.csv","tape":"x.tape"}`, control.Refused, "in none of the directories"},
		{"import", `{"file":"synth:records=1","tape":"../x.tape"}`, control.BadRequest, "leads out"},
		{"import", `{"file":"synth:records=1"}`, control.BadRequest, "no name"},
		{"import", `{"file":7}`, control.BadRequest, ""},
		{"export", `{"tape":"day.tape","file":"x.csv","to":"paper"}`, control.BadRequest, "to"},
		{"export", `{"tape":"no.tape","file":"x.csv","to":"csv"}`, control.NotFound, "no tape"},
		{"export", `{"tape":"day.tape","file":"` + outside + `/x.csv","to":"csv"}`, control.Refused, "in none of the directories"},
		{"export", `{"tape":"day.tape","file":"day.tape","to":"csv"}`, control.Refused, "no file"},
		{"record", `{"tape":"x.tape"}`, control.BadRequest, "endpoints"},
		{"record", `{"connect":"tcp://127.0.0.1:1","tape":"/x.tape"}`, control.BadRequest, "absolute"},
		{"record", `{"connect":"tcp://127.0.0.1:1","tape":"x.tape","resync_bind":"tcp://*:1"}`, control.Refused, "beyond this machine"},
		{"record", `{"connect":"tcp://127.0.0.1:1","tape":"x.tape","ring":"soon"}`, control.BadRequest, "ring"},
	} {
		s.refuses(control.ServiceJob, "add", control.JobAdd{Kind: x.kind, Args: json.RawMessage(x.args)}, x.code, x.reason)
	}
	good := json.RawMessage(`{"file":"synth:records=1","tape":"x.tape"}`)
	s.refuses(control.ServiceJob, "add", control.JobAdd{Kind: "import", Args: good, At: "soon"}, control.BadRequest, "at")
	s.refuses(control.ServiceJob, "add", control.JobAdd{Kind: "import", Args: good, At: "-1h"}, control.BadRequest, "at")
	s.refuses(control.ServiceJob, "add", control.JobAdd{Kind: "import", Args: good, At: "+2h", Expires: "+1h"}, control.BadRequest, "expire")
	for _, command := range []string{"show", "wait", "cancel"} {
		s.refuses(control.ServiceJob, command, control.JobOf{ID: "7"}, control.NotFound, "no such job")
		s.refuses(control.ServiceJob, command, control.JobOf{ID: strings.Repeat("0", 32)}, control.NotFound, "no such job")
	}
	if list := ask[control.JobList](s, control.ServiceJob, "list", nil); len(list.Jobs) != 0 {
		t.Errorf("%+v", list)
	}
}

// TestJobsAreTakenOver: of two processes one has the jobs; the other one refuses, or waits,
// and has them when the first has ended, with all that had been accepted.
func TestJobsAreTakenOver(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	s := serveFor(t, "tapes="+dir, "parts=broker,status", "broker.heartbeat=20ms")
	bus := "bus=" + s.bus
	first := serveFor(t, "tapes="+dir, "parts=jobs,metrics", bus)
	cfg := newServeConfig()
	for _, text := range []string{"tapes=" + dir, "parts=jobs", bus} {
		if err := cfg.set(text); err != nil {
			t.Fatal(err)
		}
	}
	var hint hintError
	if _, err := openStation(t.Context(), cfg, silent()); !errors.Is(err, fsys.ErrLocked) || !errors.As(err, &hint) || !strings.Contains(hint.hint, "jobs.locked=wait") {
		t.Errorf("a second process with the jobs: %v", err)
	}
	second := serveFor(t, "tapes="+dir, "parts=jobs,metrics", "jobs.locked=wait", bus)
	never := serveFor(t, "tapes="+dir, "parts=jobs", "jobs.locked=wait", bus)
	done := s.waitJob(s.addJob("import", control.ImportArgs{File: synthArgs, Tape: "a.tape"}, control.JobAdd{Key: "a"}).ID)
	later := s.addJob("import", control.ImportArgs{File: "comes.csv", Tape: "b.tape"}, control.JobAdd{Key: "b", At: "+1h"})
	if second.jobs.Load() != nil || first.jobs.Load() == nil || done.State != "done" {
		t.Fatalf("the second one has the jobs, or the first has not: %+v", done)
	}
	if err := never.station.stop(); err != nil { // while it waits
		t.Error(err)
	}
	if err := first.station.stop(); err != nil {
		t.Fatal(err)
	}
	if got := ask[control.JobState](s, control.ServiceJob, "show", control.JobOf{ID: done.ID}); got.State != "done" || string(got.Result) != string(done.Result) {
		t.Errorf("%+v, before it was %+v", got, done)
	}
	if again := s.addJob("import", control.ImportArgs{File: "comes.csv", Tape: "b.tape"}, control.JobAdd{Key: "b", At: "+1h"}); again.Created || again.ID != later.ID {
		t.Errorf("the same job is another one: %+v", again)
	}
	if x := s.waitJob(s.addJob("import", control.ImportArgs{File: synthArgs, Tape: "c.tape"}, control.JobAdd{}).ID); x.State != "done" || second.jobs.Load() == nil {
		t.Errorf("%+v", x)
	}
	if st := ask[control.Status](s, control.ServiceStatus, "status", nil); st.Jobs.Done != 2 || st.Jobs.Stored != 1 {
		t.Errorf("status: %+v", st.Jobs)
	}
}

// TestJobCancel: a job that waits, and one that runs.
func TestJobCancel(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	s := serveFor(t, "tapes="+dir, "parts=broker,jobs")
	later := s.addJob("import", control.ImportArgs{File: "comes.csv", Tape: "x.tape"}, control.JobAdd{At: "+1h"})
	if later.State != "stored" || later.AtTime < later.AddedTime+int64(59*time.Minute) {
		t.Errorf("%+v", later)
	}
	if c := ask[control.JobState](s, control.ServiceJob, "cancel", control.JobOf{ID: later.ID}); c.State != "cancelled" {
		t.Errorf("%+v", c)
	}
	rec := s.addJob("record", control.RecordArgs{RecorderStart: control.RecorderStart{Connect: "tcp://127.0.0.1:1", Tape: "y.tape"}, For: "1h"}, control.JobAdd{})
	for running := false; !running; {
		s.jobs.Load().runner.mu.Lock()
		running = len(s.jobs.Load().runner.running) == 1
		s.jobs.Load().runner.mu.Unlock()
	}
	if c := ask[control.JobState](s, control.ServiceJob, "cancel", control.JobOf{ID: rec.ID}); c.State != "cancelled" {
		t.Errorf("%+v", c)
	}
	for running := true; running; { // it lets go of the stream and its tape
		s.jobs.Load().runner.mu.Lock()
		running = len(s.jobs.Load().runner.running) == 1
		s.jobs.Load().runner.mu.Unlock()
	}
	done := s.addJob("import", control.ImportArgs{File: synthArgs, Tape: "z.tape"}, control.JobAdd{})
	s.waitJob(done.ID)
	s.refuses(control.ServiceJob, "cancel", control.JobOf{ID: done.ID}, control.Refused, "answered")
}

// held is that of who has the job log.
func held() error { return nil }

// runnerFor is who does jobs, without a bus.
func runnerFor(t *testing.T) (*jobRunner, string) {
	t.Helper()
	dir := t.TempDir()
	tapes, err := openTapesDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files, err := openFileRoots(nil, tapes)
	if err != nil {
		t.Fatal(err)
	}
	ledger, err := openLedger(filepath.Join(dir, ".work"), time.Hour, 7, held)
	if err != nil {
		t.Fatal(err)
	}
	return &jobRunner{cfg: newServeConfig(), tapes: tapes, files: files, ledger: ledger, out: silent(), running: map[control.Key]context.CancelCauseFunc{}}, tapes.root
}

// TestImportOnce: what a try has made that died before it could answer is the job's
// result; what others have made is not.
func TestImportOnce(t *testing.T) {
	j, dir := runnerFor(t)
	key, other := jobKey("key a"), jobKey("key b")
	args := &control.ImportArgs{File: synthArgs, Tape: "a.tape"}
	if _, err := j.importJob(t.Context(), key, args); err != nil {
		t.Fatal(err)
	}
	before := treeOf(t, dir)
	again, err := j.importJob(t.Context(), key, args)
	if err != nil || again.(*importSummary).Records != 500 || len(again.(*importSummary).Notes) != 1 {
		t.Errorf("%+v, %v", again, err)
	}
	if _, err := j.importJob(t.Context(), other, args); !errors.Is(err, tape.ErrExists) {
		t.Errorf("another job's tape: %v", err)
	}
	if after := treeOf(t, dir); !slices.Equal(after, before) {
		t.Errorf("it was done again: %v, before %v", after, before)
	}
	// A try that died in the middle has left half a tape; nothing of it stays.
	half := filepath.Join(dir, jobPrefix(other)+"6.b.tape"+tape.TemporarySuffix)
	if err := os.MkdirAll(half, 0o777); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(half, "00000000.seg"), "half")
	if _, err := j.importJob(t.Context(), other, &control.ImportArgs{File: synthArgs, Tape: "b.tape"}); err != nil {
		t.Fatal(err)
	}
	if rep, err := tape.Verify(t.Context(), filepath.Join(dir, "b.tape"), nil); err != nil || !rep.OK() {
		t.Errorf("%v, %v", rep.Problems, err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, ".job-*")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// treeOf lists all files below a directory with their times.
func treeOf(t *testing.T, dir string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil && !strings.Contains(path, ".work") {
			list = append(list, fmt.Sprint(path, info.Size(), info.ModTime().UnixNano()))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// TestExportOnce goes through every moment at which a try can die.
func TestExportOnce(t *testing.T) {
	const content = "precious"
	for name, die := range map[string]func(t *testing.T, p *placed){
		"before anything":     func(*testing.T, *placed) {},
		"while it is written": func(t *testing.T, p *placed) { write(t, p.work()+".ABCDEFGH.partial", "half") },
		"before it is noted":  func(t *testing.T, p *placed) { write(t, p.work(), "whole, and nobody knows") },
		"before it has a name": func(t *testing.T, p *placed) {
			write(t, p.work(), content)
			note(t, p)
		},
		"with two names": func(t *testing.T, p *placed) {
			write(t, p.work(), content)
			note(t, p)
			if err := os.Link(p.work(), p.path); err != nil {
				t.Fatal(err)
			}
		},
		"before it is answered": func(t *testing.T, p *placed) {
			write(t, p.work(), content)
			if err := p.finish(&exportSummary{Records: 77}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		for _, force := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/force=%v", name, force), func(t *testing.T) {
				if force && name == "with two names" {
					t.Skip("a rename has no such moment")
				}
				j, dir := runnerFor(t)
				synthTape(t, dir, "a.tape", 77, 1)
				key := jobKey(name)
				p := &placed{ledger: j.ledger, key: key, path: filepath.Join(dir, "out.csv"), force: force}
				die(t, p)
				e, err := j.ledger.read(key)
				if err != nil {
					t.Fatal(err)
				}
				made := e != nil && e.Made != nil
				for range 2 {
					sum, err := j.exportJob(t.Context(), key, &control.ExportArgs{Tape: "a.tape", File: "out.csv", To: "csv", Force: force})
					if err != nil || sum.(*exportSummary).Records != 77 {
						t.Fatalf("%+v, %v", sum, err)
					}
				}
				b, err := os.ReadFile(p.path)
				if err != nil || made != (string(b) == content) {
					t.Errorf("the file has %d bytes, %v; it was made before: %v", len(b), err, made)
				}
				if left, _ := filepath.Glob(filepath.Join(dir, ".job-*")); len(left) != 0 {
					t.Errorf("left: %v", left)
				}
				_, err = j.exportJob(t.Context(), jobKey("another"), &control.ExportArgs{Tape: "a.tape", File: "out.csv", To: "csv"})
				if !errors.Is(err, fs.ErrExist) {
					t.Errorf("another job takes its place: %v", err)
				}
			})
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
}

// note does what finish does before the file gets its name.
func note(t *testing.T, p *placed) {
	t.Helper()
	made, err := markOf(p.work())
	if err != nil {
		t.Fatal(err)
	}
	made.Summary = &exportSummary{Records: 77}
	if _, err := p.ledger.change(p.key, func(e *ledgerEntry) { e.Made = made }); err != nil {
		t.Fatal(err)
	}
}

// TestLedger: replies outlive the process, what nobody has looked at for long goes, and
// what a process still writes that has lost the jobs changes nothing.
func TestLedger(t *testing.T) {
	dir := t.TempDir()
	open := func(epoch uint64) *jobLedger {
		t.Helper()
		l, err := openLedger(dir, time.Hour, epoch, held)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	l := open(1)
	key := jobKey("a")
	if _, found, err := l.Get(key); found || err != nil {
		t.Errorf("an empty ledger has it: %v", err)
	}
	want := control.StoredReply{Digest: control.Digest{1, 2}, Code: 409, Object: []byte(`{"code":409}`)}
	if err := l.Put(key, want); err != nil {
		t.Fatal(err)
	}
	first := l
	l = open(3)
	got, found, err := l.Get(key)
	if err != nil || !found || got.Digest != want.Digest || got.Code != want.Code || string(got.Object) != string(want.Object) {
		t.Errorf("%+v, %v, %v", got, found, err)
	}
	if _, err := l.change(key, func(e *ledgerEntry) { e.Through = true }); err != nil {
		t.Fatal(err)
	}
	if err := first.Put(key, control.StoredReply{Code: 200, Object: []byte("{}")}); err != nil { // it has looked before, and stood still
		t.Fatal(err)
	}
	if e, err := l.read(key); err != nil || !e.Through || e.Reply == nil || e.Reply.Code != 409 {
		t.Errorf("%+v, %v", e, err)
	}
	lost := errors.New("lost")
	first.held = func() error { return lost }
	if err := errors.Join(first.Put(jobKey("b"), want), first.forget(time.Now().Add(time.Hour*2))); !errors.Is(err, lost) {
		t.Errorf("%v", err)
	}
	if _, found, _ := l.Get(jobKey("b")); found {
		t.Error("a process that has lost the jobs has written")
	}
	if err := l.forget(time.Now().Add(59 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, found, _ = l.Get(key); !found {
		t.Error("it went too early")
	}
	if err := l.forget(time.Now().Add(61 * time.Minute)); err != nil {
		t.Fatal(err)
	}
	if _, found, _ = l.Get(key); found {
		t.Error("it stays for ever")
	}
	if _, err := os.Stat(first.of(1)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("what is empty stays: %v", err)
	}
	write(t, filepath.Join(dir, ledgerName(key)), "{") // as versions without epochs have it
	if _, _, err := l.Get(key); err == nil {
		t.Error("half a file was read")
	}
}
