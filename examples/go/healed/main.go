// Healed is a subscriber of the shard stream that fills its own gaps: every record
// comes once and in order, whatever the connection does, or is told as lost.
//
//	tapedeck play day.tape --resync-bind tcp://127.0.0.1:7300
//	go run ./examples/go/healed -resync tcp://127.0.0.1:7300 tcp://127.0.0.1:7100
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"strings"
	"sync"

	"github.com/tapedeck/tapedeck/resync"
	"github.com/tapedeck/tapedeck/subscriber"
	"github.com/tapedeck/tapedeck/wire"
)

func main() {
	servers := flag.String("resync", "tcp://127.0.0.1:7300", "who to ask for what is missing, separated by commas")
	fromStart := flag.Bool("from-start", false, "begin with the first record of what is being played")
	flag.Parse()
	if flag.NArg() == 0 {
		log.Fatal("usage: healed [flags] ENDPOINT...   one endpoint per shard")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, flag.Args(), strings.Split(*servers, ","), *fromStart); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, shards, servers []string, fromStart bool) error {
	client, err := resync.NewClient(resync.ClientConfig{Endpoints: servers})
	if err != nil {
		return err
	}
	c := &counter{shards: make([]tally, len(shards))}
	healer, err := resync.NewHealer(resync.HealerConfig{
		Shards: len(shards), Client: client, Start: resync.Start{Epoch: fromStart},
		Warn: func(shard int, err error) { log.Printf("shard %d: %v", shard, err) },
	}, c)
	if err != nil {
		return err
	}
	sub, err := subscriber.New(subscriber.Config{Endpoints: shards, Name: "healed"}, healer)
	if err != nil {
		return err
	}
	// Client and healer work beside the receive loops, until everything is handed on.
	beside, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { _ = client.Run(beside) })
	wg.Go(func() { _ = healer.Run(beside) })
	defer wg.Wait()
	defer stop()
	err = sub.Run(ctx)
	if err == nil {
		err = healer.Settle(ctx)
	}
	c.report(healer.Stats())
	return err
}

// counter is where a program of yours would be. Its methods are called for one
// record after the other of each shard, and for several shards at once.
type counter struct{ shards []tally }

type tally struct {
	records, bytes, lost uint64
	ended, complete      bool
	_                    [32]byte // keep neighbours off each other's cache line
}

// HandleBatch takes records. They are borrowed until return.
func (c *counter) HandleBatch(b *wire.Batch, skip uint32) error {
	t := &c.shards[b.Shard]
	records := b.Records()
	for records.Next() {
		if skip > 0 { // delivered before
			skip--
			continue
		}
		t.records++
		t.bytes += uint64(len(records.Record().Body()))
	}
	return records.Err()
}

// HandleGap takes note of what could not be had from anybody.
func (c *counter) HandleGap(shard int, _ wire.Epoch, from, to wire.Seq) {
	c.shards[shard].lost += uint64(to - from)
}

// HandleSession takes note of what is being played.
func (c *counter) HandleSession(shard int, epoch wire.Epoch, s *wire.Session) {
	if shard == 0 {
		log.Printf("%s plays %v, epoch %d", s.Publisher, s.Sources, epoch)
	}
}

// HandleEnd takes note of the end.
func (c *counter) HandleEnd(shard int, _ wire.Epoch, complete bool) {
	c.shards[shard].ended, c.shards[shard].complete = true, complete
}

func (c *counter) report(healed resync.HealerStats) {
	for i := range c.shards {
		t := &c.shards[i]
		fmt.Printf("shard %d: %d records, %d bytes of bodies, %d lost, ended %v, complete %v\n", i, t.records, t.bytes, t.lost, t.ended, t.complete)
	}
	fmt.Printf("%d gaps, %d healed, %d records refilled\n", healed.Gaps, healed.Healed, healed.Refilled)
}
