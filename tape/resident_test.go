package tape

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// residentFileBytes is how much of files this process has mapped in memory.
func residentFileBytes(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skipf("no /proc: %v", err)
	}
	var kib int64
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "RssFile: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	t.Skip("this kernel does not say how much of files is resident")
	return 0
}

// A tape many times as large as what may stay resident is read twice; the blocks
// that are retained over all of it keep their bytes.
func TestReadingKeepsLittleResident(t *testing.T) {
	const blocks, body = 2000, 256 << 10 // 500 MiB
	dir := t.TempDir() + "/large.tape"
	w, err := Create(dir, Config{Codec: CodecPlain, BlockSize: body, SegmentSize: 64 << 20, SyncInterval: -1})
	if err != nil {
		t.Fatal(err)
	}
	f := wire.Fields{Topic: []byte("T"), Body: make([]byte, body)}
	for i := range blocks {
		f.Body[0], f.TopicSeq = byte(i), uint32(i)
		if err := w.AppendFields(At{Epoch: 1, Seq: wire.Seq(i), Ordinal: wire.Ordinal(i)}, &f); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	tp, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer tp.Close()
	first, err := tp.ReadBlock(0, false)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Release()
	before, most := residentFileBytes(t), int64(0)
	// As many blocks as may be on their way to a socket are read again later.
	var held []*Block
	for range 2 {
		r := tp.Reader(ReadConfig{})
		for n := 0; ; n++ {
			b, err := r.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b.Retain()
			if held = append(held, b); len(held) > 100 {
				touched += sum(held[0].Payload)
				held[0].Release()
				held = held[1:]
			}
			if got := b.Payload[len(b.Payload)-body]; got != byte(n) {
				t.Fatalf("block %d begins with %d", n, got)
			}
			if n%50 == 0 {
				tp.resident.settle()
				most = max(most, residentFileBytes(t)-before)
			}
		}
	}
	for _, b := range held {
		b.Release()
	}
	if limit := int64(residentKeep + 2*residentStep + 2*100*body); most > limit {
		t.Errorf("%d MiB of the tape were resident at one time, want at most %d", most>>20, limit>>20)
	}
	if first.Payload[len(first.Payload)-body] != 0 {
		t.Error("a retained block changed")
	}
}

// settle waits until everything that is due has been forgotten.
func (r *resident) settle() {
	for busy := true; busy; runtime.Gosched() {
		r.mu.Lock()
		busy = r.busy
		r.mu.Unlock()
	}
}

// touched keeps the reads of a test from being left out.
var touched int

func sum(b []byte) int {
	n := 0
	for i := 0; i < len(b); i += 4096 {
		n += int(b[i])
	}
	return n
}
