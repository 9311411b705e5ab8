package hostile

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zmtp"
)

// TestSessions: what is to come behind a handshake gets there, with keys and without,
// so a run that crashes nobody has not stopped at the door.
func TestSessions(t *testing.T) {
	server, client := rand.New(rand.NewPCG(1, 1)), rand.New(rand.NewPCG(2, 2))
	serverPublic, serverSecret := keyPair(server)
	clientPublic, clientSecret := keyPair(client)
	for name, lock := range map[string]*Lock{"plain": nil, "locked": {Server: serverPublic, Public: clientPublic, Secret: clientSecret}} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			var mu sync.Mutex
			var said, greeted, refused int
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					wg.Go(func() {
						defer conn.Close()
						var s *zmtp.Session
						if lock == nil {
							s, err = zmtp.Handshake(conn)
						} else {
							s, _, err = zmtp.HandshakeCurve(conn, &serverSecret, func(k [32]byte) error {
								if k != clientPublic {
									return errors.New("another key")
								}
								return nil
							})
						}
						mu.Lock()
						if err == nil {
							greeted++
						} else {
							refused++
						}
						mu.Unlock()
						for err == nil {
							var e zmtp.Event
							if e, err = s.Next(); err == nil && e.Kind == zmtp.Subscribe {
								mu.Lock()
								said++
								mu.Unlock()
							}
						}
						_, _ = io.Copy(io.Discard, conn)
					})
				}
			})
			tallies := Run(context.Background(), Config{Frames: 20_000, Seed: 7, Ports: []Port{{Name: name, Address: l.Addr().String(), Socket: "SUB", Lock: lock}}})
			_ = l.Close()
			wg.Wait()
			y := tallies[0]
			if y.Frames < 20_000 || y.Refused != 0 || greeted < connectionsMin/2 || refused < connectionsMin/4 || said < 1000 {
				t.Errorf("%+v: %d greeted, %d refused, %d subscriptions", y, greeted, refused, said)
			}
		})
	}
}

// TestSeed: the same seed says the same, and leaves the samples as they are.
func TestSeed(t *testing.T) {
	sample := [][]byte{[]byte("TPRS\x01\x01"), {}, bytes.Repeat([]byte("x"), 300)}
	kept := appendMessage(nil, sample)
	said := func() (b []byte) {
		r := rand.New(rand.NewPCG(1, 2))
		for range 1000 {
			b = appendMessage(b, mutate(r, sample))
			b = appendFrame(b, flagCommand, badReady(r, "DEALER"))
		}
		return b
	}
	if !bytes.Equal(said(), said()) {
		t.Error("the same seed says something else")
	}
	if !bytes.Equal(kept, appendMessage(nil, sample)) {
		t.Error("the sample has changed")
	}
}
