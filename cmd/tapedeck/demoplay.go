package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// demoPlay is one play of the demo, seen from both ends.
type demoPlay struct {
	Play *playSummary `json:"play"`
	Sub  *subSummary  `json:"sub"`
}

func (d *demoPlay) text() string {
	state := "complete"
	if !d.Sub.Complete {
		state = "NOT COMPLETE"
	}
	text := fmt.Sprintf("%s records sent, %s received at %s records/s, %d gaps: %s",
		thousands(d.Play.Records), thousands(d.Sub.Records), thousands(uint64(d.Sub.PerSecond)), d.Sub.Gaps, state)
	if p := d.Play.Pacing; p != nil {
		text += fmt.Sprintf("; pacing error p50 %v p99 %v", round(p.P50), round(p.P99))
	}
	return text
}

// playDemo plays a tape to a subscriber that runs as another process. say, when
// not nil, is told once a second of tape how far it is.
func playDemo(ctx context.Context, out *output, t *tape.Tape, cfg replay.Config, say func(string, ...any)) (*demoPlay, error) {
	const shards = 2
	pub, err := publisher.New(publisher.Config{
		Endpoints: []string{"tcp://127.0.0.1:*", "tcp://127.0.0.1:*"}, Lossless: true,
		Session: wire.Session{Publisher: program(), Mode: "lossless", Speed: cfg.Speed.String()},
	})
	if err != nil {
		return nil, err
	}
	cfg.Tape, cfg.Publisher, cfg.Shards, cfg.Wait = t, pub, shards, 1
	player, err := replay.New(cfg)
	if err != nil {
		return nil, errors.Join(err, pub.Close())
	}
	defer player.Close()
	// The player waits for the subscriber; should that die, nobody may wait.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	child := make(chan subResult, 1)
	go func() {
		sum, err := runSubscriber(ctx, pub.Endpoints(), out)
		if err != nil {
			cancel(err)
		}
		child <- subResult{sum, err}
	}()
	stop := followTape(ctx, player.Progress(), say)
	rep, runErr := player.Run(ctx)
	stop()
	stats := pub.Stats()
	closeErr := pub.Close()
	if runErr != nil {
		cancel(runErr)
	}
	sub := <-child
	if runErr != nil && sub.err != nil && errors.Is(runErr, context.Canceled) {
		runErr = sub.err // the subscriber's end is the cause
	}
	if err := errors.Join(runErr, closeErr, sub.err); err != nil {
		return nil, err
	}
	return &demoPlay{newPlaySummary(&rep, &stats, cfg.Speed), sub.sum}, nil
}

type subResult struct {
	sum *subSummary
	err error
}

// runSubscriber runs tapedeck sub as another process and returns its summary.
func runSubscriber(ctx context.Context, endpoints []string, out *output) (*subSummary, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe, "sub", "--json", "--name", "demo",
		"--shards", fmt.Sprint(len(endpoints)), "--connect", strings.Join(endpoints, ","))
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stderr = out.err
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the subscriber: %w", err)
	}
	var sum *subSummary
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Type string `json:"message_type"`
			subSummary
		}
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Type == "sub.summary" {
			sum = &line.subSummary
		}
	}
	err = errors.Join(lines.Err(), cmd.Wait())
	if sum == nil {
		return nil, errors.Join(errors.New("the subscriber ended without a summary"), err)
	}
	return sum, nil // its own verdict is in the summary
}

// followTape says once a second how far a player is.
func followTape(ctx context.Context, p *replay.Progress, say func(string, ...any)) (stop func()) {
	if say == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if at := p.Time.Load(); at != 0 {
					say("            tape at %s   %s records", wire.Nanos(at).Time().Format("15:04:05.000"), thousands(p.Records.Load()))
				}
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}
