package control

import (
	"bytes"
	"cmp"
	"encoding/json"
	"time"
	"unicode/utf8"
)

// ParseRequest takes the frames of a request apart. Nothing of it is borrowed. The
// error is an ErrSignature or ErrMessage; the request then has the client and
// number, if they could be read, so that it can be answered.
func ParseRequest(frames [][]byte) (Request, error) {
	var (
		r        Request
		client   string
		number   uint64
		deadline int64
	)
	keys, err := object(frames)
	if err != nil {
		return r, err
	}
	// Both are looked at, so that the answer finds its request.
	clientErr, numberErr := keys.read("client", &client), keys.read("number", &number)
	if clientErr == nil {
		r.Client, clientErr = ParseClientID(client)
	}
	if numberErr == nil && number <= NumberMax {
		r.Number = number
	}
	if err := cmp.Or(clientErr, numberErr); err != nil {
		return r, err
	}
	if number != r.Number {
		return r, malformed("number is beyond %d", uint64(NumberMax))
	}
	if err := cmp.Or(keys.read("command", &r.Command), keys.readOptional("deadline_ms", &deadline)); err != nil {
		return r, err
	}
	if deadline < 0 || deadline > DeadlineMax.Milliseconds() {
		return r, malformed("deadline_ms is not from 0 to %d", DeadlineMax.Milliseconds())
	}
	r.Deadline = time.Duration(deadline) * time.Millisecond
	if args := keys["args"]; !isNull(args) {
		r.Args = bytes.Clone(args)
	}
	return r, r.check()
}

// ParseReply takes the frames of a reply apart. Nothing of it is borrowed. Codes
// that this version does not know are kept. The error is an ErrSignature or
// ErrMessage.
func ParseReply(frames [][]byte) (Reply, error) {
	var (
		r      Reply
		client string
		code   int
	)
	keys, err := object(frames)
	if err != nil {
		return r, err
	}
	err = cmp.Or(keys.read("client", &client), keys.read("number", &r.Number), keys.read("code", &code),
		keys.readOptional("reason", &r.Reason), keys.readOptional("try", &r.Try))
	if err != nil {
		return Reply{}, err
	}
	if client != "" {
		if r.Client, err = ParseClientID(client); err != nil {
			return Reply{}, err
		}
	}
	if r.Number > NumberMax {
		return Reply{}, malformed("number is beyond %d", uint64(NumberMax))
	}
	r.Code = Code(code)
	if err := checkCode(r.Code); err != nil {
		return Reply{}, err
	}
	if result := keys["result"]; !isNull(result) {
		r.Result = bytes.Clone(result)
	}
	return r, nil
}

// members are the keys of an object that mean something, and their values. Others
// are passed over.
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
		return nil, malformed("%d frames, want 2", len(frames))
	}
	b := frames[1]
	switch {
	case len(b) > MessageMax:
		return nil, malformed("the object has %d bytes, at most %d", len(b), MessageMax)
	case !utf8.Valid(b):
		return nil, malformed("the object is not UTF-8")
	case !isObject(b):
		return nil, malformed("the second frame is no JSON object")
	}
	keys := members{}
	d := json.NewDecoder(bytes.NewReader(b))
	_, _ = d.Token() // the brace; b is valid
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return nil, malformed("%v", err)
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, malformed("%v", err)
		}
		name, _ := key.(string)
		if _, twice := keys[name]; twice {
			return nil, malformed("%s is there twice", name)
		}
		if known[name] {
			keys[name] = value
		}
	}
	return keys, nil
}

// isObject reports whether b is one JSON object and nothing else.
func isObject(b []byte) bool {
	return json.Valid(b) && bytes.HasPrefix(bytes.TrimLeft(b, " \t\r\n"), []byte{'{'})
}

func isNull(b json.RawMessage) bool { return len(b) == 0 || string(b) == "null" }

// read reads a key that must be there.
func (m members) read(key string, into any) error {
	if _, ok := m[key]; !ok {
		return malformed("there is no %s", key)
	}
	return m.readOptional(key, into)
}

func (m members) readOptional(key string, into any) error {
	b, ok := m[key]
	if !ok || isNull(b) {
		return nil
	}
	if err := json.Unmarshal(b, into); err != nil {
		return malformed("%s is not of its type", key)
	}
	return nil
}
