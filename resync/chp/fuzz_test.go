package chp

import (
	"bytes"
	"slices"
	"testing"
)

// FuzzParse: no frames make the parser panic, and what it accepts is written
// again as it was.
func FuzzParse(f *testing.F) {
	for _, v := range vectors() {
		frames := append(slices.Clone(v.frames), nil, nil, nil, nil, nil)
		f.Add(v.form == "kvsimple", uint8(len(v.frames)), frames[0], frames[1], frames[2], frames[3], frames[4])
	}
	f.Fuzz(func(t *testing.T, simple bool, count uint8, a, b, c, d, e []byte) {
		frames := [][]byte{a, b, c, d, e}
		frames = frames[:min(int(count), len(frames))]
		form := KVMsg
		if simple {
			form = KVSimple
		}
		m, err := Parse(form, frames)
		if err != nil {
			return
		}
		if got := m.AppendFrames(nil, form, new([8]byte)); !slices.EqualFunc(got, frames, bytes.Equal) {
			t.Fatalf("got %x\nwant %x", got, frames)
		}
		var again Properties
		for name, value := range m.Properties.All() {
			if again, err = AppendProperty(again, string(name), value); err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(again.Get(string(name)), value) {
				t.Fatalf("property %q is %q, want %q", name, again.Get(string(name)), value)
			}
		}
		if !bytes.Equal(again, m.Properties) {
			t.Fatalf("properties are %q, want %q", again, m.Properties)
		}
		_, _ = m.Properties.TTL()
		_, _ = previous(m.Properties, 0)
		if kept := m.Properties.without(false); kept.check() != nil {
			t.Fatalf("%q without ours is %q", m.Properties, kept)
		}
	})
}

// FuzzRequest: no frames make the parser panic, and what it accepts is written
// again as it was.
func FuzzRequest(f *testing.F) {
	for _, v := range vectors() {
		if v.form == "request" {
			frames := append(slices.Clone(v.frames), nil, nil)
			f.Add(uint8(len(v.frames)), frames[0], frames[1], frames[2])
		}
	}
	f.Fuzz(func(t *testing.T, count uint8, a, b, c []byte) {
		frames := [][]byte{a, b, c}
		frames = frames[:min(int(count), len(frames))]
		subtree, err := ParseRequest(frames)
		if err != nil {
			return
		}
		if got := AppendRequest(nil, subtree)[:len(frames)]; !slices.EqualFunc(got, frames, bytes.Equal) {
			t.Fatalf("got %q, want %q", got, frames)
		}
	})
}
