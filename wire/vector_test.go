package wire

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
)

const vectorDir = "../testkit/wire"

var update = flag.Bool("update", false, "write the golden vectors anew")

// vector is one golden vector: the frames of a message and what a reader must
// make of them. testkit/wire/README.md describes the files.
type vector struct {
	name, expect, about    string
	header, payload, order []byte
	reference              []byte   // of a reference: the second frame; payload and order are what it means
	values                 []string // lines of JSON: the batch, then its records
}

// parse reads the message as another implementation would: a reference frame is
// taken for one, and everything else for the second frame of a batch.
func (v *vector) parse() (Batch, error) {
	if v.reference == nil {
		return ParseBatch(v.header, v.payload, v.order)
	}
	h, _, err := ViewReference(v.header, v.reference)
	if err != nil {
		return Batch{}, err
	}
	b, err := h.Resolve(slices.Concat(v.payload, v.order))
	if err != nil {
		return b, err
	}
	return b, b.Check()
}

// values are what a reader gets from a valid message, one JSON object a line.
func values(b *Batch) []string {
	type batchValues struct {
		Flags        HeaderFlags `json:"flags"`
		Shard        uint16      `json:"shard"`
		Shards       uint16      `json:"shards"`
		Count        uint32      `json:"count"`
		Epoch        Epoch       `json:"epoch"`
		FirstSeq     Seq         `json:"first_seq"`
		FirstOrdinal Ordinal     `json:"first_ordinal"`
		Send         int64       `json:"send_ns"`
		Due          int64       `json:"due_ns"`
		Hash         Hash        `json:"hash"`
		HashAfter    Hash        `json:"hash_after"`
	}
	type recordValues struct {
		Seq      Seq         `json:"seq"`
		Ordinal  Ordinal     `json:"ordinal"`
		Topic    string      `json:"topic_hex"`
		TopicSeq uint32      `json:"topic_seq"`
		Kind     Kind        `json:"kind"`
		Flags    RecordFlags `json:"flags"`
		Event    int64       `json:"event_ns"`
		Receive  int64       `json:"receive_ns"`
		Body     string      `json:"body_hex"`
	}
	after := b.Hash
	if !b.Bare() {
		after = after.Roll(b.Count, b.CRC)
	}
	lines := []string{mustJSON(batchValues{b.Flags, b.Shard, b.Shards, b.Count, b.Epoch, b.FirstSeq,
		b.FirstOrdinal, int64(b.Send), int64(b.Due), b.Hash, after})}
	o := b.Ordinals()
	for w := b.Records(); w.Next(); {
		r := w.Record()
		lines = append(lines, mustJSON(recordValues{w.Seq(), o.Next(), hex.EncodeToString(r.Topic()), r.TopicSeq(),
			r.Kind(), r.Flags(), int64(r.Event()), int64(r.Receive()), hex.EncodeToString(r.Body())}))
	}
	return lines
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
	fmt.Fprintf(&b, "expect: %s\nabout: %s\n", v.expect, v.about)
	for _, f := range []struct {
		name  string
		bytes []byte
	}{{"header", v.header}, {"reference", v.reference}, {"payload", v.payload}, {"order", v.order}} {
		if f.name == "reference" && v.reference == nil {
			continue
		}
		fmt.Fprintf(&b, "\nframe: %s, %d bytes\n", f.name, len(f.bytes))
		for line := range slices.Chunk(f.bytes, 32) {
			fmt.Fprintf(&b, "%x\n", line)
		}
	}
	if len(v.values) > 0 {
		fmt.Fprintf(&b, "\nvalues:\n%s\n", strings.Join(v.values, "\n"))
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
	var into *[]byte
	for sc := bufio.NewScanner(bytes.NewReader(data)); sc.Scan(); {
		key, rest, _ := strings.Cut(sc.Text(), ": ")
		switch {
		case sc.Text() == "", sc.Text() == "values:":
			into = nil
		case key == "expect":
			v.expect = rest
		case key == "about":
			v.about = rest
		case key == "frame":
			frame, _, _ := strings.Cut(rest, ",")
			into = map[string]*[]byte{"header": &v.header, "reference": &v.reference, "payload": &v.payload, "order": &v.order}[frame]
			*into = []byte{} // the frame is there, though it may be empty
		case into != nil:
			b, err := hex.DecodeString(sc.Text())
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			*into = append(*into, b...)
		default:
			v.values = append(v.values, sc.Text())
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

// TestVectorsAreCurrent compares the files with what this package writes, or
// with -update writes them.
func TestVectorsAreCurrent(t *testing.T) {
	want := map[string]bool{}
	for _, v := range vectors(t) {
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
		got, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(got, v.text()) {
			t.Errorf("%s differs from what the encoder gives (%v); if the format was meant to change, run with -update", path, err)
		}
	}
	for _, path := range vectorFiles(t) {
		if !want[path] {
			t.Errorf("%s is no vector of this test", path)
		}
	}
}

// TestVectors reads every file as another implementation would.
func TestVectors(t *testing.T) {
	for _, path := range vectorFiles(t) {
		v := readVector(t, path)
		t.Run(v.name, func(t *testing.T) {
			b, err := v.parse()
			if v.expect == "ok" {
				if err != nil {
					t.Fatal(err)
				}
				if got := values(&b); !slices.Equal(got, v.values) {
					t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(v.values, "\n"))
				}
				return
			}
			var bad *FormatError
			if !errors.As(err, &bad) || bad.Reason != v.expect {
				t.Fatalf("got %v, want %s", err, v.expect)
			}
			if !strings.HasSuffix(err.Error(), v.expect) || !strings.HasPrefix(err.Error(), "wire: ") {
				t.Errorf("text of the error: %v", err)
			}
		})
	}
}

// TestVectorsCoverReasons holds that every reason in errors.go has a vector.
func TestVectorsCoverReasons(t *testing.T) {
	source, err := os.ReadFile("errors.go")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\treason\w+ += "(.*)"$`).FindAllSubmatch(source, -1)
	if len(found) < 20 {
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

// TestDocExample holds the example in docs/WIRE.md to its vector.
func TestDocExample(t *testing.T) {
	doc, err := os.ReadFile("../docs/WIRE.md")
	if err != nil {
		t.Fatal(err)
	}
	v := readVector(t, filepath.Join(vectorDir, "ok-order.txt"))
	_, example, _ := strings.Cut(string(doc), "<!-- example -->")
	example, _, _ = strings.Cut(example, "<!-- end of example -->")
	var digits strings.Builder
	for line := range strings.Lines(example) {
		line, _, _ = strings.Cut(line, "|") // what follows is explanation
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	for _, frame := range [][]byte{v.header, v.payload, v.order} {
		if !strings.Contains(digits.String(), hex.EncodeToString(frame)) {
			t.Errorf("docs/WIRE.md does not show the frame %x", frame)
		}
	}
}
