package tape

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/tapedeck/tapedeck/wire"
)

// columnsBlock makes a block that has columns, and stores it.
func columnsBlock(t testing.TB) (raw, stored []byte, e *encoder) {
	t.Helper()
	for i := range 500 {
		body := make([]byte, 20)
		binary.BigEndian.PutUint64(body, uint64(i*i))
		f := wire.Fields{Topic: []byte{byte('A' + i%7)}, Event: wire.Nanos(i * 1000), Receive: wire.Nanos(i*1000 + i%9), TopicSeq: uint32(i / 7), Body: body}
		var err error
		if raw, err = wire.AppendRecord(raw, &f); err != nil {
			t.Fatal(err)
		}
	}
	e, err := newEncoder(CodecColumns)
	if err != nil {
		t.Fatal(err)
	}
	stored, with := e.encode(nil, raw, len(raw), CodecColumns)
	if with != CodecColumns {
		t.Fatalf("stored as %v", with)
	}
	return raw, stored, e
}

// What has no columns is stored as zstd, and comes back as any block.
func TestColumnsFallBackToZstd(t *testing.T) {
	raw, _, e := columnsBlock(t)
	for name, in := range map[string][]byte{"cut record": raw[:len(raw)-1], "no records": bytes.Repeat([]byte("text"), 100)} {
		stored, with := e.encode([]byte("before"), in, len(in), CodecColumns)
		if with != CodecZstd || string(stored[:6]) != "before" {
			t.Errorf("%s: stored as %v", name, with)
			continue
		}
		var d decoder
		got := make([]byte, len(in))
		if err := d.decode(got, stored[6:], with); err != nil || !bytes.Equal(got, in) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// decodeStored is what a reader does with stored bytes whose checksum agrees.
func decodeStored(d *decoder, stored []byte, size int) ([]byte, error) {
	if err := checkDecodedSize(stored, CodecColumns, size); err != nil {
		return nil, err
	}
	raw := make([]byte, size)
	return raw, d.decode(raw, stored, CodecColumns)
}

func TestStoredColumnsThatLie(t *testing.T) {
	raw, stored, e := columnsBlock(t)
	change := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(stored)) }
	size := func(delta int) []byte {
		return change(func(b []byte) []byte {
			binary.LittleEndian.PutUint32(b, uint32(int(binary.LittleEndian.Uint32(b))+delta))
			return b
		})
	}
	var d decoder
	if got, err := decodeStored(&d, stored, len(raw)); err != nil || !bytes.Equal(got, raw) {
		t.Fatalf("as it was: %v", err)
	}
	for name, b := range map[string][]byte{
		"empty":             nil,
		"head only":         stored[:columnsHeadSize],
		"size one less":     size(-1),
		"size one more":     size(1),
		"size of the world": change(func(b []byte) []byte { copy(b, "\xff\xff\xff\xff"); return b }),
		"last byte lost":    stored[:len(stored)-1],
		"byte more":         append(bytes.Clone(stored), 0),
		"frame more":        e.zstd.EncodeAll([]byte("more"), bytes.Clone(stored)),
		"no frame":          change(func(b []byte) []byte { b[columnsHeadSize]++; return b }),
		"other columns": e.zstd.EncodeAll(make([]byte, 100),
			binary.LittleEndian.AppendUint32(nil, 100)),
	} {
		if _, err := decodeStored(&d, b, len(raw)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	for _, n := range []int{1, len(raw) - 1, len(raw) + 1} {
		if _, err := decodeStored(&d, stored, n); err == nil {
			t.Errorf("%d bytes: accepted", n)
		}
	}
	// No single flipped bit makes it panic or fill more than it should.
	for i := range stored {
		stored[i] ^= 1 << (i % 8)
		_, _ = decodeStored(&d, stored, len(raw))
		stored[i] ^= 1 << (i % 8)
	}
}
