package main

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tapedeck/tapedeck/control"
)

// fileRoots are the directories whose files jobs may read and write, beside tapes.
type fileRoots struct{ roots []string } // absolute, without links

// openFileRoots makes sure of directories; none means that of the tapes.
func openFileRoots(dirs []string, tapes *tapesDir) (*fileRoots, error) {
	if len(dirs) == 0 {
		return &fileRoots{[]string{tapes.root}}, nil
	}
	f := &fileRoots{}
	for _, dir := range dirs {
		root, err := resolved(dir)
		if err != nil {
			return nil, withHint(err, "files names the directories that jobs may read and write")
		}
		f.roots = append(f.roots, root)
	}
	return f, nil
}

// path is a name as a path: one that is not absolute begins in the first directory.
func (f *fileRoots) path(name string) (string, error) {
	if name == "" || strings.ContainsRune(name, 0) {
		return "", &control.Error{Code: control.BadRequest, Reason: fmt.Sprintf("file %q: it has no name", name), Try: "name a file as the serving process sees it"}
	}
	if !filepath.IsAbs(name) {
		name = filepath.Join(f.roots[0], name)
	}
	return filepath.Clean(name), nil
}

// within refuses what lies elsewhere.
func (f *fileRoots) within(name, path string) error {
	for _, root := range f.roots {
		if inside(root, path) {
			return nil
		}
	}
	return &control.Error{Code: control.Refused, Reason: fmt.Sprintf("file %.200q is in none of the directories that jobs may use: %s", name, strings.Join(f.roots, ", ")),
		Try: "move it there, or start serve with files, or --files, at the directory that it is in"}
}

// existing returns the path of a file that is there. Links count as what they lead
// to.
func (f *fileRoots) existing(name string) (string, error) {
	path, err := f.path(name)
	if err != nil {
		return "", err
	}
	at, err := filepath.EvalSymlinks(path)
	if err != nil {
		// Whether there is something elsewhere is nobody's business.
		if e := f.within(name, path); e != nil {
			return "", e
		}
		return "", &control.Error{Code: control.NotFound, Reason: fmt.Sprintf("there is no file %.200q", name), Try: "name a file as the serving process sees it"}
	}
	return at, f.within(name, at)
}

// fresh returns the path of a file that is to be made.
func (f *fileRoots) fresh(name string) (string, error) {
	path, err := f.path(name)
	if err != nil {
		return "", err
	}
	dir, err := f.existing(filepath.Dir(path))
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, filepath.Base(path))
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeType != 0 {
		return "", &control.Error{Code: control.Refused, Reason: fmt.Sprintf("%.200q is there, and is no file", name), Try: "choose another name"}
	}
	return path, f.within(name, path)
}
