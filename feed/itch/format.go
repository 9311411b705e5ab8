package itch

import (
	"context"
	"encoding/binary"
	"fmt"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/pcap"
)

// Name is the name of the format.
const Name = "itch"

const title = "Nasdaq TotalView-ITCH 5.0 (also BX, PSX), files and MoldUDP64 in pcap"

// Format is ITCH in files and in captures, for the table of formats.
var Format = feed.Format{
	Name:   Name,
	Title:  title,
	Detect: detect,
	Open:   open,
	Decode: decode,
}

// How sure detect is of a file by how many messages in a row make sense.
const (
	sureOne  = 55
	sureTwo  = 75
	sureMany = 90

	messagesMany = 4
	messagesMax  = 256

	prefixSize = 2 // the length before a message
)

func detect(head []byte) int {
	if pcap.IsCapture(head) {
		return pcap.Detect(head, detectMold)
	}
	n := 0
	for ; n < messagesMax && len(head) >= prefixSize; n++ {
		size := int(binary.BigEndian.Uint16(head))
		if len(head)-prefixSize < size {
			break // the head of the input ends inside the message
		}
		if !known(head[prefixSize:][:size]) {
			return 0
		}
		head = head[prefixSize+size:]
	}
	switch {
	case n == 0:
		return 0
	case n == 1:
		return sureOne
	case n < messagesMany:
		return sureTwo
	}
	return sureMany
}

func open(ctx context.Context, in *feed.Input, opts feed.Options) (feed.Source, error) {
	if pcap.IsCapture(in.Head) {
		return mold.Open(ctx, in, opts)
	}
	if err := opts.Only("Topic", "Date", "Zone", "Dataset"); err != nil {
		return nil, fmt.Errorf("itch: a file: %w", err)
	}
	return openFile(ctx, in, opts)
}
