package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/tapedeck/tapedeck/control"
)

// tapesDir is the directory that commands find tapes in, and no others: whoever may
// use the bus need not be one who may read this machine's files.
type tapesDir struct {
	root string // absolute, without links
}

// openTapesDir makes sure of a directory.
func openTapesDir(dir string) (*tapesDir, error) {
	root, err := resolved(dir)
	if err != nil {
		return nil, withHint(err, "--tapes names the directory of the tapes")
	}
	info, err := os.Stat(root)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is no directory", dir)
	}
	return &tapesDir{root}, nil
}

// resolved is a path without links, from the root of the file system.
func resolved(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}

// inside reports whether path, without links, is dir or lies below it.
func inside(dir, path string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(rel)
}

// checkName refuses names that lead elsewhere, before anything is looked for.
func (d *tapesDir) checkName(what, name string) error {
	bad := func(why string) error {
		return &control.Error{Code: control.BadRequest, Reason: fmt.Sprintf("%s %.200q: %s", what, name, why),
			Try: "a tape is named by its path below the directory of the tapes, such as es.tape or 2023/es.tape"}
	}
	switch {
	case name == "":
		return bad("it has no name")
	case strings.ContainsRune(name, 0):
		return bad("a name has no zero byte")
	case filepath.IsAbs(name):
		return bad("an absolute path leads out of the directory of the tapes")
	case !filepath.IsLocal(name):
		return bad("it leads out of the directory of the tapes")
	}
	for part := range strings.SplitSeq(filepath.ToSlash(filepath.Clean(name)), "/") {
		if strings.HasPrefix(part, ".") && part != "." {
			return bad("names that begin with a dot are not for tapes")
		}
	}
	return nil
}

// existing returns the path of something that is there.
func (d *tapesDir) existing(what, name string) (string, error) {
	if err := d.checkName(what, name); err != nil {
		return "", err
	}
	path, err := filepath.EvalSymlinks(filepath.Join(d.root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", &control.Error{Code: control.NotFound, Reason: fmt.Sprintf("there is no %s %.200q in %s", what, name, d.root), Try: "tapedeck tapes list shows what there is"}
	}
	if err != nil {
		return "", err
	}
	if !inside(d.root, path) {
		return "", &control.Error{Code: control.BadRequest, Reason: fmt.Sprintf("%s %.200q: a link leads out of the directory of the tapes", what, name),
			Try: "copy it there, or start serve with --tapes at a directory that holds it"}
	}
	return path, nil
}

// fresh returns the path for something that is to be made. The directory that it is
// in must be there.
func (d *tapesDir) fresh(what, name string) (string, error) {
	if err := d.checkName(what, name); err != nil {
		return "", err
	}
	name = filepath.Clean(name)
	if name == "." {
		return "", &control.Error{Code: control.BadRequest, Reason: fmt.Sprintf("%s %q is the directory of the tapes itself", what, name), Try: "give it a name, such as day.tape"}
	}
	parent := d.root
	if dir := filepath.Dir(name); dir != "." {
		var err error
		if parent, err = d.existing("directory", dir); err != nil {
			return "", err
		}
	}
	path := filepath.Join(parent, filepath.Base(name))
	// What is there already may be a link; where it leads counts.
	if at, err := filepath.EvalSymlinks(path); err == nil {
		if !inside(d.root, at) {
			return "", &control.Error{Code: control.BadRequest, Reason: fmt.Sprintf("%s %.200q: a link leads out of the directory of the tapes", what, name)}
		}
		return at, nil
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", &control.Error{Code: control.BadRequest, Reason: fmt.Sprintf("%s %.200q is a link that leads nowhere", what, name)}
	}
	return path, nil
}

// name is what a path is called by those who use the bus.
func (d *tapesDir) name(path string) string {
	rel, err := filepath.Rel(d.root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return filepath.Base(path)
	}
	return filepath.ToSlash(rel)
}

// baseName is a tape's last name, without .tape: what decks and recorders are called
// where nobody says.
func baseName(tape string) string {
	return strings.TrimSuffix(filepath.Base(filepath.Clean(tape)), ".tape")
}
