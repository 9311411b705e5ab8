package export

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/tapedeck/tapedeck/feed"
	"github.com/tapedeck/tapedeck/feed/itch"
	"github.com/tapedeck/tapedeck/feed/pcap"
	"github.com/tapedeck/tapedeck/internal/testdata"
	"github.com/tapedeck/tapedeck/wire"
)

// sameRecords exports records as a capture and imports that.
func sameRecords(t *testing.T, m *memory, cfg Config, opts feed.Options, ignore wire.RecordFlags) {
	t.Helper()
	file, rep := write(t, "pcap", cfg)
	if rep.Records != uint64(m.count) {
		t.Errorf("%d records written, want %d", rep.Records, m.count)
	}
	again := importBytes(t, "again.pcap", file, opts)
	if again.count != m.count {
		t.Fatalf("%d records come back, want %d", again.count, m.count)
	}
	a, b := &walk{rest: m.data}, &walk{rest: again.data}
	for n := 0; a.Next() && b.Next(); n++ {
		want, got := a.Record().Fields(), b.Record().Fields()
		want.Flags &^= ignore
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("record %d: %s", n, diff)
		}
	}
}

// An ITCH file goes out as packets and comes back as it was, but that its records
// now have a time of receipt.
func TestPcapITCHFile(t *testing.T) {
	m := importFile(t, testdata.Path(t, "itch/nasdaq-20200130-aapl-10k.itch"), feed.Options{})
	for _, group := range []string{"", "239.1.2.3:7000", "10.0.0.1:7000", "[ff05::1]:61000"} {
		t.Run(group, func(t *testing.T) {
			cfg := m.config()
			if group != "" {
				cfg.Group = netip.MustParseAddrPort(group)
			}
			sameRecords(t, m, cfg, feed.Options{Format: itch.Name}, wire.FlagNoReceiveTime)
		})
	}
}

