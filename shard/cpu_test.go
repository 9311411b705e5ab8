package shard_test

import (
	"testing"

	"github.com/tapedeck/tapedeck/shard"
)

func TestPlacementString(t *testing.T) {
	if got := (shard.Placement{IO: 2, Receive: 13}).String(); got != "io 2, receive 13" {
		t.Error(got)
	}
	if got := (shard.Placement{IO: shard.NoCPU, Receive: shard.NoCPU}).String(); got != "none" {
		t.Error(got)
	}
}
