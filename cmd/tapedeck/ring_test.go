package main

import (
	"bufio"
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// A flight recorder writes dumps on a signal and on a file, and loses nothing:
// every dump, and the ring, has the stream without a hole.
func TestRing(t *testing.T) {
	dir := t.TempDir()
	trigger := filepath.Join(dir, "trigger")
	k := &kill{t: t, r: rand.New(rand.NewPCG(7, 7)), dir: filepath.Join(dir, "flight", ringName)}
	var err error
	k.pub, err = publisher.New(publisher.Config{
		Endpoints: []string{"ipc://" + filepath.Join(dir, "s")}, Lossless: true, Session: wire.Session{Publisher: "test"},
	})
	if err != nil {
		t.Fatal(err)
	}
	record := start(t, "record", "--json", "--connect", k.pub.Endpoints()[0], "-o", filepath.Join(dir, "flight"),
		"--ring", "1h", "--dump-on", "SIGUSR1", "--trigger", trigger, "--sync", "5ms", "--block-size", "2048")
	stdout := bufio.NewScanner(record.stdout)
	if err := k.pub.WaitReaders(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if !record.stderr.await("keeping the last 1h0m0s") {
		t.Fatal(record.stderr)
	}
	ask := []func(){
		func() { record.signal(syscall.SIGUSR1) },
		func() { touch(t, trigger, "1") },
		func() { touch(t, trigger, "2") },
		func() { record.signal(syscall.SIGUSR1) },
	}
	for i, request := range ask {
		k.burst(40)
		k.awaitOnDisk()
		known := k.sent
		k.burst(20) // on its way while the dump is made
		request()
		dump := readDump(t, stdout)
		if uint32(dump.Records) < known {
			t.Fatalf("dump %d has %d records; %d were on disk", i, dump.Records, known)
		}
		d := &kill{t: t, dir: dump.Tape, sent: k.sent, program: i == 0}
		d.check(known)
	}
	k.awaitOnDisk()
	record.signal(os.Interrupt)
	var last map[string]any
	for stdout.Scan() {
		if err := json.Unmarshal(stdout.Bytes(), &last); err != nil {
			t.Fatal(err)
		}
	}
	if code := record.code(); code != exitInterrupted || last["message_type"] != "record.summary" || last["records"] != float64(k.sent) || last["lost"] != 0.0 {
		t.Errorf("exit code %d, %v\n%v", code, last, record.stderr)
	}
	k.check(k.sent)
	if err := k.pub.Close(); err != nil {
		t.Fatal(err)
	}
}

func touch(t *testing.T, name, content string) {
	t.Helper()
	if err := os.WriteFile(name+".new", []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		t.Fatal(err)
	}
}

// awaitOnDisk waits until everything that was sent is on the tape.
func (k *kill) awaitOnDisk() {
	for k.onDisk() < k.sent {
		if err := k.pub.Tick(k.t.Context()); err != nil {
			k.t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // be no busier than a reader would
	}
}

func readDump(t *testing.T, stdout *bufio.Scanner) *dumpDone {
	t.Helper()
	if !stdout.Scan() {
		t.Fatal("the recorder has ended")
	}
	var d struct {
		Type string `json:"message_type"`
		dumpDone
	}
	if err := json.Unmarshal(stdout.Bytes(), &d); err != nil || d.Type != "record.dump" {
		t.Fatalf("%s: %v", stdout.Bytes(), err)
	}
	return &d.dumpDone
}

func TestKeepFlags(t *testing.T) {
	for _, tc := range []struct {
		flags keepFlags
		want  tape.Config
		bad   bool
	}{
		{flags: keepFlags{}, want: tape.Config{}},
		{flags: keepFlags{size: "100GB", age: 24 * time.Hour}, want: tape.Config{Retain: tape.RetainConfig{Size: 100e9, Age: 24 * time.Hour}}},
		{flags: keepFlags{size: "1.5Gi"}, want: tape.Config{Retain: tape.RetainConfig{Size: 3 << 29}}},
		{flags: keepFlags{size: " 64 MiB"}, want: tape.Config{Retain: tape.RetainConfig{Size: 64 << 20}}},
		{flags: keepFlags{size: "1000"}, want: tape.Config{Retain: tape.RetainConfig{Size: 1000}}},
		{flags: keepFlags{ring: 10 * time.Minute, dumpOn: "USR2"}, want: tape.Config{Retain: tape.RetainConfig{Age: 10 * time.Minute}, SegmentDuration: time.Minute}},
		{flags: keepFlags{ring: -1}, bad: true},
		{flags: keepFlags{age: -1}, bad: true},
		{flags: keepFlags{ring: 1, age: 1}, bad: true},
		{flags: keepFlags{dumpOn: "SIGUSR1"}, bad: true},
		{flags: keepFlags{trigger: "x"}, bad: true},
		{flags: keepFlags{ring: 1, dumpOn: "SIGKILL"}, bad: true},
		{flags: keepFlags{size: "GB"}, bad: true},
		{flags: keepFlags{size: "-1"}, bad: true},
		{flags: keepFlags{size: "0"}, bad: true},
		{flags: keepFlags{size: "1e30T"}, bad: true},
		{flags: keepFlags{size: "NaN"}, bad: true},
	} {
		var cfg tape.Config
		err := tc.flags.config(&cfg)
		if tc.bad != (err != nil) || !tc.bad && (cfg.Retain != tc.want.Retain || cfg.SegmentDuration != tc.want.SegmentDuration) {
			t.Errorf("%+v: %+v, %v", tc.flags, cfg, err)
		}
	}
}
