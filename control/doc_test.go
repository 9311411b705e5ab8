package control

import (
	"encoding/json"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// documented are the types whose tables docs/CONTROL.md has.
var documented = []any{
	DeckOf{}, DeckOpen{}, DeckPlay{}, DeckStep{}, DeckSeek{}, DeckMark{}, DeckSpeed{}, DeckSqueeze{}, DeckLoop{}, DeckFilter{},
	DeckState{}, DeckPair{}, DeckPosition{}, DeckInterval{}, Pacing{}, DeckResult{}, DeckMarked{}, DeckList{}, DeckWatch{}, ClonePlace{},
	TapeOf{}, TapesList{}, TapesLast{}, TapesListed{}, TapeEntry{}, TapeInfo{}, TapeEncoding{}, TapeTorn{}, TapeVerified{}, TapeLast{}, TapeRecord{}, TapeMark{},
	ReadersList{}, ReaderState{}, ReaderConnection{},
	RecorderOf{}, RecorderStart{}, RecorderState{}, RecorderList{}, RecordDump{},
	JobOf{}, JobAdd{}, JobAdded{}, JobState{}, JobList{}, ImportArgs{}, ExportArgs{}, RecordArgs{},
	Status{}, BusState{}, ServiceState{}, LVCState{}, ResyncState{}, JobCounts{}, Limits{},
	PairState{}, PairLink{}, PairPromote{},
}

func readDoc(t *testing.T) string {
	t.Helper()
	doc, err := os.ReadFile("../docs/CONTROL.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(doc)
}

// tables returns the tables of types in the page: of each its bases, and the JSON
// form of each key.
func tables(t *testing.T, doc string) (bases map[string][]string, keys map[string]map[string]string) {
	t.Helper()
	bases, keys = map[string][]string{}, map[string]map[string]string{}
	head := regexp.MustCompile(`^\*\*(\w+)\*\*(.*)$`)
	base := regexp.MustCompile(`^ is (\w+) and$`)
	row := regexp.MustCompile("^\\| (`.*`) \\| (.*?) \\| .*\\|$")
	name := ""
	for line := range strings.Lines(doc) {
		line = strings.TrimRight(line, "\n")
		if m := head.FindStringSubmatch(line); m != nil {
			name = m[1]
			if keys[name] != nil {
				t.Errorf("%s is there twice", name)
			}
			keys[name] = map[string]string{}
			if b := base.FindStringSubmatch(m[2]); b != nil {
				bases[name] = append(bases[name], b[1])
			}
			continue
		}
		m := row.FindStringSubmatch(line)
		if strings.HasPrefix(line, "#") || strings.HasPrefix(line, "| command ") {
			name = "" // tables of commands and codes are looked at elsewhere
		}
		if m == nil || name == "" {
			continue
		}
		for key := range strings.SplitSeq(m[1], ", ") {
			keys[name][strings.Trim(key, "`")] = m[2]
		}
	}
	return bases, keys
}

// form is the JSON form of a Go type, as the page says it.
func form(typ reflect.Type, key string) string {
	switch {
	case typ == reflect.TypeFor[json.RawMessage]():
		return "object"
	case key == "records" && typ == reflect.TypeFor[[]json.RawMessage]():
		return "array of TapeRecord"
	}
	switch typ.Kind() {
	case reflect.Pointer:
		return form(typ.Elem(), key)
	case reflect.Slice:
		return "array of " + form(typ.Elem(), key)
	case reflect.Map:
		return "object"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Struct:
		return typ.Name()
	}
	return "integer"
}

// TestDocHasEveryMember holds the page against the types, both ways.
func TestDocHasEveryMember(t *testing.T) {
	bases, keys := tables(t, readDoc(t))
	seen := map[string]bool{}
	for _, v := range documented {
		typ := reflect.TypeOf(v)
		name := typ.Name()
		seen[name] = true
		if keys[name] == nil {
			t.Errorf("docs/CONTROL.md has no table of %s", name)
			continue
		}
		want, embedded := map[string]string{}, []string(nil)
		for i := range typ.NumField() {
			f := typ.Field(i)
			if f.Anonymous {
				embedded = append(embedded, f.Type.Name())
				continue
			}
			key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if key == "" {
				t.Errorf("%s.%s has no key", name, f.Name)
			}
			want[key] = form(f.Type, key)
		}
		if !slices.Equal(bases[name], embedded) {
			t.Errorf("%s is %v and more on the page, and %v in the code", name, bases[name], embedded)
		}
		for key, form := range want {
			if keys[name][key] != form {
				t.Errorf("%s of %s is %q on the page, and %q in the code", key, name, keys[name][key], form)
			}
		}
		for key := range keys[name] {
			if want[key] == "" {
				t.Errorf("%s has no %s in the code", name, key)
			}
		}
	}
	for name := range keys {
		if !seen[name] && name != "Service" {
			t.Errorf("the page has a table of %s, the code no such type", name)
		}
	}
}

// TestDocHasEveryCode holds the table of codes against the code.
func TestDocHasEveryCode(t *testing.T) {
	_, page, _ := strings.Cut(readDoc(t), "## 4. Codes")
	page, _, _ = strings.Cut(page, "\n## ")
	rows := regexp.MustCompile(`(?m)^\| (\d{3}) \|`).FindAllStringSubmatch(page, -1)
	on := map[string]bool{}
	for _, row := range rows {
		on[row[1]] = true
	}
	for code := range codeNames {
		if text := Code(1000 + int(code)).String()[1:]; !on[text] {
			t.Errorf("the page has no code %s", text)
		}
	}
	if len(on) != len(codeNames) {
		t.Errorf("the page has %d codes, the code %d", len(on), len(codeNames))
	}
}

// TestDocExample holds the example against its vector.
func TestDocExample(t *testing.T) {
	_, text, _ := strings.Cut(readDoc(t), "<!-- example -->")
	text, _, _ = strings.Cut(text, "<!-- end of example -->")
	v := readVector(t, vectorDir+"/ok-request.txt")
	if got, want := strings.Fields(text), []string{string(v.frames[0]), string(v.frames[1])}; !slices.Equal(got, want) {
		t.Errorf("the example is %q, the vector %q", got, want)
	}
}
