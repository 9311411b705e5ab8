package feed

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noise returns n bytes that compress a little.
func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = "0123456789,\n"[rng.IntN(12)]
	}
	return b
}

func gz(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	for _, part := range parts {
		w := gzip.NewWriter(&buf)
		must(t, write(w, part))
		must(t, w.Close())
	}
	return buf.Bytes()
}

func zst(t testing.TB, parts ...[]byte) []byte {
	t.Helper()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	must(t, err)
	defer func() { must(t, enc.Close()) }()
	var out []byte
	for _, part := range parts {
		out = enc.EncodeAll(part, out)
	}
	return out
}

// skippable is a zstd skippable frame (RFC 8878 section 3.1.2).
func skippable(content string) []byte {
	head := []byte{0x5a, 0x2a, 0x4d, 0x18, byte(len(content)), 0, 0, 0}
	return append(head, content...)
}

type member struct {
	name    string
	content []byte
	method  uint16
}

func zipped(t testing.TB, members ...member) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	w.RegisterCompressor(zipMethodZstd, zstd.ZipCompressor())
	for _, m := range members {
		f, err := w.CreateHeader(&zip.FileHeader{Name: m.name, Method: m.method})
		must(t, err)
		if !strings.HasSuffix(m.name, "/") {
			must(t, write(f, m.content))
		}
	}
	must(t, w.Close())
	return buf.Bytes()
}

func write(w io.Writer, b []byte) error {
	_, err := w.Write(b)
	return err
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// file writes content to a file whose name says nothing about it.
func file(t testing.TB, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "in.dat")
	must(t, os.WriteFile(path, content, 0o600))
	return path
}

