package bench

import (
	"context"
	"errors"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/replay"
)

// session is a publisher of this process whose subscribers are workers.
type session struct {
	pub     *publisher.Publisher
	players []*replay.Player // to be closed when the publisher holds nothing more
}

// playTo starts subscribers, waits until they receive, lets send send, ends the
// stream, and returns what each subscriber found, what was sent, and the CPU
// seconds of this process meanwhile.
func playTo(ctx context.Context, subscribers int, job Job, cfg publisher.Config, send func(*session) (uint64, error)) (res []Result, sent uint64, cpu float64, err error) {
	pub, err := publisher.New(cfg)
	if err != nil {
		return nil, 0, 0, err
	}
	s := &session{pub: pub}
	defer func() { err = errors.Join(err, s.close()) }()
	job.Endpoints = pub.Endpoints()
	workers, err := startWorkers(ctx, subscribers, job)
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() {
		for _, w := range workers {
			w.kill() // those whose result was not reached
		}
	}()
	if err := pub.WaitReaders(ctx, subscribers); err != nil {
		return nil, 0, 0, err
	}
	before, _ := usage()
	if sent, err = send(s); err != nil {
		return nil, sent, 0, err
	}
	if err := pub.End(ctx); err != nil {
		return nil, sent, 0, err
	}
	after, _ := usage()
	for len(workers) > 0 {
		r, err := workers[0].result()
		workers = workers[1:]
		if err != nil {
			return nil, sent, 0, err
		}
		res = append(res, r)
	}
	return res, sent, after - before, nil
}

func startWorkers(ctx context.Context, n int, job Job) ([]*worker, error) {
	var workers []*worker
	for range n {
		w, err := startWorker(ctx, job)
		if err != nil {
			for _, w := range workers {
				w.kill()
			}
			return nil, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

// play plays a tape to the session's readers, which are there, without ending
// the stream.
func (s *session) play(ctx context.Context, cfg replay.Config) (uint64, error) {
	rep, err := s.run(ctx, cfg)
	return rep.Records, err
}

// run is play with the player's whole report.
func (s *session) run(ctx context.Context, cfg replay.Config) (replay.Report, error) {
	cfg.Publisher = endless{s.pub}
	p, err := replay.New(cfg)
	if err != nil {
		return replay.Report{}, err
	}
	s.players = append(s.players, p)
	return p.Run(ctx)
}

// endless keeps a player from ending the stream: the session does.
type endless struct{ *publisher.Publisher }

// End does nothing.
func (endless) End(context.Context) error { return nil }

func (s *session) close() error {
	err := s.pub.Close()
	for _, p := range s.players {
		p.Close()
	}
	return err
}
