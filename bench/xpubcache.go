package bench

import (
	"context"
	"errors"
	"strings"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/lvc"
	"github.com/tapedeck/tapedeck/wire"
)

// lastValueCache is the last-value cache of the ZeroMQ guide (chapter 5, "Last
// Value Caching"): it sends on what comes in, keeps the last message of each topic,
// and sends it again when somebody subscribes to exactly that topic. XPUB sends to
// whoever has the topic, so everybody who has it gets it again.
//
// With manual, it is what libzmq's last-value mode makes of it: answers go to the
// joiner alone, as long as nobody leaves at that moment, and prefixes are answered.
type lastValueCache struct {
	sub, pub *zsock.Socket
	manual   bool
	values   map[string]*cachedValue
	in       *zsock.Inbox
	out      zsock.Outbox
	ended    bool
}

type cachedValue struct{ header, body []byte }

// xpubCache serves last values with XPUB, by the role's name in one of two ways.
func xpubCache(_ context.Context, job *Job, say func(ready) error) (res Result, err error) {
	ctx, err := zsock.NewContext(zsock.NoCPU)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, ctx.Close()) }()
	c := &lastValueCache{manual: job.Role == manuals, values: map[string]*cachedValue{}, in: zsock.NewInbox()}
	defer c.in.Close()
	// Queues without an end: the guide's cache has them of a thousand messages, and
	// loses what is more.
	if c.sub, err = ctx.NewSocket(zsock.SUB, zsock.SocketConfig{ReceiveQueue: -1}); err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, c.sub.Close()) }()
	c.pub, err = ctx.NewSocket(zsock.XPUB, zsock.SocketConfig{
		SendQueue: -1, ReceiveQueue: -1, Verbose: true, ManualLastValue: c.manual,
	})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, c.pub.Close()) }()
	endpoint, err := c.pub.Bind(wildcards(1)[0])
	if err != nil {
		return res, err
	}
	err = errors.Join(c.sub.Subscribe(""), c.sub.Connect(job.Endpoints[0]), say(ready{Endpoints: []string{endpoint}}))
	if err == nil {
		err = c.run(job)
	}
	return res, err
}

// run serves until the stream has ended and the measuring process says that nobody
// needs the cache any more.
func (c *lastValueCache) run(job *Job) error {
	poller := zsock.NewPoller(c.sub, c.pub)
	var ready []int
	for !c.ended {
		var err error
		if ready, err = poller.Wait(ready[:0], cacheWait); err != nil {
			return err
		}
		if err := c.forward(); err != nil {
			return err
		}
		if err := c.answer(); err != nil {
			return err
		}
	}
	return job.waitCue()
}

// forward takes in what has come, and sends it on.
func (c *lastValueCache) forward() error {
	err := c.sub.RecvMany(c.in, 1<<20, receiveBytes)
	if errors.Is(err, zsock.ErrAgain) {
		return nil
	}
	if err != nil {
		return err
	}
	for frames := c.in.Next(); frames != nil; frames = c.in.Next() {
		v := c.values[string(frames[0])]
		if v == nil {
			v = &cachedValue{}
			c.values[string(frames[0])] = v
		}
		v.header, v.body = append(v.header[:0], frames[1]...), append(v.body[:0], frames[2]...)
		c.ended = c.ended || string(frames[0]) == lvc.EndTopic
		c.put(frames[0], v, true)
	}
	return c.flush()
}

func (c *lastValueCache) put(topic []byte, v *cachedValue, last bool) {
	c.out.Frame(topic, false)
	c.out.Frame(v.header, false)
	c.out.Frame(v.body, last)
}

func (c *lastValueCache) flush() error {
	_, err := c.pub.SendMany(&c.out)
	return err
}

// answer answers the subscriptions that have come.
func (c *lastValueCache) answer() error {
	for {
		frame, err := c.pub.TryRecvFrame()
		if errors.Is(err, zsock.ErrAgain) {
			return c.flush()
		}
		if err != nil {
			return err
		}
		if len(frame) == 0 {
			continue // no word of a subscriber
		}
		switch subscribed := frame[0] == 1; {
		case c.manual:
			err = c.answerAlone(subscribed, frame[1:])
		case subscribed:
			if v := c.values[string(frame[1:])]; v != nil {
				c.put(frame[1:], v, true)
			}
		}
		if err != nil {
			return err
		}
	}
}

// answerAlone answers the peer that was heard last: the next message goes to nobody
// else, so there must be one whatever it said.
func (c *lastValueCache) answerAlone(subscribed bool, prefix []byte) error {
	h := wire.Plain{Kind: wire.KindNotice, Flags: wire.PlainSnapshot | wire.PlainEmpty | wire.PlainLast}
	nothing := &cachedValue{header: wire.AppendPlain(nil, &h)}
	if !subscribed {
		c.put([]byte{0, 0}, nothing, true) // a topic that nobody can have asked for
		return c.flush()
	}
	if err := c.pub.AcceptSubscription(prefix); err != nil {
		return err
	}
	var topics []string
	if c.values[string(prefix)] != nil && len(prefix) == len(benchTopic(0)) {
		topics = append(topics, string(prefix))
	} else {
		for topic := range c.values {
			if strings.HasPrefix(topic, string(prefix)) {
				topics = append(topics, topic)
			}
		}
	}
	if len(topics) == 0 {
		c.put(prefix, nothing, true)
	}
	for i, topic := range topics {
		v := c.values[topic]
		h, err := wire.ParsePlain(v.header)
		if err != nil {
			return err
		}
		h.Flags, h.Place = wire.PlainSnapshot, uint32(i)
		last := i == len(topics)-1
		if last {
			h.Flags |= wire.PlainLast
		}
		c.put([]byte(topic), &cachedValue{wire.AppendPlain(nil, &h), v.body}, last)
	}
	return c.flush()
}
