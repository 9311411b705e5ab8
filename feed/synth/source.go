package synth

import (
	"fmt"
	"io"
	"strconv"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/wire"
)

// Name is the format's name in a feed.Encoding.
const Name = "synth"

const (
	topicsPerLetter = 9999
	// TopicsMax is the largest number of topics: SYN.A0001 to SYN.Z9999.
	TopicsMax = 26 * topicsPerLetter

	topicLen     = len("SYN.A0001")
	padBits      = 16
	tick         = 10_000_000 // 0.01 in 1e-9
	priceMin     = 100 * tick
	latencyMin   = 2_000 // ns
	latencyBits  = 14
	tradesOneIn  = 8
	priceSpread  = 49_000 // ticks between the lowest and highest first price
	numberOfPads = 1 << padBits
)

// moves are the steps of a price's random walk, in ticks.
var moves = [16]int8{-3, -2, -1, -1, -1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 2, 3}

// Source generates records. It implements feed.Source.
type Source struct {
	rng      splitMix
	clock    clock
	popular  popularity
	topics   []topic
	names    []byte // topic names, topicLen bytes each
	pad      []byte // padding is cut from here
	body     []byte // of the current record
	sizeMin  uint64
	sizes    uint64 // number of possible sizes
	number   uint64 // of the next record
	limit    uint64 // number of records
	duration uint64 // ns
	start    wire.Nanos
	rec      feed.Record
	enc      feed.Encoding
}

// topic is what changes with each record of a topic.
type topic struct {
	price int64
	count uint32
}

// New returns a generator.
func New(cfg Config) (*Source, error) {
	if err := cfg.fill(); err != nil {
		return nil, err
	}
	s := &Source{
		rng:     splitMix(cfg.Seed),
		clock:   newClock(&cfg),
		popular: newPopularity(cfg.Topics, cfg.Zipf),
		topics:  make([]topic, cfg.Topics),
		names:   make([]byte, 0, cfg.Topics*topicLen),
		pad:     make([]byte, 0, numberOfPads+cfg.BodySizeMax+8),
		body:    make([]byte, cfg.BodySizeMax),
		sizeMin: uint64(cfg.BodySizeMin), sizes: uint64(cfg.BodySizeMax-cfg.BodySizeMin) + 1,
		limit: cfg.Records, duration: uint64(cfg.Duration), start: cfg.Start,
		enc: feed.Encoding{Format: Name, Detail: map[string]string{
			"version": strconv.Itoa(layoutVersion), "seed": strconv.FormatUint(cfg.Seed, 10),
		}},
	}
	if s.limit == 0 {
		s.limit = 1<<64 - 1
	}
	if s.duration == 0 {
		s.duration = min(uint64(wire.NanosMax-s.start)-timeReserve, durationMax)
	}
	s.rec.Receive = wire.NanosMin
	for i := range s.topics {
		s.topics[i].price = priceMin + int64(below(s.rng.next(), priceSpread))*tick
		s.names = fmt.Appendf(s.names, "SYN.%c%04d", 'A'+i/topicsPerLetter, i%topicsPerLetter+1)
	}
	for len(s.pad) < numberOfPads+cfg.BodySizeMax {
		r := s.rng.next()
		s.pad = append(s.pad, byte(r), byte(r>>8), byte(r>>16), byte(r>>24), byte(r>>32), byte(r>>40), byte(r>>48), byte(r>>56))
	}
	return s, nil
}

// Encoding implements feed.Source.
func (s *Source) Encoding() feed.Encoding { return s.enc }

// Next implements feed.Source. It allocates nothing.
func (s *Source) Next() (*feed.Record, error) {
	if s.number >= s.limit {
		return nil, io.EOF
	}
	// One number gives the topic; the bits of the other give the rest:
	//
	//	63-52 gap   51-49 trade or quote   48 side   47-44 price move
	//	43-38 size  37-24 latency          23-16 unused   15-0 padding
	a, b := s.rng.next(), s.rng.next()
	if s.clock.advance(&s.rng, b>>52, s.duration); s.clock.ns >= s.duration {
		s.limit = s.number
		return nil, io.EOF
	}
	n := s.popular.draw(a)
	t := &s.topics[n]
	if t.price += int64(moves[b>>44&15]) * tick; t.price < priceMin {
		t.price = 2*priceMin - t.price
	}
	h := Head{Number: s.number, Topic: n, TopicNumber: t.count, Price: t.price, Size: uint32(b>>38&63+1) * 100, Side: 'B'}
	kind, offer := wire.KindTrade, int64(0)
	if b>>49&(tradesOneIn-1) != 0 {
		kind, offer = wire.KindQuote, tick // quotes lie one tick beside the price
	}
	if b>>48&1 != 0 {
		h.Side, h.Price = 'A', h.Price+offer
	} else {
		h.Price -= offer
	}
	s.number++
	t.count++
	body := s.body
	if s.sizes > 1 {
		body = body[:s.sizeMin+below(s.rng.next(), s.sizes)]
	}
	putHead(body, &h)
	pad := b & (numberOfPads - 1)
	copy(body[HeadSize:], s.pad[pad:])

	r := &s.rec
	r.Topic, r.Body, r.Kind = s.names[int(n)*topicLen:][:topicLen:topicLen], body, kind
	r.Event = s.start + wire.Nanos(s.clock.ns)
	// A capture's receive times never run backwards.
	r.Receive = max(r.Receive, r.Event+latencyMin+wire.Nanos(b>>24&(1<<latencyBits-1)))
	return r, nil
}