// captures calls f for each capture in a folder of the shared data.
func captures(t *testing.T, folder string, f func(t *testing.T, path string)) {
	err := filepath.WalkDir(testdata.Path(t, folder), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Run(filepath.Base(path), func(t *testing.T) { f(t, path) })
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPcapITCHCaptures(t *testing.T) {
	captures(t, "itch-moldudp64-pcap", func(t *testing.T, path string) {
		m := importFile(t, path, feed.Options{Format: itch.Name})
		sameRecords(t, m, m.config(), feed.Options{Format: itch.Name}, 0)
	})
}

// Datagrams of any protocol come back as they were.
func TestPcapDatagrams(t *testing.T) {
	for _, folder := range []string{"itch-moldudp64-pcap", "cme-mdp3-pcap", "nyse-xdp-pcap"} {
		captures(t, folder, func(t *testing.T, path string) {
			m := importFile(t, path, feed.Options{Format: pcap.Name, Topic: "raw."})
			sameRecords(t, m, m.config(), feed.Options{Format: pcap.Name, Topic: "raw."}, 0)
		})
	}
}

// message is a message of ITCH that fills size bytes.
func message(size int) []byte { return bytes.Repeat([]byte{'S'}, size) }

func itchTape(t testing.TB, at []wire.Nanos, sizes ...int) *memory {
	m := &memory{encodings: []wire.Encoding{{Format: itch.Name}}}
	for i, size := range sizes {
		m.add(t, wire.Fields{Topic: []byte("X"), Body: message(size), Event: at[i], Receive: at[i]})
	}
	return m
}

// packets are the packets of a capture, taken apart by another reader, with
// checksums checked.
func packets(t *testing.T, file []byte) []string {
	t.Helper()
	r, err := pcapgo.NewReader(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for p := range gopacket.NewPacketSource(r, r.LinkType()).Packets() {
		udp, ok := p.Layer(layers.LayerTypeUDP).(*layers.UDP)
		if !ok {
			t.Fatal(p.ErrorLayer())
		}
		if err := udp.SetNetworkLayerForChecksum(p.NetworkLayer()); err != nil {
			t.Fatal(err)
		}
		if err, bad := p.VerifyChecksums(); err != nil || len(bad) > 0 {
			t.Errorf("checksums: %v %v", err, bad)
		}
		eth := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
		b := udp.Payload
		out = append(out, fmt.Sprintf("%d %s>%s:%d %q %d %d %d", p.Metadata().Timestamp.UnixNano(), eth.DstMAC,
			p.NetworkLayer().NetworkFlow().Dst(), udp.DstPort, b[:sessionSize], b[moldCountOff-1], b[moldHeadSize-1], len(b)))
	}
	return out
}

// Messages of one time share packets up to the MTU; sequence numbers go on.
func TestPcapPacking(t *testing.T) {
	// A packet of 100 bytes has room for 100-20-8-20 = 52 bytes of messages.
	m := itchTape(t, []wire.Nanos{7, 7, 7, 7, 8, 8, 9}, 11, 20, 15, 0, 300, 1, 50)
	cfg := m.config()
	cfg.MTU, cfg.Session = 100, "S1"
	got, rep := write(t, "pcap", cfg)
	const to = "01:00:5e:36:0c:6f>233.54.12.111:26477"
	want := []string{
		`7 ` + to + ` "S1        " 1 3 72`, // 13 + 22 + 17
		`7 ` + to + ` "S1        " 4 1 22`,
		`8 ` + to + ` "S1        " 5 1 322`, // alone, since it is larger
		`8 ` + to + ` "S1        " 6 1 23`,
		`9 ` + to + ` "S1        " 7 1 72`,
	}
	if diff := cmp.Diff(want, packets(t, got)); diff != "" {
		t.Error(diff)
	}
	if rep.Records != 7 || len(rep.Notes) > 0 {
		t.Errorf("report %+v", rep)
	}
}

func TestPcapAddresses(t *testing.T) {
	for group, want := range map[string]string{
		"239.255.129.3:1": "01:00:5e:7f:81:03>239.255.129.3:1",
		"10.1.1.1:65535":  "02:00:00:00:00:02>10.1.1.1:65535",
		"[ff05::1:2]:9":   "33:33:00:01:00:02>ff05::1:2:9",
	} {
		cfg := itchTape(t, []wire.Nanos{1}, 12).config()
		cfg.Group = netip.MustParseAddrPort(group)
		got, _ := write(t, "pcap", cfg)
		if p := packets(t, got); len(p) != 1 || !strings.Contains(p[0], want) {
			t.Errorf("%s: %q", group, p)
		}
	}
}

// What a capture cannot hold is an error that names the record.
func TestPcapErrors(t *testing.T) {
	late := wire.NanosOf(time.Date(2107, 1, 1, 0, 0, 0, 0, time.UTC))
	generic := &memory{encodings: []wire.Encoding{{Format: pcap.Name}}}
	generic.add(t, wire.Fields{Topic: []byte("no group"), Body: []byte("x")})
	for _, c := range []struct {
		name string
		m    *memory
		want error
	}{
		{"time before 1970", itchTape(t, []wire.Nanos{-1}, 11), errPacketTime},
		{"time after 2106", itchTape(t, []wire.Nanos{late}, 11), errPacketTime},
		{"long message", itchTape(t, []wire.Nanos{0}, 65507-moldHeadSize-moldLengthSize+1), errPacketSize},
		{"no group", generic, errNoGroup},
	} {
		x, err := New("pcap", c.m.config())
		if err != nil {
			t.Fatal(err)
		}
		_, err = x.Write(context.Background(), &bytes.Buffer{})
		var at *RecordError
		if !errors.Is(err, c.want) || !errors.As(err, &at) || at.Number != 0 {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// The longest message that fits does.
	write(t, "pcap", itchTape(t, []wire.Nanos{0}, 65507-moldHeadSize-moldLengthSize).config())
}
