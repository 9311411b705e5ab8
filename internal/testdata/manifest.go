package testdata

import (
	"encoding/json"
	"os"
	"testing"
)

// Manifest returns the entries of the data's manifest whose files are wanted, one at
// least, or skips the test where there is no data. T has the field File, and in the field
// Facts what the manifest says about a file of its format: other formats' facts have
// other shapes under the same names.
func Manifest[T any](t testing.TB, wanted func(file string) bool) []T {
	t.Helper()
	b, err := os.ReadFile(Path(t, "MANIFEST.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all []json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	var entries []T
	for _, raw := range all {
		var name struct{ File string }
		if err := json.Unmarshal(raw, &name); err != nil {
			t.Fatal(err)
		}
		if !wanted(name.File) {
			continue
		}
		var e T
		if err := json.Unmarshal(raw, &e); err != nil {
			t.Fatalf("%s: %v", name.File, err)
		}
		entries = append(entries, e)
	}
	if len(entries) == 0 {
		t.Fatal("the manifest names no such file")
	}
	return entries
}

// Facts returns what the manifest says about one file, or skips the test where there is
// no data.
func Facts[T any](t testing.TB, file string) T {
	t.Helper()
	type entry struct{ Facts T }
	return Manifest[entry](t, func(name string) bool { return name == file })[0].Facts
}
