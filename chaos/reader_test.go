package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// readerEnv makes this test binary a reader of the plain stream at two endpoints.
const readerEnv = "TAPEDECK_CHAOS_READER"

// pairReader reads the plain streams of a pair by the rules of docs/WIRE.md, section 12.
type pairReader struct {
	Type     string `json:"message_type"`
	Records  uint64 `json:"records"`
	Repeated uint64 `json:"repeated"` // and dropped
	Missing  int    `json:"missing"`  // holes before the greatest sequence that came
	Next     uint64 `json:"next"`     // everything before it came
	Ended    bool   `json:"ended"`
	Bad      string `json:"bad"`

	epoch wire.Epoch
	next  wire.Seq
	most  wire.Seq          // after the greatest that came
	ahead map[wire.Seq]bool // beyond next
}

func runReader(endpoints []string) int {
	r := &pairReader{Type: "reader", ahead: map[wire.Seq]bool{}}
	if err := r.run(endpoints); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// run reads until SIGTERM, and says ten times a second how far it is.
func (r *pairReader) run(endpoints []string) error {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return err
	}
	s, err := ctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: 20 * time.Millisecond, ReceiveQueue: -1})
	if err != nil {
		return err
	}
	for _, e := range endpoints {
		err = errors.Join(err, s.Connect(e))
	}
	if err := errors.Join(err, s.Subscribe("")); err != nil {
		return err
	}
	told := make(chan os.Signal, 1)
	signal.Notify(told, syscall.SIGTERM)
	said := time.Time{}
	for out := json.NewEncoder(os.Stdout); ; {
		if time.Since(said) > 100*time.Millisecond {
			said, r.Next, r.Missing = time.Now(), uint64(r.next), int(r.most-r.next)-len(r.ahead)
			if err := out.Encode(r); err != nil {
				return err
			}
		}
		select {
		case <-told:
			return errors.Join(s.Close(), ctx.Close())
		default:
		}
		for range 1000 {
			frames, err := s.RecvFrames()
			if errors.Is(err, zsock.ErrAgain) {
				break
			}
			if err != nil {
				return err
			}
			r.message(frames)
		}
	}
}

// message takes what is no last value and no notice, but for the stream's end.
func (r *pairReader) message(frames [][]byte) {
	if len(frames)%3 != 0 || len(frames) == 0 {
		r.Bad = fmt.Sprintf("a message of %d frames", len(frames))
		return
	}
	h, err := wire.ParsePlain(frames[1])
	switch {
	case err != nil:
		r.Bad = err.Error()
	case string(frames[0]) == lvc.EndTopic:
		r.Ended = true
	case h.Kind != wire.KindNotice && h.Flags&wire.PlainSnapshot == 0:
		r.take(h.Epoch, h.Seq)
	}
}

// take takes a record, once.
func (r *pairReader) take(epoch wire.Epoch, seq wire.Seq) {
	if r.epoch == 0 {
		r.epoch = epoch
	}
	if epoch != r.epoch {
		r.Bad = fmt.Sprintf("epoch %d after %d", epoch, r.epoch)
		return
	}
	if seq < r.next || r.ahead[seq] {
		r.Repeated++
		return
	}
	r.Records++
	r.most = max(r.most, seq+1)
	if seq > r.next {
		r.ahead[seq] = true
		return
	}
	for r.next++; r.ahead[r.next]; r.next++ {
		delete(r.ahead, r.next)
	}
}