func TestOpenInputPeels(t *testing.T) {
	content := noise(3 * HeadSize)
	small := []byte("a,b\n1,2\n")
	tests := []struct {
		name  string
		disk  []byte
		want  []byte
		inner string
	}{
		{"plain", content, content, ""},
		{"short plain", []byte("x"), []byte("x"), ""},
		{"empty", nil, nil, ""},
		{"gzip", gz(t, content), content, ""},
		{"gzip of nothing", gz(t, nil), nil, ""},
		{"gzip members", gz(t, small, content, nil, small), join(small, content, small), ""},
		{"zstd", zst(t, content), content, ""},
		{"zstd frames", zst(t, small, content, small), join(small, content, small), ""},
		{"zstd skippable first", join(skippable("hi"), zst(t, content)), content, ""},
		{"zstd skippable between and last", join(zst(t, small), skippable("hi"), zst(t, content), skippable("")), join(small, content), ""},
		{"zip deflate", zipped(t, member{"dir/", nil, zip.Store}, member{"dir/20131008_spy.csv", content, zip.Deflate}), content, "dir/20131008_spy.csv"},
		{"zip store", zipped(t, member{"a.csv", content, zip.Store}), content, "a.csv"},
		{"zip zstd", zipped(t, member{"a.csv", content, zipMethodZstd}), content, "a.csv"},
		{"zip from macOS", zipped(t, member{"a.csv", small, zip.Deflate}, member{"__MACOSX/._a.csv", small, zip.Deflate}), small, "a.csv"},
		{"gzip in zip", zipped(t, member{"a.csv.gz", gz(t, content), zip.Store}), content, "a.csv.gz"},
		{"zstd in zip", zipped(t, member{"a.csv.zst", zst(t, content), zip.Deflate}), content, "a.csv.zst"},
		{"looks like gzip in three bytes", []byte{0x1f, 0x8b, 8}, []byte{0x1f, 0x8b, 8}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := file(t, tt.disk)
			in, err := OpenInput(t.Context(), path)
			must(t, err)
			defer func() { must(t, in.Close()) }()
			if in.Name != path || in.Inner != tt.inner {
				t.Errorf("name %q, inner %q", in.Name, in.Inner)
			}
			if want := tt.want[:min(len(tt.want), HeadSize)]; !bytes.Equal(in.Head, want) {
				t.Errorf("head has %d bytes, want %d", len(in.Head), len(want))
			}
			got, err := io.ReadAll(in)
			must(t, err)
			if !bytes.Equal(got, tt.want) {
				t.Errorf("content has %d bytes, want %d", len(got), len(tt.want))
			}
			if in.Size() != int64(len(tt.disk)) || in.Consumed() != in.Size() {
				t.Errorf("size %d, consumed %d, want both %d", in.Size(), in.Consumed(), len(tt.disk))
			}
		})
	}
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func TestOpenInputMembers(t *testing.T) {
	two := file(t, zipped(t, member{"a.csv", []byte("a"), zip.Deflate}, member{"b.csv", []byte("b"), zip.Deflate}))
	in, err := OpenMember(t.Context(), two, "b.csv")
	must(t, err)
	got, err := io.ReadAll(in)
	must(t, err)
	must(t, in.Close())
	if string(got) != "b" || in.Inner != "b.csv" {
		t.Errorf("member %q holds %q", in.Inner, got)
	}

	var many []member
	for i := range membersListed + 3 {
		many = append(many, member{fmt.Sprintf("m%02d", i), nil, zip.Store})
	}
	tests := []struct {
		name, path, member string
		want               []string
	}{
		{"two", two, "", []string{two, "2 files", "--member", "a.csv, b.csv"}},
		{"unknown", two, "c.csv", []string{two, `no member "c.csv"`, "a.csv, b.csv"}},
		{"many", file(t, zipped(t, many...)), "", []string{"m00", "m19 and 3 more"}},
		{"none", file(t, zipped(t)), "", []string{"no file in it"}},
		{"only a directory", file(t, zipped(t, member{"d/", nil, zip.Store})), "", []string{"no file in it"}},
		{"not a zip", file(t, []byte("a,b\n")), "a.csv", []string{"is not a zip", `"a.csv"`}},
		{"zip in gzip", file(t, gz(t, zipped(t, member{"a", nil, zip.Store}))), "", []string{"zip inside gzip"}},
		{"directory", t.TempDir(), "", []string{"is a directory"}},
		{"missing", filepath.Join(t.TempDir(), "no"), "", []string{"no such file"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := OpenMember(t.Context(), tt.path, tt.member)
			wantError(t, err, tt.want...)
		})
	}
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not contain %q", err, text)
		}
	}
}

// TestOpenInputCutOff cuts containers at every length: nothing but a prefix of
// the content may come out, and never without an error.
func TestOpenInputCutOff(t *testing.T) {
	content := noise(400)
	for name, disk := range map[string][]byte{
		"gzip": gz(t, content),
		"zstd": zst(t, content),
		"zip":  zipped(t, member{"a.csv", content, zip.Deflate}),
	} {
		t.Run(name, func(t *testing.T) {
			for n := 4; n < len(disk); n++ {
				path := file(t, disk[:n])
				got, err := readFile(t, path)
				var where *ContainerError
				if !errors.As(err, &where) {
					t.Fatalf("cut at %d of %d: error %v", n, len(disk), err)
				}
				if where.Name != path || where.Container != name || where.Offset != int64(n) || where.Content != int64(len(got)) {
					t.Fatalf("cut at %d: %+v after %d bytes", n, where, len(got))
				}
				if name != "zip" && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Fatalf("cut at %d: %v is not an unexpected end", n, err)
				}
				if !bytes.HasPrefix(content, got) {
					t.Fatalf("cut at %d: content is wrong", n)
				}
			}
		})
	}
}

func readFile(t *testing.T, path string) ([]byte, error) {
	t.Helper()
	in, err := OpenInput(t.Context(), path)
	if err != nil {
		return nil, err
	}
	defer func() { must(t, in.Close()) }()
	return io.ReadAll(in)
}

