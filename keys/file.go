package keys

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/BurntSushi/toml"
)

// Names of the files of a pair.
const (
	pairSuffix   = ".key"
	publicSuffix = ".pub"
)

// fileMax bounds what is read of a file, bytes.
const fileMax = 1 << 20

// keyFile is a file of a pair, or of its public half.
type keyFile struct {
	Name   string `toml:"name"`
	Public string `toml:"public"`
	Secret string `toml:"secret"`
}

// Write writes NAME.key and NAME.pub to a directory and returns their names. Files that
// exist are not touched.
func (p *Pair) Write(dir string) (pair, public string, err error) {
	pair, public = filepath.Join(dir, p.Name+pairSuffix), filepath.Join(dir, p.Name+publicSuffix)
	secret := fmt.Sprintf("# A Tapedeck key pair. It stays on this machine; give others %s%s.\nname = %q\npublic = %q\nsecret = %q\n",
		p.Name, publicSuffix, p.Name, p.Public.String(), p.Secret.Z85())
	if err := writeNew(pair, secret, 0o600); err != nil {
		return "", "", err
	}
	err = writeNew(public, fmt.Sprintf("# A public key, for `tapedeck keys allow` and --server-key.\nname = %q\npublic = %q\n", p.Name, p.Public.String()), 0o644)
	if err != nil {
		return "", "", errors.Join(err, os.Remove(pair))
	}
	return pair, public, nil
}

// writeNew writes a file that does not exist yet, and syncs it.
func writeNew(name, text string, mode os.FileMode) error {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("keys: %w", err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("keys: %s: %w", name, errors.Join(err, os.Remove(name)))
	}
	return nil
}

// ReadPair reads a key pair. A file that others than its owner can read or change, or
// that belongs to somebody else than who runs this and root, is refused.
func ReadPair(name string) (Pair, error) {
	if strings.HasSuffix(name, publicSuffix) { // which everybody may read
		return Pair{}, fmt.Errorf("keys: %s has no secret: want the file that ends in %s", name, pairSuffix)
	}
	text, err := readFile(name, true)
	if err != nil {
		return Pair{}, err
	}
	f, err := parseFile(name, text)
	if err != nil {
		return Pair{}, err
	}
	var s Secret
	if f.Secret == "" {
		return Pair{}, fmt.Errorf("keys: %s has no secret: want the file that ends in %s", name, pairSuffix)
	}
	if err := decodeZ85(s[:], f.Secret); err != nil {
		return Pair{}, fmt.Errorf("keys: %s: the secret is no key", name) // not what it is
	}
	public, err := s.Public()
	if err != nil {
		return Pair{}, fmt.Errorf("keys: %s: %w", name, err)
	}
	if f.Public != public.String() {
		return Pair{}, fmt.Errorf("keys: %s: the public key is not that of the secret", name)
	}
	return Pair{Name: f.Name, Public: public, Secret: s}, nil
}

// ReadPublic reads a public key: from 40 characters of Z85, or from a file of a pair or
// its public half. The name is "" where the text is the key itself. A file that is there
// goes first: names of files have the letters of keys, and may be as long.
func ReadPublic(s string) (Key, string, error) {
	if k, err := ParseKey(s); err == nil {
		if _, err := os.Stat(s); err != nil {
			return k, "", nil
		}
	}
	text, err := readFile(s, strings.HasSuffix(s, pairSuffix))
	if err != nil {
		return Key{}, "", fmt.Errorf("%w (nor is it a key of 40 characters)", err)
	}
	f, err := parseFile(s, text)
	if err != nil {
		return Key{}, "", err
	}
	k, err := ParseKey(f.Public)
	if err != nil {
		return Key{}, "", fmt.Errorf("%s: public: %w", s, err)
	}
	return k, f.Name, nil
}

func parseFile(name, text string) (keyFile, error) {
	var f keyFile
	if err := decodeStrict(text, &f); err != nil {
		return f, fmt.Errorf("keys: %s: %w", name, err)
	}
	if err := CheckName(f.Name); err != nil {
		return f, fmt.Errorf("%s: %w", name, err)
	}
	return f, nil
}

// decodeStrict decodes TOML and refuses keys that mean nothing. Its errors do not
// quote the text, which may hold a secret.
func decodeStrict(text string, v any) error {
	md, err := toml.Decode(text, v)
	var bad toml.ParseError
	if errors.As(err, &bad) {
		return fmt.Errorf("line %d: %s", bad.Position.Line, bad.Message)
	}
	if err != nil {
		return err
	}
	if unknown := md.Undecoded(); len(unknown) > 0 {
		return fmt.Errorf("%s means nothing here", unknown[0])
	}
	return nil
}

// readFile reads a file; a private one must be its owner's alone.
func readFile(name string, private bool) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", fmt.Errorf("keys: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return "", fmt.Errorf("keys: %w", err)
	}
	if private {
		if err := checkPrivate(name, st); err != nil {
			return "", err
		}
	}
	b, err := io.ReadAll(io.LimitReader(f, fileMax+1))
	if err != nil {
		return "", fmt.Errorf("keys: %w", err)
	}
	if len(b) > fileMax {
		return "", fmt.Errorf("keys: %s is larger than %d bytes", name, fileMax)
	}
	return string(b), nil
}

func checkPrivate(name string, st os.FileInfo) error {
	if mode := st.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("keys: %s can be read or changed by others (mode %04o): chmod 600 %s", name, mode, name)
	}
	if own, ok := st.Sys().(*syscall.Stat_t); ok && own.Uid != 0 && int(own.Uid) != os.Getuid() {
		return fmt.Errorf("keys: %s belongs to user %d, not to who runs this", name, own.Uid)
	}
	return nil
}
