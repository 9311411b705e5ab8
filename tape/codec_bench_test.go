package tape

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// realFiles are the inputs that the default codec and block size were chosen by.
var realFiles = []string{
	"dbn/esh4-glbx-mdp3-20231225.mbo.dbn.zst",
	"csv/lean-equity-tick-spy-20131008_trade.csv",
	"csv/tardis-quotes.csv",
}

// realRecords turns a vendor file into records with the vendor's own bytes as
// bodies, as an import does: DBN records, or the lines of a CSV.
func realRecords(t testing.TB, name string) (payload []byte, records, original int) {
	t.Helper()
	data, err := os.ReadFile(testdata.Path(t, name))
	if err != nil {
		t.Fatal(err)
	}
	original = len(data)
	seq := map[string]uint32{}
	add := func(topic string, body []byte, event, receive wire.Nanos) {
		seq[topic]++
		f := wire.Fields{Topic: []byte(topic), Body: body, Event: event, Receive: receive, TopicSeq: seq[topic], Kind: wire.KindOrder}
		if payload, err = wire.AppendRecord(payload, &f); err != nil {
			t.Fatal(err)
		}
		records++
	}
	if strings.HasSuffix(name, ".zst") {
		dec, err := zstd.NewReader(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		defer dec.Close()
		var out bytes.Buffer
		if _, err := out.ReadFrom(dec); err != nil {
			t.Fatal(err)
		}
		b := out.Bytes()
		// DBN: "DBN", version, u32 metadata length, metadata, records of
		// length x 4 bytes with the instrument id at 4 and ts_event at 8.
		for b = b[8+binary.LittleEndian.Uint32(b[4:]):]; len(b) >= 16; {
			n := int(b[0]) * 4
			event := wire.Nanos(binary.LittleEndian.Uint64(b[8:]))
			receive := event
			if n >= 48 {
				receive = wire.Nanos(binary.LittleEndian.Uint64(b[n-16:]))
			}
			add(fmt.Sprintf("GLBX.MDP3.%d", binary.LittleEndian.Uint32(b[4:])), b[:n], event, receive)
			b = b[n:]
		}
		return payload, records, original
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(line) > 0 {
			at := wire.Nanos(1_381_219_200_000_000_000 + i*1_000_000)
			add("SPY", line, at, at)
		}
	}
	return payload, records, original
}

// TestCodecsOnRealData reports ratio and speed of every codec and block size on
// real bodies (go test -v), and holds that compression is worth its name.
func TestCodecsOnRealData(t *testing.T) {
	for _, name := range realFiles {
		payload, records, original := realRecords(t, name)
		t.Logf("%s: %d records, %d payload bytes, %d bytes in the vendor's file", name, records, len(payload), original)
		for _, codec := range []Codec{CodecS2, CodecZstd} {
			for _, size := range []int{64 << 10, 256 << 10, 1 << 20, 4 << 20} {
				stored := measureCodec(t, payload, codec, size)
				if size == BlockSizeDefault && stored*2 > len(payload) {
					t.Errorf("%s, %v: %d bytes of %d: less than a factor of two", name, codec, stored, len(payload))
				}
			}
		}
	}
}

// measureCodec encodes and decodes payload in blocks of size bytes.
func measureCodec(t *testing.T, payload []byte, codec Codec, size int) (stored int) {
	t.Helper()
	e, err := newEncoder(codec)
	if err != nil {
		t.Fatal(err)
	}
	var d decoder
	raw, buf := make([]byte, size), []byte(nil)
	var encode, decode time.Duration
	const rounds = 3
	for range rounds {
		stored = 0
		for at := 0; at < len(payload); at += size {
			chunk := payload[at:min(at+size, len(payload))]
			start := time.Now()
			buf = e.encode(buf[:0], chunk, codec)
			encode += time.Since(start)
			stored += len(buf)
			start = time.Now()
			err := d.decode(raw[:len(chunk)], buf, codec)
			decode += time.Since(start)
			if err != nil || !bytes.Equal(raw[:len(chunk)], chunk) {
				t.Fatalf("round trip: %v", err)
			}
		}
	}
	mbs := func(took time.Duration) float64 { return float64(rounds*len(payload)) / 1e6 / took.Seconds() }
	t.Logf("  %-5v %5d KiB: %9d bytes, ratio %.2f, encode %4.0f MB/s, decode %4.0f MB/s",
		codec, size>>10, stored, float64(len(payload))/float64(stored), mbs(encode), mbs(decode))
	return stored
}
