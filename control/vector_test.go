package control

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

const vectorDir = "../testkit/control"

var update = flag.Bool("update", false, "write the golden vectors anew")

// vector is one golden vector: the frames of a message and what a reader must
// make of them. testkit/control/README.md describes the files.
type vector struct {
	name, expect, about string
	form                string // request or reply
	frames              [][]byte
	values              string // one line of JSON
}

// read parses the vector and returns what a reader gets, as JSON.
func (v *vector) read() (string, error) {
	if v.form == "request" {
		r, err := ParseRequest(v.frames)
		if err != nil {
			return "", err
		}
		return mustJSON(struct {
			Client   clientText      `json:"client"`
			Number   uint64          `json:"number"`
			Command  string          `json:"command"`
			Args     json.RawMessage `json:"args"`
			Deadline int64           `json:"deadline_ms"`
		}{clientText(r.Client.String()), r.Number, r.Command, r.Args, r.Deadline.Milliseconds()}), nil
	}
	r, err := ParseReply(v.frames)
	if err != nil {
		return "", err
	}
	client := ""
	if r.Client != (ClientID{}) {
		client = r.Client.String()
	}
	return mustJSON(struct {
		Client clientText      `json:"client"`
		Number uint64          `json:"number"`
		Code   Code            `json:"code"`
		Reason string          `json:"reason"`
		Try    string          `json:"try"`
		Result json.RawMessage `json:"result"`
	}{clientText(client), r.Number, r.Code, r.Reason, r.Try, r.Result}), nil
}

// clientText is null where there is no client.
type clientText string

func (c clientText) MarshalJSON() ([]byte, error) {
	if c == "" {
		return []byte("null"), nil
	}
	return json.Marshal(string(c))
}

func mustJSON(v any) string {
	b, err := encode(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// legible reports whether a frame can be a line of a file.
func legible(b []byte) bool {
	odd := func(r rune) bool { return r == unicode.ReplacementChar || !unicode.IsPrint(r) }
	return len(b) > 0 && len(b) < 1000 && !bytes.ContainsFunc(b, odd)
}

// text is the vector as its file has it.
func (v *vector) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "expect: %s\nabout: %s\nform: %s\n", v.expect, v.about, v.form)
	for _, f := range v.frames {
		if legible(f) {
			fmt.Fprintf(&b, "\ntext: %d bytes\n%s\n", len(f), f)
			continue
		}
		fmt.Fprintf(&b, "\nframe: %d bytes\n", len(f))
		for line := range slices.Chunk(f, 32) {
			fmt.Fprintf(&b, "%x\n", line)
		}
	}
	if v.values != "" {
		fmt.Fprintf(&b, "\nvalues:\n%s\n", v.values)
	}
	return b.Bytes()
}

// readVector reads a file without using anything of this package.
func readVector(t testing.TB, path string) vector {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	v := vector{name: strings.TrimSuffix(filepath.Base(path), ".txt")}
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, 1<<20)
	in := "head"
	for sc.Scan() {
		key, rest, _ := strings.Cut(sc.Text(), ": ")
		switch {
		case sc.Text() == "":
			in = "head"
		case in == "values":
			v.values = sc.Text()
		case in == "text":
			v.frames[len(v.frames)-1] = []byte(sc.Text())
		case in == "frame":
			b, err := hex.DecodeString(sc.Text())
			if err != nil {
				t.Fatalf("%s: %q: %v", path, sc.Text(), err)
			}
			v.frames[len(v.frames)-1] = append(v.frames[len(v.frames)-1], b...)
		case sc.Text() == "values:":
			in = "values"
		case key == "text", key == "frame":
			in = key
			v.frames = append(v.frames, []byte{})
		case key == "expect":
			v.expect = rest
		case key == "about":
			v.about = rest
		case key == "form":
			v.form = rest
		default:
			t.Fatalf("%s: %q", path, sc.Text())
		}
	}
	return v
}

func vectorFiles(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(vectorDir, "*.txt"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden vectors in %s: %v", vectorDir, err)
	}
	return files
}

