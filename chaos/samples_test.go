package chaos

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// vectors are the messages of a directory of testkit whose names match, good and bad.
func vectors(t *testing.T, pattern string) [][][]byte {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "testkit", pattern))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors %s: %v", pattern, err)
	}
	var all [][][]byte
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if m := vector(t, name, string(text)); len(m) > 0 {
			all = append(all, m)
		}
	}
	return all
}

// vectorMax bounds the vectors that are used, bytes: the largest are as large as the
// protocol allows, and would be all that is sent.
const vectorMax = 16 << 10

// vector are the frames of one file; nil where it is too large.
func vector(t *testing.T, name, text string) [][]byte {
	t.Helper()
	if len(text) > 2*vectorMax {
		return nil
	}
	var message [][]byte
	kind := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		if word, _, ok := strings.Cut(line, ":"); ok && (word == "frame" || word == "text" || word == "values") {
			if kind = word; kind != "values" {
				message = append(message, nil)
			}
			continue
		}
		switch i := len(message) - 1; {
		case line == "" || i < 0:
		case kind == "text":
			message[i] = append(message[i], line...)
		case kind == "frame":
			b, err := hex.DecodeString(line)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			message[i] = append(message[i], b...)
		}
	}
	return message
}

// refills are requests for what there is, which reach further than the vectors'.
func refills(epoch uint64) [][][]byte {
	refill := make([]byte, 64)
	copy(refill, "TPRS\x01\x01")
	le := binary.LittleEndian
	le.PutUint64(refill[8:], 1)
	le.PutUint64(refill[16:], epoch)
	le.PutUint64(refill[32:], 10)
	le.PutUint64(refill[40:], 1<<16)
	le.PutUint32(refill[48:], 5000)
	find := make([]byte, 32)
	copy(find, "TPRS\x01\x02")
	le.PutUint64(find[8:], 2)
	le.PutUint64(find[16:], 1<<63)
	le.PutUint32(find[24:], 5000)
	find[28] = 1
	return [][][]byte{{refill}, {find}}
}

// readers are what tape readers of other processes say to the queue (PPP).
func readers(t *testing.T) [][][]byte {
	t.Helper()
	number := []byte("TPLP\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00")
	all := [][][]byte{{[]byte("\x01")}, {[]byte("\x02")}}
	for _, v := range vectors(t, "resync/*.txt") {
		all = append(all, append([][]byte{[]byte("\x00\x00\x00\x00\x00"), nil, number, make([]byte, 16)}, v...))
	}
	return all
}

const someClient = "9f86d081884c7d659a2feaa0c55ad015"

// requests are what clients and workers say to the broker (MDP, MMI, Titanic).
func requests(t *testing.T) [][][]byte {
	t.Helper()
	say := func(frames ...string) [][]byte {
		m := make([][]byte, len(frames))
		for i, f := range frames {
			m[i] = []byte(f)
		}
		return m
	}
	var all [][][]byte
	for i, service := range []string{"deck", "readers", "recorder", "tapes", "job", "status", "nobody"} {
		for j, command := range []string{"list", "state", "commands", "none"} {
			body := fmt.Sprintf(`{"client":"%s","number":%d,"command":"%s","args":{},"deadline_ms":1000}`, someClient, i*10+j+1, command)
			all = append(all, say("", "MDPC01", service, "TPDC01", body))
		}
	}
	all = append(all,
		say("", "MDPC01", "mmi.service", "deck"),
		say("", "MDPC01", "tapedeck.broker.services"),
		say("", "MDPC01", "tapedeck.broker.counters"),
		say("", "MDPC01", "titanic.reply", "00112233445566778899aabbccddeeff"),
		say("", "MDPC01", "titanic.close", "00112233445566778899aabbccddeeff"),
		say("", "MDPC01", "titanic.request", "nobody", "x"),
		say("", "MDPW01", "\x01", "echo"),
		say("", "MDPW01", "\x03", "client", "", "reply"),
		say("", "MDPW01", "\x04"),
		say("", "MDPW01", "\x05"),
	)
	for _, v := range vectors(t, "control/*.txt") {
		all = append(all, append(say("", "MDPC01", "deck"), v...))
	}
	return all
}
