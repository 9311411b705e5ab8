package bench

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
	"github.com/tapedeck/tapedeck/tape"
)

// serving is tapedeck serve in a process of its own, a client of its bus, and a deck
// that it has open.
type serving struct {
	cmd    *exec.Cmd
	said   bytes.Buffer // its remarks
	bus    string
	client *majordomo.Client
	*control.Client
	deck control.DeckState
}

// serve starts tapedeck serve over the tapes of a directory.
func (cfg *ControlConfig) serve(ctx context.Context, dir string) (_ *serving, err error) {
	s := &serving{}
	args := append(cfg.Serve[1:len(cfg.Serve):len(cfg.Serve)], "--json", "--only", "broker,state,decks", "--tapes", dir,
		"--bus", wildcards(1)[0], "--state", wildcards(1)[0], "--metrics", "")
	s.cmd = exec.CommandContext(ctx, cfg.Serve[0], args...)
	s.cmd.Stderr = &s.said
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: start %v: %w", cfg.Serve, err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	var says struct {
		Bus string `json:"bus"`
	}
	if err == nil {
		err = json.Unmarshal(line, &says)
	}
	if err == nil {
		s.client, err = majordomo.NewClient(majordomo.ClientConfig{Endpoints: []string{says.Bus}, Tries: 10})
	}
	if err != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		return nil, fmt.Errorf("bench: serve: %w: %s", err, s.said.Bytes())
	}
	s.bus, s.Client = says.Bus, control.NewClient(s.client)
	return s, nil
}

// open opens a deck that is to play a tape over and over.
func (s *serving) open(ctx context.Context, tape string) error {
	args := control.DeckOpen{Deck: "bench", Tapes: []string{tape}, Bind: wildcards(1)[0], ResyncBind: "off", Passes: -1, Paused: true}
	var d control.DeckResult
	if err := s.Do(ctx, control.ServiceDeck, "open", args, &d); err != nil {
		return err
	}
	s.deck = d.DeckState
	return nil
}

// tell gives the deck a command.
func (s *serving) tell(ctx context.Context, command string, args any) (d control.DeckResult, err error) {
	err = s.Do(ctx, control.ServiceDeck, command, args, &d)
	return d, err
}

// awaitReaders waits until the deck has so many readers.
func (s *serving) awaitReaders(ctx context.Context, n int) error {
	for {
		d, err := s.tell(ctx, "state", nil)
		if err != nil || d.Readers >= n {
			return err
		}
	}
}

// close ends serve, which must end in order.
func (s *serving) close() error {
	err := errors.Join(s.client.Close(), s.cmd.Process.Signal(unix.SIGTERM))
	if ended := s.cmd.Wait(); ended != nil {
		err = errors.Join(err, fmt.Errorf("bench: serve: %w: %s", ended, s.said.Bytes()))
	}
	return err
}

// servedTape makes the tape that decks play, and returns its name.
func (cfg *ControlConfig) servedTape(ctx context.Context, dir string, rate, seconds float64) (string, error) {
	t, err := makeTape(ctx, dir, tapeSpec{
		records: uint64(rate * seconds), topics: cfg.Topics, size: cfg.RecordBytes, shards: 1, codec: tape.CodecDefault, rate: rate,
	})
	if err != nil {
		return "", err
	}
	return filepath.Base(t.Dir()), t.Close()
}
