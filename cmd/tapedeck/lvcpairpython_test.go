package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock/zsocktest"
)

// TestPairPython: a client in another language, written from docs/WIRE.md alone, reads
// both of a pair, of which the active one is killed, and has every record once.
func TestPairPython(t *testing.T) {
	python := zsocktest.Python(t)
	p := startPair(t)
	cmd := exec.Command(python, "../../examples/python/pair_subscriber.py", p.plains[0], p.plains[1])
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // where the test ends early
	p.outsider = 1
	p.playTo(1, 2_000)
	for range 2 {
		active := p.turn()
		took := p.newRecords(time.Now().Add(10 * time.Millisecond))
		p.members[active].signal(os.Kill)
		p.members[active].code()
		took()
		p.begin(active)
	}
	p.finish()
	err := cmd.Wait()
	t.Logf("python: %s", &out)
	var got struct {
		Records   uint64 `json:"records"`
		Repeated  uint64 `json:"repeated"`
		Missing   uint64 `json:"missing"`
		Refused   uint64 `json:"refused"`
		Takeovers uint64 `json:"takeovers"`
		Topics    uint64 `json:"topics"`
	}
	if err := errors.Join(err, json.Unmarshal(out.Bytes(), &got)); err != nil {
		t.Fatal(err)
	}
	// A machine that is too busy may see more of them.
	if got.Records != p.all[0].records || got.Missing != 0 || got.Refused != 0 || got.Takeovers < 2 || got.Topics == 0 {
		t.Errorf("the Python reader has %+v; the other one %d records", got, p.all[0].records)
	}
	p.stop()
}
