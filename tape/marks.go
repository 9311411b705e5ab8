package tape

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tapedeck/tapedeck/internal/fsys"
	"github.com/tapedeck/tapedeck/wire"
)

// Mark is a named bookmark on a tape: a time, and the record that was meant
// where it was given by its sequence.
type Mark struct {
	Name  string
	Clock Clock // which time Time is
	Time  wire.Nanos
	At    *MarkAt // nil where only the time is known
	Note  string  // for people
}

// MarkAt is the place of a record that a mark stands at.
type MarkAt struct {
	Epoch wire.Epoch `json:"epoch"`
	Shard int        `json:"shard"`
	Seq   wire.Seq   `json:"seq"`
}

// MarkNameMax is the longest name of a mark, bytes.
const MarkNameMax = 64

// Errors of marks.
var (
	// ErrMarkName: the name is empty, too long, or has a space or a character
	// that cannot be printed.
	ErrMarkName = errors.New("tape: a mark's name must have 1 to 64 bytes, all of them printable, without spaces")
	// ErrMarkExists: another mark has the name.
	ErrMarkExists = errors.New("tape: a mark of this name exists")
	// ErrNoMark: no mark has the name.
	ErrNoMark = errors.New("tape: no such mark")
)

const (
	marksName    = "marks.json"
	marksVersion = 1
	marksSizeMax = 16 << 20
)

// marksFile is marks.json. Its field names are part of the format.
type marksFile struct {
	Version  int         `json:"version"`
	ID       ID          `json:"id"`
	Marks    []markEntry `json:"marks"`
	Checksum string      `json:"checksum"`
}

type markEntry struct {
	Name  string  `json:"name"`
	Clock string  `json:"clock"`
	Time  stamp   `json:"time"`
	At    *MarkAt `json:"at,omitempty"`
	Note  string  `json:"note,omitempty"`
}

func checkMarkName(name string) error {
	odd := func(r rune) bool { return !unicode.IsGraphic(r) || unicode.IsSpace(r) }
	if name == "" || len(name) > MarkNameMax || !utf8.ValidString(name) || strings.ContainsFunc(name, odd) {
		return fmt.Errorf("%w: %q", ErrMarkName, name)
	}
	return nil
}

// Marks returns the tape's marks in the order of their times, then names, as they
// are now. The error is a *CorruptError where the file that holds them is damaged.
func (t *Tape) Marks() ([]Mark, error) { return readMarks(t.fs, t.dir, t.meta.ID) }

// FindMark returns the mark of that name, or ErrNoMark.
func (t *Tape) FindMark(name string) (Mark, error) {
	list, err := t.Marks()
	if err != nil {
		return Mark{}, err
	}
	if i := slices.IndexFunc(list, func(m Mark) bool { return m.Name == name }); i >= 0 {
		return list[i], nil
	}
	return Mark{}, fmt.Errorf("%w: %q", ErrNoMark, name)
}

// AddMark adds a mark to the tape in dir, also while the tape is being written.
// It changes no record and no digest. The error is ErrMarkName, ErrMarkExists,
// ErrLocked where another process changes the marks, or the disk's.
func AddMark(dir string, m Mark) error { return AddMarkFS(fsys.OS{}, dir, m) }

// AddMarkFS is AddMark on any file system.
func AddMarkFS(fsx fsys.FS, dir string, m Mark) error {
	return editMarks(fsx, dir, func(list []Mark) ([]Mark, error) { return withMark(list, m) })
}

// RemoveMark removes a mark. The error is ErrNoMark, or as with AddMark.
func RemoveMark(dir, name string) error { return RemoveMarkFS(fsys.OS{}, dir, name) }

// RemoveMarkFS is RemoveMark on any file system.
func RemoveMarkFS(fsx fsys.FS, dir, name string) error {
	return editMarks(fsx, dir, func(list []Mark) ([]Mark, error) {
		n := len(list)
		if list = slices.DeleteFunc(list, func(m Mark) bool { return m.Name == name }); len(list) == n {
			return nil, fmt.Errorf("%w: %q", ErrNoMark, name)
		}
		return list, nil
	})
}