// vectors are the messages that the files hold.
func vectors() []vector {
	const id = `"client":"9f86d081884c7d659a2feaa0c55ad015"`
	request := func(name, expect, about string, object string) vector {
		return vector{name: name, expect: expect, about: about, form: "request", frames: [][]byte{[]byte(Signature), []byte(object)}}
	}
	reply := func(name, expect, about string, object string) vector {
		v := request(name, expect, about, object)
		v.form = "reply"
		return v
	}
	seek := "{" + id + `,"number":7,"command":"seek","args":{"deck":"es","to":"+10m"},"deadline_ms":2000}`
	framed := func(name, expect, about string, frames ...string) vector {
		v := vector{name: name, expect: expect, about: about, form: "request"}
		for _, f := range frames {
			v.frames = append(v.frames, []byte(f))
		}
		return v
	}
	padded := seek + strings.Repeat(" ", MessageMax-len(seek))
	all := []vector{
		request("ok-request", "ok", "A command with everything.", seek),
		request("ok-request-bare", "ok", "A command without arguments and deadline.", "{"+id+`,"number":1,"command":"list"}`),
		request("ok-request-null", "ok", "What is null is not there.", "{"+id+`,"number":1,"command":"list","args":null,"deadline_ms":null}`),
		request("ok-request-space", "ok", "White space, and keys in another order.", " {\n \"command\" : \"list\" , \"number\":1,\t"+id+" }\n"),
		request("ok-request-unknown-key", "ok", "Keys that are not known are passed over, twice or not, also where they differ by case alone.",
			"{"+id+`,"number":1,"command":"list","Number":[2],"more":1,"more":2}`),
		request("ok-request-upper-case", "ok", "The client's id in upper case.", `{"client":"9F86D081884C7D659A2FEAA0C55AD015","number":1,"command":"list"}`),
		request("ok-request-number-largest", "ok", "The largest number.", "{"+id+`,"number":9007199254740991,"command":"list"}`),
		request("ok-request-unicode", "ok", "A name beyond ASCII, once as it is and once escaped.", "{"+id+`,"number":1,"command":"mark","args":{"name":"öffnung","note":"\u00f6"}}`),
		reply("ok-reply", "ok", "A command that was done.", "{"+id+`,"number":7,"code":200,"result":{"deck":"es","phase":"playing"}}`),
		reply("ok-reply-bare", "ok", "A command that was done and has no result.", "{"+id+`,"number":7,"code":200}`),
		reply("ok-reply-failed", "ok", "A command that was refused.", "{"+id+`,"number":7,"code":404,"reason":"there is no deck es","try":"deck list says which are open"}`),
		reply("ok-reply-pending", "ok", "A command that takes longer.", "{"+id+`,"number":7,"code":202,"reason":"verify is still at work"}`),
		reply("ok-reply-nobody", "ok", "The reply to a request that could not be read.", `{"code":400,"reason":"second frame is no JSON object"}`),
		reply("ok-reply-unknown-code", "ok", "A code that is not known is kept: the command was not done.", "{"+id+`,"number":7,"code":418}`),

		framed("bad-signature-version", reasonSignature, "Another version.", "TPDC02", seek),
		framed("bad-signature-missing", reasonSignature, "No signature.", seek),
		framed("bad-signature-none", reasonSignature, "No frames."),
		framed("bad-frames-few", reasonFrames, "One frame.", Signature),
		framed("bad-frames-many", reasonFrames, "Three frames.", Signature, seek, seek),
		framed("bad-object-large", reasonLarge, "An object of a byte more than there may be.", Signature, padded+" "),
		request("bad-object-utf8", reasonUTF8, "A byte that is no UTF-8.", "{"+id+`,"number":1,"command":"list","note":"`+"\xff"+`"}`),
		request("bad-object-array", reasonObject, "An array.", "["+seek+"]"),
		request("bad-object-cut", reasonObject, "Half of an object.", seek[:40]),
		request("bad-object-behind", reasonObject, "Something behind the object.", seek+"{}"),
		request("bad-object-empty", reasonObject, "Nothing.", ""),
		request("bad-key-twice", reasonTwice, "Two numbers.", "{"+id+`,"number":1,"command":"list","number":2}`),
		request("bad-client-missing", reasonClient, "No client.", `{"number":1,"command":"list"}`),
		request("bad-client-short", reasonClient, "A client of 31 digits.", `{"client":"9f86d081884c7d659a2feaa0c55ad01","number":1,"command":"list"}`),
		request("bad-client-letter", reasonClient, "A client that is not hexadecimal.", `{"client":"9f86d081884c7d659a2feaa0c55ad01x","number":1,"command":"list"}`),
		request("bad-client-zero", reasonClient, "The client zero.", `{"client":"00000000000000000000000000000000","number":1,"command":"list"}`),
		request("bad-client-type", reasonClient, "A client that is a number.", `{"client":7,"number":1,"command":"list"}`),
		request("bad-number-missing", reasonNumber, "No number.", "{"+id+`,"command":"list"}`),
		request("bad-number-zero", reasonNumber, "The number 0.", "{"+id+`,"number":0,"command":"list"}`),
		request("bad-number-large", reasonNumber, "A number that a double cannot tell exactly.", "{"+id+`,"number":9007199254740992,"command":"list"}`),
		request("bad-number-negative", reasonNumber, "A number below 0.", "{"+id+`,"number":-1,"command":"list"}`),
		request("bad-number-fraction", reasonNumber, "A number with a fraction.", "{"+id+`,"number":1.5,"command":"list"}`),
		request("bad-number-text", reasonNumber, "A number as text.", "{"+id+`,"number":"1","command":"list"}`),
		request("bad-command-missing", reasonCommand, "No command.", "{"+id+`,"number":1}`),
		request("bad-command-long", reasonCommand, "A command of 65 bytes.", "{"+id+`,"number":1,"command":"`+strings.Repeat("x", 65)+`"}`),
		request("bad-args-array", reasonArgs, "Arguments without names.", "{"+id+`,"number":1,"command":"list","args":[1]}`),
		request("bad-deadline-negative", reasonDeadline, "A deadline below 0.", "{"+id+`,"number":1,"command":"list","deadline_ms":-1}`),
		request("bad-deadline-long", reasonDeadline, "A deadline of more than a day.", "{"+id+`,"number":1,"command":"list","deadline_ms":86400001}`),
		reply("bad-code-missing", reasonCode, "No code.", "{"+id+`,"number":7}`),
		reply("bad-code-text", reasonCode, "A code as text.", "{"+id+`,"number":7,"code":"200"}`),
		reply("bad-code-low", reasonCode, "The code 199.", "{"+id+`,"number":7,"code":199}`),
		reply("bad-code-high", reasonCode, "The code 600.", "{"+id+`,"number":7,"code":600}`),
		reply("bad-reason-type", reasonText, "A reason that is no text.", "{"+id+`,"number":7,"code":500,"reason":{"text":"no"}}`),
		reply("bad-reply-client", reasonClient, "A number without a client.", `{"number":7,"code":200}`),
	}
	for i := range all {
		if v := &all[i]; v.expect == "ok" {
			v.values, _ = v.read()
		}
	}
	return all
}

