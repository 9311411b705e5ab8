package titanic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tapedeck/tapedeck/control/majordomo"
)

// The services of 9/TSP.
const (
	ServiceRequest = "titanic.request" // [service][body ...] gives [200][id]
	ServiceReply   = "titanic.reply"   // [id] gives [200][reply ...] or [300]
	ServiceClose   = "titanic.close"   // [id] gives [200]
)

// The statuses of 9/TSP. They travel without the text that the specification
// allows behind them: clients compare the frame.
var (
	statusOK      = []byte("200")
	statusPending = []byte("300")
	statusUnknown = []byte("400")
	statusError   = []byte("500")
)

// workers are the three services.
func (t *Titanic) workers() ([]*majordomo.Worker, error) {
	var workers []*majordomo.Worker
	for _, of := range []struct {
		service string
		handler majordomo.Handler
	}{{ServiceRequest, t.request}, {ServiceReply, t.reply}, {ServiceClose, t.close}} {
		w, err := majordomo.NewWorker(majordomo.WorkerConfig{Endpoints: t.cfg.Endpoints, Context: t.cfg.Context,
			Service: of.service, Handler: of.handler, Concurrency: t.cfg.Concurrency, Heartbeat: t.cfg.Heartbeat, Liveness: t.cfg.Liveness})
		if err != nil {
			return nil, err
		}
		workers = append(workers, w)
	}
	return workers, nil
}

func status(code []byte, more ...[]byte) majordomo.Reply {
	return majordomo.Reply{Frames: append([][]byte{code}, more...)}
}

// request is titanic.request.
func (t *Titanic) request(ctx context.Context, frames [][]byte) majordomo.Reply {
	if len(frames) < 2 {
		t.tally(&t.count.Malformed)
		return status(statusUnknown)
	}
	j := Job{Service: string(frames[0]), Body: frames[1:], Key: keyOf(ctx, frames[1:])}
	id, _, err := t.Add(ctx, j)
	if errors.Is(err, ErrKey) && strings.HasPrefix(j.Key, keyNumber) { // by chance, two clients may have the same
		j.Key = ""
		id, _, err = t.Add(ctx, j)
	}
	t.step("added")
	switch {
	case err == nil:
		return status(statusOK, []byte(id.String()))
	case errors.Is(err, ErrJob), errors.Is(err, ErrKey):
		return status(statusUnknown) // there is no sense in trying again
	}
	return status(statusError)
}

// keyOf is a key for a request that can be told from others, so that it makes one
// job however often it is sent: by the client and number of a control request, or
// the number that our clients put in front of what they send. Requests of others
// have none, and each makes a job.
func keyOf(ctx context.Context, body [][]byte) string {
	if key := controlKey(body); key != "" {
		return key
	}
	if n, ok := majordomo.RequestNumber(ctx); ok {
		return fmt.Sprintf(keyNumber+"%016x", n)
	}
	return ""
}

// What keys begin with that were derived from a request.
const (
	keyNumber  = "number:"
	keyControl = "control:"
)

// controlSignature begins the control requests of docs/CONTROL.md.
const controlSignature = "TPDC01"

// controlKey is the key of a control request, or nothing.
func controlKey(body [][]byte) string {
	if len(body) != 2 || string(body[0]) != controlSignature || !bytes.HasPrefix(body[1], []byte("{")) {
		return ""
	}
	var r struct {
		Client string `json:"client"`
		Number uint64 `json:"number"`
	}
	if json.Unmarshal(body[1], &r) != nil || len(r.Client) != 2*IDSize || r.Number == 0 {
		return ""
	}
	return fmt.Sprintf(keyControl+"%s:%d", r.Client, r.Number)
}

// reply is titanic.reply.
func (t *Titanic) reply(_ context.Context, frames [][]byte) majordomo.Reply {
	if len(frames) != 1 {
		t.tally(&t.count.Malformed)
		return status(statusUnknown)
	}
	id, err := ParseID(string(frames[0]))
	if err != nil {
		return status(statusUnknown)
	}
	info, reply, err := t.Get(id)
	switch {
	case errors.Is(err, ErrUnknown):
		return status(statusUnknown)
	case err != nil:
		t.tally(&t.count.Errors)
		return status(statusError)
	case info.State.Pending():
		return status(statusPending)
	case info.State == Answered:
		return status(statusOK, reply...)
	}
	return status(statusUnknown) // there will be none
}

// close is titanic.close.
func (t *Titanic) close(_ context.Context, frames [][]byte) majordomo.Reply {
	if len(frames) != 1 {
		t.tally(&t.count.Malformed)
		return status(statusUnknown)
	}
	id, err := ParseID(string(frames[0]))
	if err != nil {
		return status(statusOK) // a job of that name is not here, as is asked
	}
	err = t.CloseJob(id)
	t.step("closed")
	if err != nil && !errors.Is(err, ErrUnknown) {
		t.tally(&t.count.Errors)
		return status(statusError)
	}
	return status(statusOK)
}
