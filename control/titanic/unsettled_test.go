package titanic

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/tapedeck/tapedeck/control/majordomo"
)

// TestUnsettledIsNoReply: a control request that is answered with "ask again" is asked
// again, with the same client and number; what the service says at last is the reply.
func TestUnsettledIsNoReply(t *testing.T) {
	at := runBroker(t)
	o, _ := runTitanic(t, Config{Endpoints: at})
	codes := []int{202, 202, 429, 202, 503, 202, 500}
	var asked atomic.Int32
	runWorker(t, at, "slow", 1, func(context.Context, [][]byte) majordomo.Reply {
		n := asked.Add(1)
		return majordomo.Reply{Frames: [][]byte{[]byte(controlSignature), fmt.Appendf(nil, `{"code":%d,"said":%d}`, codes[n-1], n)}}
	})
	body := [][]byte{[]byte(controlSignature), []byte(`{"client":"00000000000000000000000000000001","number":1,"command":"do"}`)}
	id, _, err := o.Add(t.Context(), Job{Service: "slow", Body: body})
	if err != nil {
		t.Fatal(err)
	}
	info, reply, err := o.Wait(t.Context(), id)
	if err != nil || info.State != Answered || len(reply) != 2 || string(reply[1]) != `{"code":500,"said":7}` {
		t.Errorf("%+v, %q, %v, after %d questions", info, reply, err, asked.Load())
	}
	if n := o.Counters(); n.Unsettled != 6 || n.Answered != 1 {
		t.Errorf("%+v", n)
	}
}

// TestUnsettledBusyEnds: a service that never has time fails the job, where attempts are
// bounded; one that is at it is not given up.
func TestUnsettledBusyEnds(t *testing.T) {
	at := runBroker(t)
	o, _ := runTitanic(t, Config{Endpoints: at, Attempts: 3})
	runWorker(t, at, "busy", 1, func(context.Context, [][]byte) majordomo.Reply {
		return majordomo.Reply{Frames: [][]byte{[]byte(controlSignature), []byte(`{"code":429,"reason":"too much"}`)}}
	})
	body := [][]byte{[]byte(controlSignature), []byte(`{"client":"00000000000000000000000000000001","number":2,"command":"do"}`)}
	id, _, err := o.Add(t.Context(), Job{Service: "busy", Body: body})
	if err != nil {
		t.Fatal(err)
	}
	if info, _, err := o.Wait(t.Context(), id); err != nil || info.State != Failed || info.Attempt != 3 {
		t.Errorf("%+v, %v", info, err)
	}
}

// TestUnsettledElsewhere: what is no control request may be answered with anything.
func TestUnsettledElsewhere(t *testing.T) {
	for _, tc := range []struct {
		name           string
		request, reply [][]byte
		want           int
	}{
		{"not a control request", [][]byte{[]byte("x")}, [][]byte{[]byte(controlSignature), []byte(`{"code":202}`)}, 0},
		{"not a control reply", control("1"), [][]byte{[]byte("202"), []byte(`{"code":202}`)}, 0},
		{"no object", control("1"), [][]byte{[]byte(controlSignature), []byte(`202`)}, 0},
		{"more frames", control("1"), [][]byte{[]byte(controlSignature), []byte(`{"code":202}`), nil}, 0},
		{"done", control("1"), [][]byte{[]byte(controlSignature), []byte(`{"code":200}`)}, 0},
		{"failed", control("1"), [][]byte{[]byte(controlSignature), []byte(`{"code":500}`)}, 0},
		{"at work", control("1"), [][]byte{[]byte(controlSignature), []byte(`{"code":202}`)}, 202},
		{"busy", control("1"), [][]byte{[]byte(controlSignature), []byte(`{"code":429}`)}, 429},
		{"stopping", control("1"), [][]byte{[]byte(controlSignature), []byte(`{"code":503}`)}, 503},
	} {
		if got := unsettled(tc.request, tc.reply); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.name, got, tc.want)
		}
	}
}

func control(number string) [][]byte {
	return [][]byte{[]byte(controlSignature), []byte(`{"client":"00000000000000000000000000000001","number":` + number + `,"command":"do"}`)}
}
