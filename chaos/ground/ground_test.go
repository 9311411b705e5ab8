package ground

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"testing"
	"time"
)

const child = "TAPEDECK_TEST_GROUND"

// TestMain is a host's program, too: one that answers, or one that asks.
func TestMain(m *testing.M) {
	what, address := os.Getenv(child), os.Getenv(child+"_AT")
	switch what {
	case "answer":
		l, err := net.Listen("tcp", address)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		fmt.Println("listening")
		for {
			conn, err := l.Accept()
			if err != nil {
				os.Exit(1)
			}
			_ = conn.Close()
		}
	case "ask":
		conn, err := net.DialTimeout("tcp", address, 700*time.Millisecond)
		if err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		_ = conn.Close()
		return
	}
	os.Exit(m.Run())
}

// ask reports whether one host gets a connection to another.
func ask(g *Ground, from int, address string) bool {
	cmd := g.Command(from, os.Args[0])
	cmd.Env = append(os.Environ(), child+"=ask", child+"_AT="+address)
	return cmd.Run() == nil
}

// TestGround: hosts reach each other where they may, in the networks in which they may.
func TestGround(t *testing.T) {
	g := New(t, 1, 2, "a", "b")
	cmd := g.Command(1, os.Args[0])
	cmd.Env = append(os.Environ(), child+"=answer", child+"_AT=0.0.0.0:9")
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	if line, err := bufio.NewReader(said).ReadString('\n'); err != nil || line != "listening\n" {
		t.Fatalf("%q, %v", line, err)
	}
	at := func(n int) string { return g.Address(n, 1) + ":9" }
	for n := range 2 {
		if !ask(g, 0, at(n)) {
			t.Fatalf("no connection in network %d", n)
		}
	}
	g.Set(1, 1, 0, Rule{Cut: true})
	if ask(g, 0, at(1)) {
		t.Error("a connection over a cable that is cut in one direction")
	}
	if !ask(g, 0, at(0)) {
		t.Error("the other network is cut, too")
	}
	g.Isolate(0, Rule{Delay: 100 * time.Millisecond})
	begun := time.Now()
	if !ask(g, 0, at(1)) || time.Since(begun) < 200*time.Millisecond {
		t.Errorf("after %v over two delays of 100 ms", time.Since(begun))
	}
	if sent, lost := g.Packets(1, 0); sent == 0 || lost == 0 {
		t.Errorf("%d packets through, %d lost", sent, lost)
	}
}

// TestLoss: a cable loses about as many packets as it is told to, the same ones each
// time.
func TestLoss(t *testing.T) {
	var runs [2][]int
	for run := range runs {
		c := newCable(7, 1)
		c.rule.Loss = 0.1
		for i := range 10_000 {
			c.take([]byte{byte(i)}, func([]byte) { runs[run] = append(runs[run], i) })
		}
		if n := len(runs[run]); n < 8800 || n > 9200 || c.sent != uint64(n) || c.lost != uint64(10_000-n) {
			t.Errorf("%d of 10,000 packets came through; counted %d and %d", n, c.sent, c.lost)
		}
	}
	for i := range min(len(runs[0]), len(runs[1])) {
		if runs[0][i] != runs[1][i] {
			t.Fatal("the same seed loses others")
		}
	}
}
