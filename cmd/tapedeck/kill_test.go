package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// TestRecordKilled kills a recording process at random moments while a stream
// goes on. Every tape it leaves opens, verifies, has the records of the stream
// from the first one on without a hole, and lacks no more than what came after
// the last moment at which the stream had paused for as long as the recorder
// needs to make everything safe.
//
// That is the promise of --sync, put without a clock. The promise has a time in
// it, and on a machine with more to do than it can, no process keeps a time. So
// the test does not measure how long the recorder took. It sends a burst, sends
// nothing more, and looks at the tape on disk, as any reader may, until the burst
// is there: nothing but the sync interval can have made it so, since nothing else
// happens. A recorder that kept its last records until more came would hang the
// test here. From there on these records must survive any kill. The worst time
// from sending to safe is logged, for people.
func TestRecordKilled(t *testing.T) {
	kills := 50
	if testing.Short() {
		kills = 10
	}
	const syncEvery = 20 * time.Millisecond
	worst := time.Duration(0)
	for round := range kills {
		r := rand.New(rand.NewPCG(uint64(round), 1))
		k := &kill{t: t, r: r, dir: filepath.Join(t.TempDir(), "k.tape"), program: round%10 == 0}
		worst = max(worst, k.run(syncEvery))
	}
	t.Logf("%d kills; the longest from sending to safe on disk was %v, with a sync interval of %v", kills, worst, syncEvery)
}

// kill is one round: a publisher in this process, and a recorder that is killed.
type kill struct {
	t    *testing.T
	r    *rand.Rand
	dir  string
	pub  *publisher.Publisher
	sent uint32

	program bool // let the program look at the tape, too
}

func (k *kill) run(syncEvery time.Duration) (worst time.Duration) {
	var err error
	k.pub, err = publisher.New(publisher.Config{
		Endpoints: []string{"ipc://" + filepath.Join(filepath.Dir(k.dir), "s")}, Lossless: true,
		Session: wire.Session{Publisher: "test"},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	record := start(k.t, "record", "--connect", k.pub.Endpoints()[0], "-o", k.dir, "--sync", syncEvery.String(), "--block-size", fmt.Sprint(1<<(10+k.r.IntN(8))))
	if err := k.pub.WaitReaders(k.t.Context(), 1); err != nil {
		k.t.Fatal(err)
	}
	for range k.r.IntN(3) {
		k.burst(1 + k.r.IntN(40))
		from := time.Now()
		for k.onDisk() < k.sent {
			if err := k.pub.Tick(k.t.Context()); err != nil {
				k.t.Fatal(err)
			}
			time.Sleep(time.Millisecond) // be no busier than a reader would
		}
		worst = max(worst, time.Since(from))
	}
	safe := k.sent
	// The last burst goes on around the kill.
	k.burst(k.r.IntN(60))
	if k.r.IntN(2) == 0 {
		time.Sleep(time.Duration(k.r.Int64N(int64(2 * syncEvery)))) // any moment between two syncs
	}
	record.signal(os.Kill)
	k.burst(k.r.IntN(5))
	record.end()
	k.check(safe)
	if err := k.pub.Close(); err != nil {
		k.t.Fatal(err)
	}
	return worst
}

// burst sends batches of records that are numbered through in their bodies.
func (k *kill) burst(batches int) {
	for range batches {
		var b wire.Batch
		b.FirstOrdinal = wire.Ordinal(k.sent)
		for range 1 + k.r.IntN(100) {
			f := wire.Fields{Topic: []byte("KILL"), Body: binary.LittleEndian.AppendUint32(make([]byte, 0, 64), k.sent), Event: wire.Nanos(k.sent), Receive: wire.Nanos(k.sent), TopicSeq: k.sent}
			f.Body = f.Body[:4+k.r.IntN(60)]
			var err error
			if b.Payload, err = wire.AppendRecord(b.Payload, &f); err != nil {
				k.t.Fatal(err)
			}
			k.sent++
			b.Count++
		}
		b.CRC = wire.CRC(b.Payload, nil)
		if err := k.pub.Send(k.t.Context(), 0, &b, nil); err != nil {
			k.t.Fatal(err)
		}
	}
}

// onDisk is how many records a reader finds on the tape that is being written.
func (k *kill) onDisk() uint32 {
	tp, err := tape.Open(k.dir)
	if err != nil {
		k.t.Fatalf("a tape that is being written does not open: %v", err)
	}
	defer tp.Close()
	if tp.Blocks() == 0 {
		return 0
	}
	last := tp.Block(tp.Blocks() - 1)
	return uint32(last.Next())
}

// check holds what the kill has left to the promise.
func (k *kill) check(safe uint32) {
	k.t.Helper()
	rep, err := tape.Verify(k.t.Context(), k.dir, nil)
	if err != nil || !rep.OK() || len(rep.Gaps) != 0 {
		k.t.Fatalf("verify: %v, %+v", err, rep)
	}
	tp, err := tape.Open(k.dir)
	if err != nil {
		k.t.Fatal(err)
	}
	r := tp.Records(tape.ReadConfig{})
	n := uint32(0)
	for ; r.Next(); n++ {
		if at := r.At(); at.Seq != wire.Seq(n) || binary.LittleEndian.Uint32(r.Record().Body()) != n {
			k.t.Fatalf("record %d of the tape is number %d of the stream, sequence %d", n, binary.LittleEndian.Uint32(r.Record().Body()), at.Seq)
		}
	}
	if err := errors.Join(r.Err(), r.Close(), tp.Close()); err != nil {
		k.t.Fatal(err)
	}
	if n < safe || n > k.sent {
		k.t.Errorf("%d records on the tape; %d had been safe, %d were sent", n, safe, k.sent)
	}
	// The program agrees, and closes the tape. Its processes take longer to start
	// than all the rest, so this is done for some of the tapes.
	if !k.program {
		return
	}
	tapedeck(k.t, "verify", k.dir)
	tapedeck(k.t, "repair", k.dir)
	if m := summary(k.t, tapedeck(k.t, "verify", k.dir, "--json"), "verify.summary"); m["closed"] != true || m["records"] != float64(n) {
		k.t.Errorf("after repair: %v", m)
	}
}
