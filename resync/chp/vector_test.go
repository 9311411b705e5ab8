package chp

import (
	"bufio"
	"bytes"
	"encoding/binary"
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
)

const vectorDir = "../../testkit/chp"

var update = flag.Bool("update", false, "write the golden vectors anew")

// vector is one golden vector: the frames of a message and what a reader must
// make of them. testkit/chp/README.md describes the files.
type vector struct {
	name, expect, about string
	form                string // kvmsg, kvsimple or request
	frames              [][]byte
	values              string // one line of JSON
}

// read parses the vector and returns what a reader gets, as JSON.
func (v *vector) read() (string, error) {
	if v.form == "request" {
		subtree, err := ParseRequest(v.frames)
		if err != nil {
			return "", err
		}
		return mustJSON(map[string]string{"subtree_hex": hex.EncodeToString(subtree)}), nil
	}
	m, err := Parse(map[string]Form{"kvmsg": KVMsg, "kvsimple": KVSimple}[v.form], v.frames)
	if err != nil {
		return "", err
	}
	properties := [][2]string{}
	for name, value := range m.Properties.All() {
		properties = append(properties, [2]string{string(name), string(value)})
	}
	return mustJSON(struct {
		Key        string      `json:"key_hex"`
		Sequence   uint64      `json:"sequence"`
		UUID       string      `json:"uuid_hex"`
		Properties [][2]string `json:"properties"`
		Value      string      `json:"value_hex"`
	}{hex.EncodeToString(m.Key), m.Sequence, hex.EncodeToString(m.UUID), properties, hex.EncodeToString(m.Value)}), nil
}

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// text is the vector as its file has it.
func (v *vector) text() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "expect: %s\nabout: %s\nform: %s\n", v.expect, v.about, v.form)
	for _, f := range v.frames {
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
	values := false
	for sc.Scan() {
		key, rest, _ := strings.Cut(sc.Text(), ": ")
		switch {
		case sc.Text() == "":
		case values:
			v.values = sc.Text()
		case sc.Text() == "values:":
			values = true
		case key == "expect":
			v.expect = rest
		case key == "about":
			v.about = rest
		case key == "form":
			v.form = rest
		case key == "frame":
			v.frames = append(v.frames, []byte{})
		default:
			b, err := hex.DecodeString(sc.Text())
			if err != nil || len(v.frames) == 0 {
				t.Fatalf("%s: %q: %v", path, sc.Text(), err)
			}
			v.frames[len(v.frames)-1] = append(v.frames[len(v.frames)-1], b...)
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

func sequence(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }

// vectors are the messages that the files hold.
func vectors() []vector {
	uuid := []byte("0123456789abcdef")
	kv := func(key, seq, uuid, props, value any) [][]byte {
		var frames [][]byte
		for _, f := range []any{key, seq, uuid, props, value} {
			switch f := f.(type) {
			case string:
				frames = append(frames, []byte(f))
			case int:
				frames = append(frames, sequence(uint64(f)))
			case []byte:
				frames = append(frames, f)
			}
		}
		return frames
	}
	long := strings.Repeat("x", 256)
	var many strings.Builder
	for i := range 65 {
		fmt.Fprintf(&many, "p%d=\n", i)
	}
	ok := []vector{
		{name: "ok-kvpub", about: "An update with everything.", frames: kv("/client/17", 42, uuid, "ttl=30\ncolour=red\n", "value")},
		{name: "ok-kvpub-delete", about: "An update that deletes: the value is empty.", frames: kv("/client/17", 43, uuid, "", "")},
		{name: "ok-kvpub-bare", about: "An update without UUID and properties.", frames: kv("k", 1, "", "", "v")},
		{name: "ok-kvpub-ours", about: "An update as this project's server sends it: epoch, and the sequences before it in all, in / and in /client/.",
			frames: kv("/client/17", 42, uuid, "epoch=00000000000000ff\nprevious=0:41,1:41,8:17\n", "value")},
		{name: "ok-sequence-largest", about: "The largest sequence.", frames: kv("k", []byte("\xff\xff\xff\xff\xff\xff\xff\xff"), "", "", "v")},
		{name: "ok-key-longest", about: "A key of 255 bytes.", frames: kv(long[:255], 1, "", "", "v")},
		{name: "ok-property-longest", about: "A property's value of 255 bytes.", frames: kv("k", 1, "", "p="+long[:255]+"\n", "v")},
		{name: "ok-property-equals", about: "A property's value with an equals sign, and one that is empty.", frames: kv("k", 1, "", "p=a=b\nq=\n", "v")},
		{name: "ok-value-bytes", about: "A value of any bytes.", frames: kv("k", 1, "", "", "\x00\xff\n=")},
		{name: "ok-hugz", about: "A sign of life, as the specification has it.", frames: kv("HUGZ", 0, "", "", "")},
		{name: "ok-hugz-sequence", about: "A sign of life of the guide's server, with its sequence.", frames: kv("HUGZ", 17, "", "", "")},
		{name: "ok-kvsync", about: "An entry of a snapshot.", frames: kv("/client/17", 42, "", "", "value")},
		{name: "ok-kthxbai", about: "The end of a snapshot of a subtree.", frames: kv("KTHXBAI", 42, "", "", "/client/")},
		{name: "ok-kthxbai-ours", about: "The end of a snapshot of three entries, as this project's server sends it.",
			frames: kv("KTHXBAI", 42, "", "epoch=00000000000000ff\nentries=3\n", "/client/")},
		{name: "ok-simple", form: "kvsimple", about: "The form of models 2 to 4.", frames: kv("k", 1, "v", nil, nil)},
		{name: "ok-simple-end", form: "kvsimple", about: "The end of a snapshot in models 2 to 4.", frames: kv("KTHXBAI", 9, "", nil, nil)},
		{name: "ok-request", form: "request", about: "A request for everything.", frames: kv("ICANHAZ?", "", nil, nil, nil)},
		{name: "ok-request-subtree", form: "request", about: "A request for a subtree.", frames: kv("ICANHAZ?", "/client/", nil, nil, nil)},
		{name: "ok-request-bare", form: "request", about: "A request of models 2 and 3: for everything.", frames: kv("ICANHAZ?", nil, nil, nil, nil)},
	}
	bad := []vector{
		{name: "bad-frames-few", expect: reasonFrames, about: "Four frames.", frames: kv("k", 1, "", "", nil)},
		{name: "bad-frames-simple", expect: reasonFrames, about: "The other form.", frames: kv("k", 1, "v", nil, nil)},
		{name: "bad-frames-many", expect: reasonFrames, about: "Six frames.", frames: append(kv("k", 1, "", "", "v"), []byte("more"))},
		{name: "bad-frames-one", expect: reasonFrames, about: "One frame.", frames: kv("k", nil, nil, nil, nil)},
		{name: "bad-simple-frames", form: "kvsimple", expect: reasonFrames, about: "The other form.", frames: kv("k", 1, "", "", "v")},
		{name: "bad-key-empty", expect: reasonKeyEmpty, about: "No key.", frames: kv("", 1, "", "", "v")},
		{name: "bad-key-long", expect: reasonKeyLong, about: "A key of 256 bytes.", frames: kv(long, 1, "", "", "v")},
		{name: "bad-key-zero", expect: reasonKeyZero, about: "A key that C would cut.", frames: kv("a\x00b", 1, "", "", "v")},
		{name: "bad-sequence-short", expect: reasonSequence, about: "A sequence of four bytes.", frames: kv("k", "\x00\x00\x00\x01", "", "", "v")},
		{name: "bad-sequence-long", expect: reasonSequence, about: "A sequence of nine bytes.", frames: kv("k", "123456789", "", "", "v")},
		{name: "bad-sequence-empty", expect: reasonSequence, about: "No sequence.", frames: kv("k", "", "", "", "v")},
		{name: "bad-uuid", expect: reasonUUID, about: "A UUID as text.", frames: kv("k", 1, "01234567-89ab-cdef-0123-456789abcdef", "", "v")},
		{name: "bad-properties-end", expect: reasonPropsEnd, about: "A property without a line feed.", frames: kv("k", 1, "", "a=b", "v")},
		{name: "bad-properties-equal", expect: reasonPropsEqual, about: "A property without an equals sign.", frames: kv("k", 1, "", "a\n", "v")},
		{name: "bad-properties-empty", expect: reasonPropsEqual, about: "An empty line.", frames: kv("k", 1, "", "a=b\n\n", "v")},
		{name: "bad-properties-name", expect: reasonPropsName, about: "A property without a name.", frames: kv("k", 1, "", "=b\n", "v")},
		{name: "bad-properties-value", expect: reasonPropsValue, about: "A property's value of 256 bytes.", frames: kv("k", 1, "", "a="+long+"\n", "v")},
		{name: "bad-properties-twice", expect: reasonPropsTwice, about: "A property twice.", frames: kv("k", 1, "", "a=b\nc=d\na=e\n", "v")},
		{name: "bad-properties-zero", expect: reasonPropsZero, about: "A zero byte in a property.", frames: kv("k", 1, "", "a=\x00\n", "v")},
		{name: "bad-properties-many", expect: reasonPropsMany, about: "65 properties.", frames: kv("k", 1, "", many.String(), "v")},
		{name: "bad-properties-long", expect: reasonPropsLong, about: "8193 bytes of properties.", frames: kv("k", 1, "", strings.Repeat("x", 8190)+"=a\n", "v")},
		{name: "bad-request-word", form: "request", expect: reasonRequest, about: "Another question.", frames: kv("ICANHAZ", "", nil, nil, nil)},
		{name: "bad-request-empty", form: "request", expect: reasonRequest, about: "The empty frame of a REQ socket before the word.", frames: kv("", "ICANHAZ?", "", nil, nil)},
		{name: "bad-request-frames", form: "request", expect: reasonRequestFrames, about: "Three frames.", frames: kv("ICANHAZ?", "", "", nil, nil)},
		{name: "bad-request-long", form: "request", expect: reasonSubtreeLong, about: "A subtree that no key can be in.", frames: kv("ICANHAZ?", long, nil, nil, nil)},
		{name: "bad-request-zero", form: "request", expect: reasonSubtreeZero, about: "A zero byte in the subtree.", frames: kv("ICANHAZ?", "/a\x00/", nil, nil, nil)},
	}
	all := slices.Concat(ok, bad)
	for i := range all {
		v := &all[i]
		if v.form == "" {
			v.form = "kvmsg"
		}
		if v.expect == "" {
			v.expect = "ok"
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
			t.Errorf("%s differs from what is written (%v); if the format was meant to change, run with -update", path, err)
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
	for _, path := range vectorFiles(t) {
		v := readVector(t, path)
		t.Run(v.name, func(t *testing.T) {
			got, err := v.read()
			if v.expect != "ok" {
				var bad *FormatError
				if !errors.As(err, &bad) || bad.Reason != v.expect || err.Error() != "chp: "+v.expect {
					t.Fatalf("got %v, want %s", err, v.expect)
				}
				return
			}
			if err != nil || got != v.values {
				t.Fatalf("got %s, %v\nwant %s", got, err, v.values)
			}
			if again := rewrite(t, &v); !slices.EqualFunc(again, v.frames, bytes.Equal) {
				t.Errorf("written again it is %x\nwant %x", again, v.frames)
			}
		})
	}
}

// rewrite parses a good vector and writes it again.
func rewrite(t *testing.T, v *vector) [][]byte {
	t.Helper()
	if v.form == "request" {
		subtree, err := ParseRequest(v.frames)
		if err != nil {
			t.Fatal(err)
		}
		return AppendRequest(nil, subtree)[:len(v.frames)]
	}
	form := map[string]Form{"kvmsg": KVMsg, "kvsimple": KVSimple}[v.form]
	m, err := Parse(form, v.frames)
	if err != nil {
		t.Fatal(err)
	}
	return m.AppendFrames(nil, form, new([8]byte))
}

// TestVectorsCoverReasons holds that every reason in errors.go has a vector.
func TestVectorsCoverReasons(t *testing.T) {
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\treason\w+ += "(.*)"$`).FindAllSubmatch(source, -1)
	if len(found) < 15 {
		t.Fatalf("found %d reasons in errors.go", len(found))
	}
	seen := map[string]bool{}
	for _, path := range vectorFiles(t) {
		seen[readVector(t, path).expect] = true
	}
	for _, m := range found {
		if !seen[string(m[1])] {
			t.Errorf("no vector expects %q", m[1])
		}
	}
}
