package majordomo

import (
	"bytes"
	"fmt"
	"testing"
)

func parsed(m *message) string {
	return fmt.Sprintf("%d from %q path %q service %q client %q body %q", m.command, m.from, m.path, m.service, m.client, m.body)
}

// TestParseAtBroker: every message of MDP/0.1, and what is none.
func TestParseAtBroker(t *testing.T) {
	for _, c := range []struct {
		frames []string
		want   message
	}{
		{[]string{"c", "", "MDPC01", "echo", "b"}, message{command: clientRequest, from: []byte("c"), service: []byte("echo"), body: byteFrames([]string{"b"})}},
		{[]string{"c", "", "MDPC01", "echo", "", "b"}, message{command: clientRequest, from: []byte("c"), service: []byte("echo"), body: byteFrames([]string{"", "b"})}},
		{[]string{"r", "c", "", "MDPC01", "echo", "b"}, message{command: clientRequest, from: []byte("r"), path: byteFrames([]string{"c"}), service: []byte("echo"), body: byteFrames([]string{"b"})}},
		{[]string{"w", "", "MDPW01", "\x01", "echo"}, message{command: workerReady, from: []byte("w"), service: []byte("echo")}},
		{[]string{"w", "", "MDPW01", "\x03", "c", "", "b", ""}, message{command: workerReply, from: []byte("w"), client: byteFrames([]string{"c"}), body: byteFrames([]string{"b", ""})}},
		{[]string{"w", "", "MDPW01", "\x04"}, message{command: heartbeat, from: []byte("w")}},
		{[]string{"w", "", "MDPW01", "\x05"}, message{command: disconnect, from: []byte("w")}},

		{[]string{"c"}, message{}},
		{[]string{"c", ""}, message{}},
		{[]string{"c", "", "MDPC01"}, message{}},
		{[]string{"c", "", "MDPC01", "echo"}, message{}},
		{[]string{"c", "", "MDPC01", "", "b"}, message{}},
		{[]string{"c", "", "MDPC02", "\x01", "echo", "b"}, message{}},
		{[]string{"c", "MDPC01", "echo", "b"}, message{}},
		{[]string{"c", "", "MDPC01", string(make([]byte, 256)), "b"}, message{}},
		{[]string{"w", "", "MDPW01"}, message{}},
		{[]string{"w", "", "MDPW01", ""}, message{}},
		{[]string{"w", "", "MDPW01", "\x01"}, message{}},
		{[]string{"w", "", "MDPW01", "\x01", ""}, message{}},
		{[]string{"w", "", "MDPW01", "\x01", "echo", "more"}, message{}},
		{[]string{"w", "", "MDPW01", "\x02", "c", "", "b"}, message{}}, // for workers
		{[]string{"w", "", "MDPW01", "\x03", "c", "b"}, message{}},
		{[]string{"w", "", "MDPW01", "\x03", "c", ""}, message{}},
		{[]string{"w", "", "MDPW01", "\x03", "", "", "b"}, message{}},
		{[]string{"w", "", "MDPW01", "\x03", "c", "d", "", "b"}, message{}}, // exactly one address
		{[]string{"w", "", "MDPW01", "\x04", "more"}, message{}},
		{[]string{"w", "", "MDPW01", "\x06"}, message{}},
		{[]string{"w", "", "MDPW01", "\x01\x01", "echo"}, message{}},
		{[]string{"r", "w", "", "MDPW01", "\x01", "echo"}, message{}}, // a worker is at one broker
	} {
		var m message
		parseAtBroker(&m, byteFrames(c.frames))
		if m.command == invalid {
			m = message{}
		}
		if got, want := parsed(&m), parsed(&c.want); got != want {
			t.Errorf("%q: got %s, want %s", c.frames, got, want)
		}
	}
	long := append([]string{"c", "", "MDPC01", "echo"}, make([]string, framesMax)...)
	var m message
	if parseAtBroker(&m, byteFrames(long)); m.command != requestTooLong || len(m.body) != framesMax {
		t.Errorf("a request of %d frames: %s", len(long), parsed(&m))
	}
}

