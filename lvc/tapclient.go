package lvc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// TapConfig says what of a proxy's traffic is wanted.
type TapConfig struct {
	// Endpoint of the proxy's tap.
	Endpoint string
	// Topics are prefixes, of records and of what is subscribed to. Default: all.
	Topics []string
	// Data and Subscriptions say which traffic. Default: both.
	Data, Subscriptions bool
	// Silence is how long the tap may say nothing, reports included, before Tap
	// returns ErrSilence. Default: for ever.
	Silence time.Duration
}

// ErrSilence: nothing came from a tap for TapConfig.Silence.
var ErrSilence = errors.New("lvc: the tap says nothing")

// Tapped is one thing that a tap shows: a record, or, where Event is not empty, what
// happened to a reader.
type Tapped struct {
	Topic  []byte     // of the record, or what was subscribed to
	Header wire.Plain // of the record
	Body   []byte     // of the record
	Event  TapEvent
	Peer   string     // the reader's address
	Time   wire.Nanos // of the event, by the proxy's clock
	// Dropped is how many messages the proxy has not shown so far, since its rate
	// did not allow, as it last said.
	Dropped uint64
}

// tapSlice is how long a receive waits before it looks at the context.
const tapSlice = 50 * time.Millisecond

// Tap shows what a proxy does, without disturbing it: f is called with everything
// that is wanted and that the proxy's rate lets through, until ctx ends, whose
// error it returns, or f returns an error. What f gets is borrowed until it
// returns.
func Tap(ctx context.Context, cfg TapConfig, f func(*Tapped) error) (err error) {
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, zctx.Close()) }()
	s, err := zctx.NewSocket(zsock.SUB, zsock.SocketConfig{RecvTimeout: tapSlice, ReceiveQueue: 100_000})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := s.Connect(cfg.Endpoint); err != nil {
		return fmt.Errorf("lvc: tap: %w", err)
	}
	for _, topic := range cfg.filters() {
		if err := s.Subscribe(topic); err != nil {
			return fmt.Errorf("lvc: tap: %w", err)
		}
	}
	var (
		t     Tapped
		heard = time.Now()
	)
	for ctx.Err() == nil {
		frames, err := s.RecvFrames()
		switch {
		case errors.Is(err, zsock.ErrAgain):
			if cfg.Silence > 0 && time.Since(heard) > cfg.Silence {
				return fmt.Errorf("%w for %v: %s", ErrSilence, cfg.Silence, cfg.Endpoint)
			}
			continue
		case err != nil:
			return fmt.Errorf("lvc: tap: %w", err)
		}
		wanted, err := t.parse(frames)
		if err != nil {
			return fmt.Errorf("lvc: tap %s: %w", cfg.Endpoint, err)
		}
		if heard = time.Now(); wanted {
			if err := f(&t); err != nil {
				return err
			}
		}
	}
	return context.Cause(ctx)
}

func (cfg *TapConfig) filters() []string {
	list := []string{tapReport}
	topics := distinct(cfg.Topics)
	for _, kind := range []struct {
		prefix string
		wanted bool
	}{{tapData, cfg.Data || !cfg.Subscriptions}, {tapSubscriptions, cfg.Subscriptions || !cfg.Data}} {
		for _, topic := range topics {
			if kind.wanted {
				list = append(list, kind.prefix+topic)
			}
		}
	}
	return list
}

// parse takes a message apart and reports whether there is something to show.
func (t *Tapped) parse(frames [][]byte) (bool, error) {
	if len(frames) != 3 {
		return false, fmt.Errorf("message of %d frames: not a tap", len(frames))
	}
	h, err := wire.ParsePlain(frames[1])
	if err != nil {
		return false, err
	}
	topic := string(frames[0])
	if topic == tapReport {
		var status tapStatus
		if err := json.Unmarshal(frames[2], &status); err != nil {
			return false, fmt.Errorf("report: %w", err)
		}
		t.Dropped = status.Dropped
		return false, nil
	}
	*t = Tapped{Header: h, Body: frames[2], Dropped: t.Dropped}
	if rest, ok := strings.CutPrefix(topic, tapData); ok {
		t.Topic = frames[0][len(topic)-len(rest):]
		return true, nil
	}
	var m tapMessage
	if err := json.Unmarshal(frames[2], &m); err != nil {
		return false, fmt.Errorf("event: %w", err)
	}
	t.Event, t.Peer, t.Time, t.Topic = m.Event, m.Peer, m.Time, []byte(strings.TrimPrefix(topic, tapSubscriptions))
	return true, nil
}
