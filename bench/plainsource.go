package bench

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/feed/publisher"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// source is what a server of last values is fed by.
type source interface {
	sender
	Endpoints() []string
	WaitReaders(ctx context.Context, n int) error
	End(ctx context.Context) error
	Close() error
}

// newSource returns the source for a server: our own publisher for our own proxy,
// and for caches of the guide's kind messages as they go on sending them.
func newSource(server string) (source, error) {
	if server == ours {
		return publisher.New(publisher.Config{Endpoints: wildcards(1), Lossless: true})
	}
	return newPlainSource()
}

// plainSource sends each record as a message of its own, of topic, header and
// body, as the plain stream has it.
type plainSource struct {
	ctx      *zsock.Context
	socket   *zsock.Socket
	endpoint string
	out      zsock.Outbox
	header   wire.Plain
	encoded  []byte
}

// cacheWait bounds how long a cache may take to subscribe, and anybody to say
// something that must come: a bench that hangs tells nothing.
const cacheWait = 30 * time.Second

func newPlainSource() (*plainSource, error) {
	zctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return nil, err
	}
	s := &plainSource{ctx: zctx, header: wire.Plain{Epoch: 1, Shards: 1}}
	s.socket, err = zctx.NewSocket(zsock.XPUB, zsock.SocketConfig{SendQueue: -1, RecvTimeout: cacheWait, Linger: cacheWait})
	if err != nil {
		return nil, errors.Join(err, zctx.Close())
	}
	if s.endpoint, err = s.socket.Bind(wildcards(1)[0]); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Endpoints implements source.
func (s *plainSource) Endpoints() []string { return []string{s.endpoint} }

// WaitReaders implements source.
func (s *plainSource) WaitReaders(_ context.Context, n int) error {
	for range n {
		if _, err := s.socket.RecvFrames(); err != nil {
			return fmt.Errorf("bench: wait for a cache: %w", err)
		}
	}
	return nil
}

// Send implements source.
func (s *plainSource) Send(_ context.Context, _ int, b *wire.Batch, _ interface{ Release() }) error {
	w := b.Records()
	for w.Next() {
		r := w.Record()
		s.header.Event, s.header.Receive, s.header.TopicSeq, s.header.Kind = r.Event(), r.Receive(), r.TopicSeq(), r.Kind()
		s.frames(string(r.Topic()), r.Body())
		s.header.Seq++
	}
	_, err := s.socket.SendMany(&s.out)
	return errors.Join(w.Err(), err)
}

func (s *plainSource) frames(topic string, body []byte) {
	s.encoded = wire.AppendPlain(s.encoded[:0], &s.header)
	s.out.Frame([]byte(topic), false)
	s.out.Frame(s.encoded, false)
	s.out.Frame(body, true)
}

// End implements source.
func (s *plainSource) End(context.Context) error {
	s.header = wire.Plain{Kind: wire.KindNotice}
	s.frames(lvc.EndTopic, nil)
	_, err := s.socket.SendMany(&s.out)
	return err
}

// Close implements source. It waits until what was sent has gone out.
func (s *plainSource) Close() error { return errors.Join(s.socket.Close(), s.ctx.Close()) }
