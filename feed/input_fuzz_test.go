package feed

import (
	"archive/zip"
	"bytes"
	"context"
	"io"
	"testing"
)

// FuzzOpenInput: whatever the bytes, opening and reading ends, without a panic.
func FuzzOpenInput(f *testing.F) {
	text := []byte("time,symbol\n1,A\n2,B\n")
	f.Add(text)
	f.Add(gz(f, text, text))
	f.Add(join(skippable("x"), zst(f, text, text)))
	f.Add(zipped(f, member{"a.csv", text, zip.Deflate}))
	f.Add(zipped(f, member{"a.csv", text, zip.Store}, member{"b/", nil, zip.Store}))
	f.Add(zipped(f, member{"a.csv.gz", gz(f, text), zip.Store}))
	f.Fuzz(func(t *testing.T, disk []byte) {
		in, err := NewInput(context.Background(), bytes.NewReader(disk), "fuzz")
		if err != nil {
			return
		}
		head := in.Head
		// A small container can hold much: read no more than shows the limits.
		got, _ := io.ReadAll(io.LimitReader(in, 4<<20))
		if !bytes.HasPrefix(got, head) {
			t.Errorf("the content does not begin with its head")
		}
		if !isGzip(disk) && !isZstd(disk) && !isZip(disk) && !bytes.Equal(got, disk[:min(len(disk), 4<<20)]) {
			t.Errorf("plain content changed")
		}
		must(t, in.Close())
	})
}

func BenchmarkInput(b *testing.B) {
	content := noise(8 << 20)
	for _, bench := range []struct {
		name string
		disk []byte
	}{{"plain", content}, {"gzip", gz(b, content)}, {"zstd", zst(b, content)}, {"zip", zipped(b, member{"a", content, zip.Deflate})}} {
		b.Run("container="+bench.name, func(b *testing.B) {
			path, buf := file(b, bench.disk), make([]byte, 1<<20)
			b.SetBytes(int64(len(content)))
			b.ReportAllocs()
			for b.Loop() {
				in, err := OpenInput(b.Context(), path)
				must(b, err)
				for err == nil {
					_, err = in.Read(buf)
				}
				must(b, in.Close())
			}
		})
	}
}