// SetMarks sets the marks that Close writes, copying the list. It is for a new
// tape that is made from others; AddMark is for one that is being recorded.
func (w *Writer) SetMarks(marks []Mark) error {
	var list []Mark
	for _, m := range marks {
		var err error
		if list, err = withMark(list, m); err != nil {
			return err
		}
	}
	w.closing.Lock()
	defer w.closing.Unlock()
	w.marks = list
	return nil
}

// withMark returns the list with one more mark, sorted.
func withMark(list []Mark, m Mark) ([]Mark, error) {
	if err := checkMarkName(m.Name); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(list, func(o Mark) bool { return o.Name == m.Name }) {
		return nil, fmt.Errorf("%w: %q", ErrMarkExists, m.Name)
	}
	list = append(list, m)
	sortMarks(list)
	return list, nil
}

func sortMarks(list []Mark) {
	slices.SortFunc(list, func(a, b Mark) int {
		switch {
		case a.Time < b.Time:
			return -1
		case a.Time > b.Time:
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
}

// editMarks changes the marks file under a lock. The lock is on the manifest: a
// writer holds that on the directory for as long as it records, and marks are
// set meanwhile.
func editMarks(fsx fsys.FS, dir string, edit func([]Mark) ([]Mark, error)) (err error) {
	m, err := readManifest(fsx, dir)
	if err != nil {
		return err
	}
	lock, err := lockTape(fsx, dir+"/"+manifestName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	list, err := readMarks(fsx, dir, m.ID)
	if err != nil {
		return err
	}
	if list, err = edit(list); err != nil {
		return err
	}
	return writeMarks(fsx, dir, m.ID, list)
}

func writeMarks(fsx fsys.FS, dir string, id ID, list []Mark) error {
	b, err := encodeMarks(id, list)
	if err != nil {
		return err
	}
	if err := fsys.WriteFile(fsx, dir, marksName, b); err != nil {
		return &WriteError{File: dir + "/" + marksName, Err: err}
	}
	return nil
}

func encodeMarks(id ID, list []Mark) ([]byte, error) {
	f := marksFile{Version: marksVersion, ID: id, Marks: make([]markEntry, 0, len(list))}
	for _, m := range list {
		f.Marks = append(f.Marks, markEntry{Name: m.Name, Clock: m.Clock.String(), Time: stamp(m.Time), At: m.At, Note: m.Note})
	}
	f.Checksum = checksumZero
	b, err := json.MarshalIndent(&f, "", "  ")
	if err != nil {
		return nil, err
	}
	return sealJSON(append(b, '\n')), nil
}

// readMarks returns the marks; none where there is no such file.
func readMarks(fsx fsys.FS, dir string, id ID) ([]Mark, error) {
	b, err := fsys.ReadFile(fsx, dir+"/"+marksName, marksSizeMax)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("tape: read marks: %w", err)
	}
	return parseMarks(b, id)
}

// parseMarks checks and takes apart the content of marks.json.
func parseMarks(b []byte, id ID) ([]Mark, error) {
	bad := func(reason string, err error) error {
		return &CorruptError{File: marksName, Reason: reason, Err: err}
	}
	var head struct {
		Version int `json:"version"`
	}
	if json.Unmarshal(b, &head) == nil && head.Version > marksVersion {
		return nil, fmt.Errorf("%w (marks format %d, this is %d)", ErrVersion, head.Version, marksVersion)
	}
	if reason := checkSealedJSON(b); reason != "" {
		return nil, bad(reason, nil)
	}
	var f marksFile
	if err := json.Unmarshal(b, &f); err != nil {
		return nil, bad("not valid JSON", err)
	}
	if f.Version != marksVersion {
		return nil, bad("unknown version", nil)
	}
	if f.ID != id {
		return nil, bad("marks are of another tape", nil)
	}
	list, names := make([]Mark, 0, len(f.Marks)), map[string]bool{}
	for _, e := range f.Marks {
		c, err := ParseClock(e.Clock)
		if err == nil {
			err = checkMarkName(e.Name)
		}
		if err == nil && names[e.Name] {
			err = ErrMarkExists
		}
		if err != nil {
			return nil, bad("mark is damaged", err)
		}
		names[e.Name] = true
		list = append(list, Mark{Name: e.Name, Clock: c, Time: wire.Nanos(e.Time), At: e.At, Note: e.Note})
	}
	sortMarks(list)
	return list, nil
}
