package resync

import (
	"context"
	"testing"
)

// FuzzTapeReader: whatever is asked, the answer is one that a server understands,
// and what was read is released.
func FuzzTapeReader(f *testing.F) {
	f.Add(AppendRefill(nil, refillOf(1, Span{5, 0, 10, 20})), []byte(nil))
	f.Add(AppendRefill(nil, refillOf(1, Span{5, 1, 1000, Open})), []byte(nil))
	f.Add(AppendRefill(nil, refillOf(1, Span{6, 0, 0, 1})), []byte(nil))
	find, err := AppendFind(nil, &FindRequest{ID: 2, Time: 3, Clock: "event", Deadline: 1})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(find, []byte(nil))
	f.Add(AppendPing(nil, 3), []byte("more"))
	src := newShelf(2, 5, 1000)
	src.add(6, 500, 1000)
	r := &tapeReader{src: src}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		request := [][]byte{first}
		if second != nil {
			request = append(request, second)
		}
		reply := r.handle(context.Background(), request)
		if len(reply.Frames) < 3 || len(reply.Frames[0]) != extentSize {
			t.Fatalf("answer has %d frames", len(reply.Frames))
		}
		if h, err := ParseHead(reply.Frames[1], len(reply.Frames)-1); err != nil || h.Command < CommandChunk {
			t.Fatalf("answer is %v, %v", h.Command, err)
		}
		if reply.Release != nil {
			reply.Release()
		}
		if src.held.Load() != 0 {
			t.Fatal("a batch was not released")
		}
	})
}
