package jsonl

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
)

var scanTexts = []string{
	`{}`, `[]`, ` { } `, `{"a":1}`, `{"a":{"b":[1,2,{"c":"d"}]},"b":-1.5e+10}`, `[[],{},[[]]]`, `{"a":"\u00e9\"\\\n"}`,
	`{"\u0061":1}`, `{"a":1,"a":2}`, `{"a":{"b":1},"a":{"c":1}}`, `{"a":{"b":1},"a":null}`, `[{"a":[7,{"b":8}]}]`,
	`{"a":[1,{"b":true}],"c":false,"d":null}`, `{"a":{"0":1}}`, `{"a":[5]}`, "{\"a\":\"\xff\"}", "\t{\"a\" : \"b\" }\r",
	`{"a":{}, "b":[ ] , "c" :[{}]}`, `{"a":0,"b":-0,"c":0.0,"d":1E5}`,
	``, ` `, `1`, `"a"`, `{`, `[`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":1,}`, `[1,]`, `{,}`, `[,]`, `{"a":01}`, `{"a":1.}`, `{"a":.1}`,
	`{"a":+1}`, `{"a":1e}`, `{"a":-}`, `{"a":tru}`, `{"a":nul}`, `{"a":fals}`, `{"a":"`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\u12`,
	"{\"a\":\"\x01\"}", `{a:1}`, `{"a":1}}`, `{"a":1} x`, `{"a":1]`, `[1}`, `[1 2]`, `{"a" 1}`, `{"a":1 "b":2}`, `{"b":[1}]}`, `{"b":{"c":1]}`, `{"b":{"c"}}`, `{"b":{1:2}}`,
}

var scanPaths = [][]string{{"a"}, {"a", "b"}, {"a", "0"}, {"a", "1", "b"}, {"0", "a"}, {"0", "a", "1", "b"}, {"c"}, {"é"}}

// checkScan holds the scanner to encoding/json: it takes the same texts for
// JSON, and finds the same values.
func checkScan(t *testing.T, text []byte) {
	t.Helper()
	s := newScanner(scanPaths)
	trimmed := bytes.TrimLeft(text, " \t\r\n")
	want := json.Valid(text) && (trimmed[0] == '{' || trimmed[0] == '[')
	if got := s.scan(text); got != want {
		t.Fatalf("%q: %v, want %v", text, got, want)
	} else if !got {
		if s.bad > len(text) {
			t.Fatalf("%q: bad at %d", text, s.bad)
		}
		return
	}
	var whole any
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&whole); err != nil {
		t.Fatal(err)
	}
	for slot, path := range scanPaths {
		want, found := lookUp(whole, path)
		if s.has(slot) != found {
			t.Fatalf("%q: %v: found %v, want %v", text, path, s.has(slot), found)
		}
		if !found {
			continue
		}
		at := s.slots[slot]
		var got any
		dec := json.NewDecoder(bytes.NewReader(text[at.from:at.to]))
		dec.UseNumber()
		if err := dec.Decode(&got); err != nil {
			t.Fatalf("%q: %v: %v", text, path, err)
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Fatalf("%q: %v: %v, want %v", text, path, got, want)
		}
		plain, ok := s.textOf(slot)
		switch w := want.(type) {
		case nil:
			ok = ok && len(plain) == 0
		case map[string]any, []any:
			ok = !ok
		case string:
			// encoding/json replaces what is not UTF-8, we keep it.
			ok = ok && strings.ToValidUTF8(string(plain), "\ufffd") == w || strings.Contains(w, "\ufffd")
		default:
			ok = ok && string(plain) == fmt.Sprint(w)
		}
		if !ok {
			t.Fatalf("%q: %v: text %q of %v", text, path, plain, want)
		}
	}
}

func lookUp(v any, path []string) (any, bool) {
	for _, name := range path {
		switch at := v.(type) {
		case map[string]any:
			var ok bool
			if v, ok = at[name]; !ok {
				return nil, false
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i >= len(at) {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}

func TestScan(t *testing.T) {
	for _, text := range scanTexts {
		checkScan(t, []byte(text))
		for cut := range len(text) {
			checkScan(t, []byte(text[:cut]))
		}
	}
}

func TestScanDepth(t *testing.T) {
	for _, open := range []string{"[", `{"a":`, `{"z":`, `[{"a":`} {
		for _, depth := range []int{10, 9999, 10000, 10001, 100000} {
			n := depth / (strings.Count(open, "{") + strings.Count(open, "["))
			shut := strings.NewReplacer("[", "]", `{"a":`, "}", `{"z":`, "}").Replace(open)
			if len(shut) == 2 {
				shut = "}]"
			}
			for _, extra := range []string{"[]", "{}", "1"} {
				checkScan(t, []byte(strings.Repeat(open, n)+extra+strings.Repeat(shut, n)))
			}
		}
	}
}

func FuzzScan(f *testing.F) {
	for _, text := range scanTexts {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) { checkScan(t, text) })
}
