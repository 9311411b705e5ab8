package resync

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// serverProcess is the environment variable that makes TestServerProcess a server
// for a benchmark: its value is how large a block is, records.
const serverProcess = "TAPEDECK_TEST_RESYNC_SERVER"

// benchRecords is what a benchmark's server has: 132 MB.
const benchRecords = 1_000_000

// TestServerProcess is no test but the other process of BenchmarkServerRefill. It
// serves until its standard input ends.
func TestServerProcess(t *testing.T) {
	var block wire.Seq
	var ahead int
	if _, err := fmt.Sscan(os.Getenv(serverProcess), &block, &ahead); err != nil {
		t.Skip("it serves a benchmark, in a process of its own")
	}
	src := newShelf(1, 5, benchRecords)
	src.block = block
	s, err := NewServer(ServerConfig{Endpoints: []string{"tcp://127.0.0.1:*"}, Refills: src, Ahead: ahead})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = os.Stdin.Read(make([]byte, 1))
		cancel()
	}()
	fmt.Println("endpoint", s.Endpoints()[0])
	if err := s.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

func startServerProcess(b testing.TB, block, ahead int) (endpoint string) {
	b.Helper()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(self, "-test.run=^TestServerProcess$")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d", serverProcess, block, ahead))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if e, ok := strings.CutPrefix(lines.Text(), "endpoint "); ok {
			return e
		}
	}
	b.Fatal("the server's process did not say where it is")
	return ""
}

// BenchmarkServerRefill is a million records of 132 bytes over tcp, from a server
// in another process: checksums are checked, credit is given back as it is used.
func BenchmarkServerRefill(b *testing.B) {
	const window = 8 << 20
	for _, block := range []int{500, 2000, 7000} {
		for _, ahead := range []int{1, 2, 4} {
			b.Run(fmt.Sprintf("block=%d/ahead=%d", block, ahead), func(b *testing.B) {
				p := newPeer(b, startServerProcess(b, block, ahead))
				b.SetBytes(benchRecords * 132)
				b.ReportAllocs()
				id := RequestID(0)
				for b.Loop() {
					id++
					q := refillOf(id, Span{5, 0, 0, benchRecords})
					q.Credit = window
					p.ask(q)
					in, used := incoming{id: id}, uint64(0)
					for in.next < benchRecords {
						p.want(CommandChunk, id)
						_, c, err := ParseChunk(p.in.Frame(0), p.in.Frame(1), p.in.Frame(2))
						if err != nil || c.FirstSeq != in.next {
							b.Fatalf("chunk from %d, %v", c.FirstSeq, err)
						}
						in.next = c.Next()
						if used += uint64(len(c.Payload)); used >= window/4 {
							p.send(AppendCredit(nil, id, used))
							used = 0
						}
					}
					p.want(CommandEnd, id)
				}
				b.StopTimer()
				b.ReportMetric(benchRecords*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
}

// BenchmarkServerClient is the same with a Client, which owns its socket on a
// goroutine of its own.
func BenchmarkServerClient(b *testing.B) {
	c := runClient(b, ClientConfig{Endpoints: []string{startServerProcess(b, 1900, 4)}})
	b.SetBytes(benchRecords * 132)
	b.ReportAllocs()
	for b.Loop() {
		n := uint64(0)
		to, _, err := c.Refill(context.Background(), Span{Epoch: 5, To: benchRecords}, func(batch *wire.Batch) error {
			n += uint64(batch.Count)
			return nil
		})
		if err != nil || to != benchRecords || n != benchRecords {
			b.Fatalf("came up to %d with %d records, %v", to, n, err)
		}
	}
	b.StopTimer()
	b.ReportMetric(benchRecords*float64(b.N)/b.Elapsed().Seconds(), "records/s")
}

// BenchmarkServerSmall is one refill of 100 records after the other: what a small
// gap takes to be asked for, read by the pool, and sent.
func BenchmarkServerSmall(b *testing.B) {
	p := newPeer(b, startServerProcess(b, 1900, 4))
	id := RequestID(0)
	for b.Loop() {
		id++
		p.ask(refillOf(id, Span{5, 0, 1000, 1100}))
		p.want(CommandChunk, id)
		p.want(CommandEnd, id)
	}
}

// BenchmarkServerSnapshot is the last values of 100,000 topics to one client.
func BenchmarkServerSnapshot(b *testing.B) {
	const topics = 100_000
	s, _ := runServer(b, ServerConfig{Snapshots: &values{n: topics}})
	p := newPeer(b, s.Endpoints()[0])
	id := RequestID(0)
	for b.Loop() {
		id++
		p.askSnapshot(snapshotOf(id))
		p.snapshot(id, topics)
	}
	b.StopTimer()
	b.ReportMetric(topics*float64(b.N)/b.Elapsed().Seconds(), "entries/s")
}