// TestVectorsAreCurrent compares the files with what this package writes, or
// with -update writes them.
func TestVectorsAreCurrent(t *testing.T) {
	want := map[string]bool{}
	for _, v := range vectors() {
		if v.name == "bad-object-large" {
			continue // a file of two megabytes would say no more
		}
		path := filepath.Join(vectorDir, v.name+".txt")
		if want[path] {
			t.Fatalf("two vectors are named %s", v.name)
		}
		want[path] = true
		if *update {
			if err := os.WriteFile(path, v.text(), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(path); err != nil || !bytes.Equal(got, v.text()) {
			t.Errorf("%s differs from what is written (%v); if the schema was meant to change, run with -update", path, err)
		}
	}
	for _, path := range vectorFiles(t) {
		if !want[path] {
			t.Errorf("%s is no vector of this test", path)
		}
	}
}

// TestVectors reads every file as another implementation would, and writes the
// good ones again.
func TestVectors(t *testing.T) {
	all := []vector{}
	for _, path := range vectorFiles(t) {
		all = append(all, readVector(t, path))
	}
	for _, v := range vectors() {
		if v.name == "bad-object-large" {
			all = append(all, v)
		}
	}
	for _, v := range all {
		t.Run(v.name, func(t *testing.T) {
			got, err := v.read()
			if v.expect != "ok" {
				var bad *FormatError
				if !errors.As(err, &bad) || bad.Reason != v.expect || err.Error() != "control: "+v.expect {
					t.Fatalf("got %v, want %s", err, v.expect)
				}
				return
			}
			if err != nil || got != v.values {
				t.Fatalf("got %s, %v\nwant %s", got, err, v.values)
			}
			again := v
			again.frames = rewrite(t, &v)
			if got, err := again.read(); err != nil || got != v.values {
				t.Errorf("written again it is %s, %v\nwant %s", got, err, v.values)
			}
		})
	}
}

// rewrite parses a good vector and writes it again.
func rewrite(t *testing.T, v *vector) [][]byte {
	t.Helper()
	if v.form == "request" {
		r, err := ParseRequest(v.frames)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := AppendRequest(nil, &r)
		if err != nil {
			t.Fatal(err)
		}
		return frames
	}
	r, err := ParseReply(v.frames)
	if err != nil {
		t.Fatal(err)
	}
	frames, err := AppendReply(nil, &r)
	if err != nil {
		t.Fatal(err)
	}
	return frames
}

// TestVectorsCoverReasons holds that every reason in format.go has a vector.
func TestVectorsCoverReasons(t *testing.T) {
	source, err := os.ReadFile("format.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\treason\w+ += "(.*)"$`).FindAllSubmatch(source, -1)
	if len(found) < 12 {
		t.Fatalf("found %d reasons in format.go", len(found))
	}
	seen := map[string]bool{}
	for _, v := range vectors() {
		seen[v.expect] = true
	}
	for _, m := range found {
		if !seen[string(m[1])] {
			t.Errorf("no vector expects %q", m[1])
		}
	}
}