func TestOpenInputDamaged(t *testing.T) {
	content := noise(4 * HeadSize)
	for name, disk := range map[string][]byte{
		"gzip": gz(t, content),
		"zstd": zst(t, content),
		"zip":  zipped(t, member{"a.csv", content, zip.Deflate}),
	} {
		t.Run(name, func(t *testing.T) {
			disk[len(disk)*3/4] ^= 0x55
			path := file(t, disk)
			in, err := OpenInput(t.Context(), path)
			must(t, err) // the head is good, so it opens
			defer func() { must(t, in.Close()) }()
			_, err = io.ReadAll(in)
			wantError(t, err, path, name, "before byte")
			if _, again := in.Read(make([]byte, 1)); again != err {
				t.Errorf("read again: %v", again)
			}
		})
	}
}

func TestOpenInputContext(t *testing.T) {
	reason := errors.New("the user had enough")
	for name, disk := range map[string][]byte{
		"plain": noise(20 * HeadSize), "gzip": gz(t, noise(80*HeadSize)), "zstd": zst(t, noise(80*HeadSize)),
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			in, err := OpenInput(ctx, file(t, disk))
			must(t, err)
			cancel(reason)
			if _, err := io.ReadAll(in); !errors.Is(err, reason) {
				t.Errorf("error %v", err)
			}
			must(t, in.Close())
			must(t, in.Close())
			if _, err := in.Read(make([]byte, 1)); err == nil {
				t.Error("reading after close gave no error")
			}
		})
	}
}

func TestInputCloseEarly(t *testing.T) {
	for _, disk := range [][]byte{gz(t, noise(80*HeadSize)), zst(t, noise(80*HeadSize))} {
		in, err := OpenInput(t.Context(), file(t, disk))
		must(t, err)
		must(t, in.Close()) // TestMain finds what it leaves running
	}
}

// TestInputPipe reads a pipe through the path that standard input takes, and
// gives up on one that nobody writes to.
func TestInputPipe(t *testing.T) {
	content := noise(3 * HeadSize)
	r, w, err := os.Pipe()
	must(t, err)
	defer func() { must(t, r.Close()) }()
	written := make(chan error, 1)
	go func() { written <- errors.Join(write(w, gz(t, content)), w.Close()) }()
	in := openPipe(t, t.Context(), r)
	got, err := io.ReadAll(in)
	must(t, err)
	must(t, in.Close())
	must(t, <-written)
	if !bytes.Equal(got, content) || in.Size() != 0 {
		t.Errorf("%d bytes of content, want %d; size %d", len(got), len(content), in.Size())
	}

	silent, w2, err := os.Pipe()
	must(t, err)
	defer func() { must(t, errors.Join(silent.Close(), w2.Close())) }()
	ctx, cancel := context.WithCancel(t.Context())
	raw, err := newFileReader(ctx, silent, "-")
	must(t, err)
	failed := make(chan error, 1)
	go func() {
		_, err := (&Input{Name: "-", raw: raw}).open(ctx, "")
		failed <- err
	}()
	cancel()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func openPipe(t *testing.T, ctx context.Context, r *os.File) *Input {
	t.Helper()
	raw, err := newFileReader(ctx, r, "-")
	must(t, err)
	in, err := (&Input{Name: "-", raw: raw}).open(ctx, "")
	must(t, err)
	return in
}

func TestInputPipeZip(t *testing.T) {
	in := struct{ io.Reader }{bytes.NewReader(zipped(t, member{"a", nil, zip.Store}))}
	_, err := NewInput(t.Context(), in, "-")
	wantError(t, err, "pipe", "give the file's path")
}

func TestInputLiteral(t *testing.T) {
	in := Input{Reader: strings.NewReader("x"), Name: "x", Head: []byte("x")}
	if in.Size() != 0 || in.Consumed() != 0 || in.Close() != nil {
		t.Error("a literal input is of no use")
	}
}
