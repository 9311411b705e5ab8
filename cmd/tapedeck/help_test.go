package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// commandTree is every command that people are told of, by what they type.
func commandTree() map[string]*cobra.Command {
	all := map[string]*cobra.Command{}
	var add func(*cobra.Command)
	add = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			if !sub.Hidden && sub.Name() != "completion" && sub.Name() != "help" {
				all[sub.CommandPath()] = sub
				add(sub)
			}
		}
	}
	add(newRoot())
	return all
}

// TestExamples: every command has examples, and each of them is one that it takes.
func TestExamples(t *testing.T) {
	tapedeck := regexp.MustCompile(`tapedeck ([^|;&>]+)`)
	for path, cmd := range commandTree() {
		if cmd.Example == "" && path != "tapedeck version" {
			t.Errorf("%s has no examples", path)
		}
		for line := range strings.Lines(cmd.Example) {
			invocations := tapedeck.FindAllStringSubmatch(line, -1)
			if len(invocations) == 0 {
				t.Errorf("%s: %q calls nothing", path, line)
			}
			for _, in := range invocations {
				if err := takes(words(in[1])); err != nil {
					t.Errorf("%s: %s: %v", path, strings.TrimSpace(line), err)
				}
			}
		}
	}
}

// takes is how the command line is refused before anything is done.
func takes(args []string) error {
	cmd, args, err := newRoot().Find(args)
	if err != nil {
		return err
	}
	if err := cmd.ParseFlags(args); err != nil {
		return err
	}
	if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
		return err
	}
	return cmd.ValidateRequiredFlags()
}

// words are those of a line as a shell has them, so far as examples go.
func words(line string) []string {
	var list []string
	for _, w := range regexp.MustCompile(`'[^']*'|\S+`).FindAllString(line, -1) {
		list = append(list, strings.Trim(w, "'"))
	}
	return list
}

// TestDocsNameFlags: what the pages call a flag is one, of some command.
func TestDocsNameFlags(t *testing.T) {
	known := map[string]bool{"--help": true, "--version": true}
	for _, cmd := range commandTree() {
		for _, set := range []*pflag.FlagSet{cmd.LocalFlags(), cmd.InheritedFlags()} {
			set.VisitAll(func(f *pflag.Flag) { known["--"+f.Name] = true })
		}
	}
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal(pages, err)
	}
	flag := regexp.MustCompile(`(?:^|[^\w-])(--[a-z][a-z0-9-]+)`)
	for _, page := range append(pages, "../../README.md") {
		b, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range flag.FindAllStringSubmatch(string(b), -1) {
			if !known[m[1]] {
				t.Errorf("%s names %s, which no command has", page, m[1])
			}
		}
	}
}

// TestDocsNameMessages: docs/CLI.md tells of every message that programs may get.
func TestDocsNameMessages(t *testing.T) {
	page, err := os.ReadFile("../../docs/CLI.md")
	if err != nil {
		t.Fatal(err)
	}
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	said, found := regexp.MustCompile(`\.message\("([a-z.-]+[a-z])"`), 0
	for _, name := range sources {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range said.FindAllStringSubmatch(string(b), -1) {
			if found++; !strings.Contains(string(page), "`"+m[1]+"`") {
				t.Errorf("docs/CLI.md does not tell of %s, which %s says", m[1], name)
			}
		}
	}
	if found < 30 {
		t.Errorf("the sources say %d messages: where are the others?", found)
	}
}
