package titanic

import (
	"bytes"
	"encoding/json"
	"fmt"
)

// Codes of replies to control requests that say to ask again: docs/CONTROL.md, "Codes".
const (
	codePending      = 202 // it is at work
	codeBusy         = 429 // it has not begun
	codeNotAvailable = 503 // it has not begun, or was broken off
)

// unsettled returns the code of a reply to a control request that is not what came of
// it, but asks to be asked again; 0 where the reply is the reply. What is no control
// request may be answered with anything.
func unsettled(request, reply [][]byte) int {
	if controlKey(request) == "" || len(reply) != 2 || string(reply[0]) != controlSignature || !bytes.HasPrefix(reply[1], []byte("{")) {
		return 0
	}
	var r struct {
		Code int `json:"code"`
	}
	if json.Unmarshal(reply[1], &r) != nil {
		return 0
	}
	switch r.Code {
	case codePending, codeBusy, codeNotAvailable:
		return r.Code
	}
	return 0
}

// notYet decides what follows an unsettled reply. Who is at it is asked for as long as
// it takes; who does not begin, as often as who does not answer.
func (d *dispatcher) notYet(id ID, s *store, code int) outcome {
	t := d.t
	t.tally(&t.count.Unsettled)
	reason := fmt.Sprintf("the service answered %d: to be asked again", code)
	s.note(id, reason)
	if code == codePending {
		return soon
	}
	if info, err := s.get(id); err == nil && t.cfg.Attempts > 0 && info.Attempt >= t.cfg.Attempts {
		return d.fail(id, reason)
	}
	return retry
}