func TestParseAtWorkerAndClient(t *testing.T) {
	for _, c := range []struct {
		parse  func(*message, [][]byte)
		frames []string
		want   message
	}{
		{parseAtWorker, []string{"", "MDPW01", "\x02", "c", "", "b"}, message{command: workerRequest, client: byteFrames([]string{"c"}), body: byteFrames([]string{"b"})}},
		{parseAtWorker, []string{"", "MDPW01", "\x02", "c", "d", "", "b"}, message{command: workerRequest, client: byteFrames([]string{"c", "d"}), body: byteFrames([]string{"b"})}},
		{parseAtWorker, []string{"", "MDPW01", "\x02", "c", ""}, message{command: workerRequest, client: byteFrames([]string{"c"})}},
		{parseAtWorker, []string{"", "MDPW01", "\x04"}, message{command: heartbeat}},
		{parseAtWorker, []string{"", "MDPW01", "\x05"}, message{command: disconnect}},
		{parseAtWorker, []string{"", "MDPW01", "\x02", "c"}, message{}},
		{parseAtWorker, []string{"", "MDPW01", "\x03", "c", "", "b"}, message{}},
		{parseAtWorker, []string{"x", "MDPW01", "\x04"}, message{}},
		{parseAtWorker, []string{"", "MDPC01", "\x04"}, message{}},
		{parseAtWorker, []string{"", "MDPW01", ""}, message{}},
		{parseAtWorker, []string{"", "MDPW01"}, message{}},
		{parseAtClient, []string{"", "MDPC01", "echo", "b", ""}, message{command: clientReply, service: []byte("echo"), body: byteFrames([]string{"b", ""})}},
		{parseAtClient, []string{"", "MDPC01", "echo"}, message{}},
		{parseAtClient, []string{"", "MDPC01", "", "b"}, message{}},
		{parseAtClient, []string{"", "MDPW01", "echo", "b"}, message{}},
		{parseAtClient, []string{"echo", "b", "", ""}, message{}},
	} {
		var m message
		c.parse(&m, byteFrames(c.frames))
		if m.command == invalid {
			m = message{}
		}
		if got, want := parsed(&m), parsed(&c.want); got != want {
			t.Errorf("%q: got %s, want %s", c.frames, got, want)
		}
	}
}

// FuzzParse: no frames make a parser fail, and what it takes for a message is that
// message, put together again.
func FuzzParse(f *testing.F) {
	for _, frames := range [][]string{
		{"c", "", "MDPC01", "echo", "b", "", "c"}, {"r", "c", "", "MDPC01", "echo", "b"}, {"w", "", "MDPW01", "\x01", "echo"},
		{"w", "", "MDPW01", "\x03", "c", "", "b"}, {"w", "", "MDPW01", "\x04"}, {"w", "", "MDPW01", "\x05"},
		{"", "MDPW01", "\x02", "c", "", "b"}, {"", "MDPC01", "echo", "b"}, {"", "MDPW01", "\x04"},
	} {
		f.Add(bytes.Join(byteFrames(frames), []byte{0xff}))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		frames := bytes.Split(data, []byte{0xff})
		for at, parse := range []func(*message, [][]byte){parseAtBroker, parseAtWorker, parseAtClient} {
			m := message{from: []byte("left over"), command: clientReply}
			if parse(&m, frames); m.command == invalid {
				continue
			}
			if again := m.frames(at == 0); fmt.Sprintf("%q", again) != fmt.Sprintf("%q", frames) {
				t.Errorf("%q was taken for %q", frames, again)
			}
		}
	})
}

// frames puts a message together.
func (m *message) frames(atBroker bool) (all [][]byte) {
	add := func(frames ...[]byte) { all = append(all, frames...) }
	if atBroker {
		add(m.from)
		add(m.path...)
	}
	add(nil)
	switch m.command {
	case clientRequest, requestTooLong, clientReply:
		add(frameClient, m.service)
		add(m.body...)
	case workerReady:
		add(frameWorker, frameReady, m.service)
	case heartbeat:
		add(frameWorker, frameHeartbeat)
	case disconnect:
		add(frameWorker, frameDisconnect)
	case workerRequest, workerReply:
		command := frameWorkerAsks
		if m.command == workerReply {
			command = frameWorkerSays
		}
		add(frameWorker, command)
		add(m.client...)
		add(nil)
		add(m.body...)
	}
	return all
}

// FuzzMachine: no messages of any peers make the broker's machine fail, or exceed
// its bounds.
func FuzzMachine(f *testing.F) {
	f.Add([]byte("w\xff\xffMDPW01\xff\x01\xffecho\xfec\xff\xffMDPC01\xffecho\xffb\xfew\xff\xffMDPW01\xff\x03\xffc\xff\xffb\xfe\xfe"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m := newMachine(testBounds)
		d := &model{t: t, m: m, workers: map[string][]modelHeld{}, depths: map[string]int{}, jobs: map[uint64]*modelJob{}}
		for _, one := range bytes.Split(data, []byte{0xfe}) {
			d.now += sec / 3
			var in message
			parseAtBroker(&in, bytes.Split(one, []byte{0xff}))
			switch in.command {
			case clientRequest:
				m.request(d.now, in.from, in.path, in.service, in.body)
			case workerReply:
				m.reply(d.now, in.from, in.client[0])
			case workerReady:
				m.ready(d.now, in.from, in.service)
			case heartbeat:
				m.heartbeat(d.now, in.from)
			case disconnect:
				m.disconnect(d.now, in.from)
			default:
				d.now += 4 * sec
				m.tick(d.now)
			}
			for _, a := range m.acts {
				if a.do == actDrop {
					m.recycle(a.job)
				}
			}
			m.acts = m.acts[:0]
			d.check()
		}
	})
}
