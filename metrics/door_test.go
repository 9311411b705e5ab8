package metrics

import (
	"testing"

	"github.com/tapedeck/tapedeck/keys"
)

// TestDoor: refusals are told by reason and channel, from 0 on; a channel that is none of
// the program's, as only a mistake could make one, is counted all the same.
func TestDoor(t *testing.T) {
	n := &numbers{}
	s := everything(t, n)
	key := func(reason keys.Refusal, channel keys.Channel) string {
		return "tapedeck_auth_refused_total,channel=" + string(channel) + ",reason=" + string(reason)
	}
	before, _ := gather(t, s)
	if v, ok := before[key(keys.RefusedRevoked, keys.Data)]; !ok || v != 0 {
		t.Errorf("revoked key on data: %v, %v", v, ok)
	}
	n.door.Refused = []keys.Refusals{
		{Reason: keys.RefusedRevoked, Channel: keys.Data, Count: 3},
		{Reason: keys.RefusedRole, Channel: "made up", Count: 1}, {Reason: keys.RefusedRole, Channel: "made up, too", Count: 1},
	}
	after, _ := gather(t, s)
	if a, b := after[key(keys.RefusedRevoked, keys.Data)], after[key(keys.RefusedRole, otherChannel)]; a != 3 || b != 2 {
		t.Errorf("counted %v and %v", a, b)
	}
}
