package resync

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestResumeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "positions")
	if _, err := LoadResume(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	for _, want := range [][]Span{{{1<<64 - 1, 0, 0, 1<<64 - 2}, {7, 3, 0, 0}}, {{8, 0, 0, 5}}, nil} {
		if err := SaveResume(path, want); err != nil {
			t.Fatal(err)
		}
		if got, err := LoadResume(path); err != nil || !slices.Equal(got, want) {
			t.Errorf("got %v, want %v: %v", got, want, err)
		}
	}
	// A save that was cut off leaves the file as it was.
	if err := os.WriteFile(path+".new", []byte(`{"version":1,"sha`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadResume(path); err != nil {
		t.Error(err)
	}
	if err := SaveResume(path, nil); err != nil {
		t.Error(err)
	}
	if list, _ := os.ReadDir(filepath.Dir(path)); len(list) != 1 {
		t.Errorf("left behind: %v", list)
	}
	if err := SaveResume(filepath.Join(path, "below", "a file"), nil); err == nil {
		t.Error("saved below a file")
	}
}

func TestResumeFileIsChecked(t *testing.T) {
	path := filepath.Join(t.TempDir(), "positions")
	for _, text := range []string{
		"", "{", "null", `{"version":2,"shards":[]}`, `{"version":1,"shards":[]} {}`, `{"version":1,"shards":[],"more":1}`,
		`{"version":1,"shards":[{"shard":0,"epoch":"0","next":"1"}]}`, `{"version":1,"shards":[{"shard":-1,"epoch":"1","next":"1"}]}`,
		`{"version":1,"shards":[{"shard":0,"epoch":"1","next":"-1"}]}`, `{"version":1,"shards":[{"shard":65536,"epoch":"1","next":"1"}]}`,
		`{"version":1,"shards":[{"shard":0,"epoch":"1","next":"1"},{"shard":0,"epoch":"1","next":"1"}]}`,
		`{"version":1,"shards":[]}` + strings.Repeat(" ", resumeMax),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadResume(path); !errors.Is(err, ErrResumeFile) {
			t.Errorf("%.60q was taken: %v", text, err)
		}
	}
}

func FuzzResumeFile(f *testing.F) {
	f.Add([]byte(`{"version":1,"shards":[{"shard":0,"epoch":"7","next":"15"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := parseResume(b)
		if err != nil {
			return
		}
		path := filepath.Join(t.TempDir(), "positions")
		if err := SaveResume(path, got); err != nil {
			t.Fatal(err)
		}
		if again, err := LoadResume(path); err != nil || !slices.Equal(got, again) {
			t.Errorf("got %v, want %v: %v", again, got, err)
		}
	})
}
