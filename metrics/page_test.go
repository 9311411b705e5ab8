package metrics

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

var nameForm = regexp.MustCompile(Prefix + `[a-z0-9_]*[a-z0-9]`)

// TestPage: docs/METRICS.md has a line for every family, with type, unit, labels and
// meaning as they are shown, and none for what there is not; and whatever name it
// mentions elsewhere there is, such as in queries.
func TestPage(t *testing.T) {
	page, err := os.ReadFile("../docs/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]*Family{}
	for _, f := range Families() {
		known[f.Name] = f
	}
	lines := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		if cells := strings.Split(strings.TrimSpace(line), "|"); len(cells) == 7 && strings.HasPrefix(cells[1], " `"+Prefix) {
			name := strings.Trim(cells[1], " `")
			f := known[name]
			if f == nil || lines[name] {
				t.Errorf("the page has a line for %s, which is not shown, or has two", name)
				continue
			}
			lines[name] = true
			var labels []string
			for _, l := range f.Labels {
				labels = append(labels, "`"+l+"`")
			}
			for i, want := range []string{string(f.Kind), f.Unit, strings.Join(labels, " "), f.Help} {
				if got := strings.TrimSpace(cells[i+2]); got != want {
					t.Errorf("%s: the page says %q, shown is %q", name, got, want)
				}
			}
			continue
		}
		for _, name := range nameForm.FindAllString(line, -1) {
			for _, suffix := range []string{"_bucket", "_count", "_sum"} {
				if f := known[strings.TrimSuffix(name, suffix)]; f != nil && f.Kind == Histogram {
					name = f.Name
				}
			}
			if known[name] == nil {
				t.Errorf("the page speaks of %s, which there is not: %s", name, line)
			}
		}
	}
	for name := range known {
		if !lines[name] {
			t.Errorf("the page has no line for %s", name)
		}
	}
}
