package feed

import (
	"archive/zip"
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
)

func TestInputReaderAt(t *testing.T) {
	content := noise(3 * HeadSize)
	ctx, cancel := context.WithCancelCause(t.Context())
	in, err := OpenInput(ctx, file(t, content))
	must(t, err)
	defer func() { must(t, in.Close()) }()
	at, size, ok := in.ReaderAt()
	if !ok || size != int64(len(content)) {
		t.Fatalf("%v, %d bytes", ok, size)
	}
	got := make([]byte, 1000)
	if n, err := at.ReadAt(got, int64(len(content)-500)); n != 500 || err != io.EOF || !bytes.Equal(got[:n], content[len(content)-500:]) {
		t.Errorf("%d bytes, %v", n, err)
	}
	if all, err := io.ReadAll(in); err != nil || !bytes.Equal(all, content) {
		t.Errorf("reading on gives %d bytes, %v", len(all), err)
	}
	reason := errors.New("the user had enough")
	cancel(reason)
	if _, err := at.ReadAt(got, 0); !errors.Is(err, reason) {
		t.Errorf("error %v", err)
	}
}

func TestInputReaderAtNone(t *testing.T) {
	content := noise(100)
	for name, disk := range map[string][]byte{
		"gzip": gz(t, content), "zstd": zst(t, content), "zip": zipped(t, member{"a", content, zip.Store}),
	} {
		in, err := OpenInput(t.Context(), file(t, disk))
		must(t, err)
		if _, _, ok := in.ReaderAt(); ok {
			t.Errorf("%s can be read at any place", name)
		}
		must(t, in.Close())
	}
	in, err := NewInput(t.Context(), struct{ io.Reader }{bytes.NewReader(content)}, "-")
	must(t, err)
	if _, _, ok := in.ReaderAt(); ok {
		t.Error("a stream can be read at any place")
	}
	must(t, in.Close())
	if _, _, ok := (&Input{}).ReaderAt(); ok {
		t.Error("a literal can be read at any place")
	}
}
