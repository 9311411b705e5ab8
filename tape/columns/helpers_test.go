package columns

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// block makes payloads record by record.
type block struct {
	t       testing.TB
	payload []byte
	seqs    map[string]uint32
}

func (b *block) add(topic string, kind wire.Kind, event, receive wire.Nanos, body []byte) {
	b.t.Helper()
	if b.seqs == nil {
		b.seqs = map[string]uint32{}
	}
	b.seqs[topic]++
	f := wire.Fields{Topic: []byte(topic), Body: body, Event: event, Receive: receive, TopicSeq: b.seqs[topic], Kind: kind}
	var err error
	if b.payload, err = wire.AppendRecord(b.payload, &f); err != nil {
		b.t.Fatal(err)
	}
}

// feedBlock makes records as a feed has them: order messages with a symbol, a
// price in ticks, an order number and the times, in both byte orders; and
// trades, text and a rare shape among them.
func feedBlock(t testing.TB, records int) []byte {
	b := &block{t: t}
	rng := rand.New(rand.NewPCG(1, 2))
	var prices [50]int64
	var body [64]byte
	at, order := wire.Nanos(1_700_000_000_000_000_000), uint64(7_000_000_000)
	for i := range records {
		n := rng.IntN(len(prices))
		symbol := fmt.Sprintf("S%d", n*n)
		at += wire.Nanos(rng.IntN(100_000))
		receive := at + 50_000 + wire.Nanos(rng.IntN(9000))
		prices[n] += int64(rng.IntN(5)-2) * 250
		order += uint64(rng.IntN(50))
		body = [64]byte{0: 'A', 1: byte(rng.IntN(2))}
		binary.BigEndian.PutUint64(body[2:], uint64(at))
		copy(body[10:18], symbol+"        ")
		binary.LittleEndian.PutUint64(body[18:], uint64(1_000_000+int64(n)*77_000+prices[n]))
		binary.BigEndian.PutUint64(body[26:], order)
		binary.LittleEndian.PutUint32(body[34:], uint32(rng.IntN(20)*100))
		binary.LittleEndian.PutUint64(body[38:], uint64(receive))
		for k := 46; k < 54; k++ {
			body[k] = byte(rng.Uint32())
		}
		switch {
		case i%97 == 5:
			b.add("X."+symbol, wire.KindTrade, at, receive, fmt.Appendf(nil, `{"price":%d,"n":%d}`, prices[n], i))
		case i == 20:
			b.add("X."+symbol, wire.KindStatus, at-1<<60, receive, []byte{1, 2, 3})
		default:
			b.add("X."+symbol, wire.KindOrder, at, receive, body[:54])
		}
	}
	return b.payload
}
