package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/tapedeck/tapedeck/internal/fsys"
)

const listHead = `# Who may connect to this Tapedeck, and do what. Read anew when it changes.
# tapedeck keys allow and revoke write here; so may you.
`

// appendTo adds what add returns to a list's file, whole or not at all, and only where
// the outcome is a list again.
func appendTo(file string, add func(l *List) (string, error)) error {
	text, err := readFile(file, false)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = listHead, nil
	}
	if err != nil {
		return err
	}
	l, err := ParseList(text)
	if err != nil {
		return fmt.Errorf("keys: %s: %w", file, err)
	}
	more, err := add(l)
	if err != nil {
		return err
	}
	text += more
	if _, err := ParseList(text); err != nil {
		return fmt.Errorf("keys: %s is left as it is: %w", file, err)
	}
	dir, name := filepath.Split(file)
	if dir == "" {
		dir = "."
	}
	if err := fsys.WriteFile(fsys.OS{}, dir, name, []byte(text)); err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	return nil
}
