package archtest

import (
	"bufio"
	"os"
	"strings"
	"testing"
)

// TestDependenciesAreExplained holds that each direct dependency has its line in
// docs/DEPENDENCIES.md.
func TestDependenciesAreExplained(t *testing.T) {
	explained, err := os.ReadFile("../../docs/DEPENDENCIES.md")
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.Open("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	defer mod.Close()
	found := 0
	for lines := bufio.NewScanner(mod); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) != 2 || !strings.HasPrefix(fields[1], "v") || fields[0] == "require" {
			continue // comments, directives, and what is only there for another
		}
		found++
		if !strings.Contains(string(explained), fields[0]) {
			t.Errorf("docs/DEPENDENCIES.md does not say what %s is for", fields[0])
		}
	}
	if found < 10 {
		t.Errorf("found %d direct dependencies in go.mod: is it read right?", found)
	}
}
