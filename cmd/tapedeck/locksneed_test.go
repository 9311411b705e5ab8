package main

import (
	"testing"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/keys"
)

// TestNeeds: what the bus lets somebody do who may only look changes nothing, and what
// changes nothing he may do.
func TestNeeds(t *testing.T) {
	decks, jobs := &deckHouse{}, &jobService{}
	for service, commands := range map[string][]control.Command{
		control.ServiceDeck: decks.commands(), control.ServiceReaders: decks.readersCommands(), control.ServiceTapes: (&tapesService{}).commands(),
		control.ServiceRecorder: (&recorderHouse{}).commands(), control.ServiceJob: jobs.commands(),
	} {
		for _, c := range commands {
			if need := control.NeedOf(service, c.Name); (need != control.NeedChange) != c.Repeat {
				t.Errorf("%s %s needs %d, and changes something: %v", service, c.Name, need, !c.Repeat)
			}
		}
	}
}

// TestChannelsAreKnown: what sockets are for is what rights go by.
func TestChannelsAreKnown(t *testing.T) {
	for socket, channel := range map[string]keys.Channel{
		zsock.ChannelData: keys.Data, zsock.ChannelSnapshot: keys.Snapshot, zsock.ChannelRefill: keys.Refill, zsock.ChannelState: keys.State,
		zsock.ChannelChange: keys.Change, zsock.ChannelControl: keys.Command, zsock.ChannelWorker: keys.Worker, zsock.ChannelPair: keys.Link,
	} {
		if keys.Channel(socket) != channel {
			t.Errorf("%s is not %s", socket, channel)
		}
	}
}
