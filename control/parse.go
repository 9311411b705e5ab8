package control

import (
	"bytes"
	"cmp"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// ParseRequest takes the frames of a request apart. Nothing of it is borrowed. The
// error is a *FormatError; the request then has the client and number, if they
// could be read, so that it can be answered.
func ParseRequest(frames [][]byte) (Request, error) {
	var (
		r        Request
		deadline int64
	)
	keys, err := object(frames)
	if err != nil {
		return r, err
	}
	// Both are looked at, so that the answer finds its request.
	clientErr, numberErr := keys.client(&r.Client), keys.number(&r.Number)
	if err := cmp.Or(clientErr, numberErr, keys.read("command", &r.Command, reasonCommand), keys.read("deadline_ms", &deadline, reasonDeadline)); err != nil {
		return r, err
	}
	if deadline < 0 || deadline > DeadlineMax.Milliseconds() {
		return r, malformed(reasonDeadline)
	}
	r.Deadline = time.Duration(deadline) * time.Millisecond
	r.Args = bytes.Clone(keys["args"])
	return r, r.check()
}

// ParseReply takes the frames of a reply apart. Nothing of it is borrowed. Codes
// that this version does not know are kept. The error is a *FormatError.
func ParseReply(frames [][]byte) (Reply, error) {
	var r Reply
	keys, err := object(frames)
	if err != nil {
		return r, err
	}
	// A reply to what could not be read is to nobody.
	if keys["client"] != nil || keys["number"] != nil {
		err = cmp.Or(keys.client(&r.Client), keys.number(&r.Number))
	}
	err = cmp.Or(err, keys.read("code", (*int)(&r.Code), reasonCode),
		keys.read("reason", &r.Reason, reasonText), keys.read("try", &r.Try, reasonText))
	if err == nil {
		r.Result = bytes.Clone(keys["result"])
		err = r.check()
	}
	if err != nil {
		return Reply{}, err
	}
	return r, nil
}

// members are the keys of an object that mean something, and their values,
// borrowed. What is null is not there.
type members map[string]json.RawMessage

var known = map[string]bool{
	"client": true, "number": true, "command": true, "args": true, "deadline_ms": true,
	"code": true, "reason": true, "try": true, "result": true,
}

// object checks the frames and reads the object in the second one. Keys are told
// apart by case, and none that means something may come twice: what two readers
// could take for two things is nothing.
func object(frames [][]byte) (members, error) {
	if len(frames) == 0 || string(frames[0]) != Signature {
		return nil, ErrSignature
	}
	if len(frames) != 2 {
		return nil, malformed(reasonFrames)
	}
	b := frames[1]
	switch {
	case len(b) > MessageMax:
		return nil, malformed(reasonLarge)
	case !utf8.Valid(b):
		return nil, malformed(reasonUTF8)
	case !isObject(b):
		return nil, malformed(reasonObject)
	}
	keys := members{}
	seen := map[string]bool{}
	d := json.NewDecoder(bytes.NewReader(b))
	_, _ = d.Token() // the brace: b is valid
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, malformed(reasonObject)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, malformed(reasonObject)
		}
		name, _ := key.(string)
		switch {
		case !known[name]:
			continue
		case seen[name]:
			return nil, malformed(reasonTwice)
		}
		seen[name] = true
		if string(value) != "null" {
			keys[name] = value
		}
	}
	return keys, nil
}

// isObject reports whether b is one JSON object and nothing else.
func isObject(b []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte{'{'}) && json.Valid(b)
}

// read reads a key that may be there; reason says what is wrong where it is of
// another type.
func (m members) read(key string, into any, reason string) error {
	if b, ok := m[key]; ok && json.Unmarshal(b, into) != nil {
		return malformed(reason)
	}
	return nil
}

func (m members) client(id *ClientID) error {
	var text string
	if err := m.read("client", &text, reasonClient); err != nil {
		return err
	}
	var err error
	*id, err = ParseClientID(text)
	return err
}

// number reads a number, which stays 0 where there is none.
func (m members) number(n *uint64) error {
	var v uint64
	if m.read("number", &v, reasonNumber) != nil || v < 1 || v > NumberMax {
		return malformed(reasonNumber)
	}
	*n = v
	return nil
}
