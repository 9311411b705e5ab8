package freelance

import (
	"errors"
	"testing"

	"github.com/tapedeck/tapedeck/internal/zsock"
)

// startEnvelopeServer is a server of model 2, which answers "re" and what it got.
func startEnvelopeServer(t *testing.T, at string) {
	t.Helper()
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ctx.NewSocket(zsock.REP, zsock.SocketConfig{RecvTimeout: 10 * 1e6})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Bind(at); err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
			}
			m, err := s.RecvFrames()
			if errors.Is(err, zsock.ErrAgain) {
				continue
			}
			if err == nil {
				err = s.SendFrames(append([][]byte{m[0], []byte("re")}, m[1:]...)...)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-ended
		if err := errors.Join(s.Close(), ctx.Close()); err != nil {
			t.Error(err)
		}
	})
}
