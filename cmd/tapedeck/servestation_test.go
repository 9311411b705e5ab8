package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tapedeck/tapedeck/control"
	"github.com/tapedeck/tapedeck/control/majordomo"
)

// stationTest is a station, and a client on its bus.
type stationTest struct {
	*testing.T
	*station
	client *control.Client
}

// serveFor starts a station with free ports, over the settings given, for a test.
func serveFor(t *testing.T, settings ...string) *stationTest {
	t.Helper()
	s := &stationTest{T: t}
	cfg := newServeConfig()
	for _, text := range append([]string{
		"bus=tcp://127.0.0.1:*", "state.bind=tcp://127.0.0.1:*", "metrics.bind=127.0.0.1:0", "lvc.plain=tcp://127.0.0.1:*",
		"broker.heartbeat=100ms", "state.readers=20ms", "state.position=10ms",
	}, settings...) {
		if err := cfg.set(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.station, err = openStation(t.Context(), cfg, silent()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.station.stop(); err != nil {
			t.Error(err)
		}
	})
	s.client = busClient(t, s.station.bus)
	return s
}

// busClient is a client of a bus, for a test.
func busClient(t *testing.T, bus string) *control.Client {
	t.Helper()
	// A service may come a moment after its broker.
	c, err := majordomo.NewClient(majordomo.ClientConfig{Endpoints: strings.Split(bus, ","), Tries: 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return control.NewClient(c)
}

// ask gives a command that must be done.
func ask[R any](s *stationTest, service, command string, args any) R {
	s.Helper()
	var r R
	if err := s.client.Do(s.T.Context(), service, command, args, &r); err != nil {
		s.Fatalf("%s %s %+v: %v", service, command, args, err)
	}
	return r
}

// refuses gives a command that must fail with a code and a reason.
func (s *stationTest) refuses(service, command string, args any, code control.Code, reason string) {
	s.Helper()
	err := s.client.Do(s.T.Context(), service, command, args, nil)
	var told *control.Error
	if !errors.As(err, &told) || told.Code != code || !strings.Contains(told.Reason, reason) || told.Try == "" {
		s.Errorf("%s %s %+v: %v (%#v), want %d, %q and what to try", service, command, args, err, err, code, reason)
	}
}

// TestServe: one process, and every service on its bus.
func TestServe(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	synthTape(t, dir, "day.tape", 2000, 2)
	s := serveFor(t, "tapes="+dir)
	st := ask[control.Status](s, control.ServiceStatus, "status", nil)
	var names []string
	for _, service := range st.Bus.Services {
		names = append(names, service.Service)
	}
	for _, want := range []string{"deck", "readers", "recorder", "status", "tapes"} {
		if !slices.Contains(names, want) {
			t.Errorf("the bus has %v, want %s too", names, want)
		}
	}
	if st.PID != os.Getpid() || st.Tapes != s.tapes.root || st.Clone.Snapshot == "" || st.Limits.Decks != 64 || st.Version != version {
		t.Errorf("status: %+v", st)
	}
	open := control.DeckOpen{Tapes: []string{"day.tape"}, Bind: "tcp://127.0.0.1:*", Speed: "max", Paused: true, Wait: 1}
	d := ask[control.DeckResult](s, control.ServiceDeck, "open", open)
	rec := ask[control.RecorderState](s, control.ServiceRecorder, "start", control.RecorderStart{Connect: strings.Join(d.Shards, ","), Tape: "copy.tape"})
	if rec.Recorder != "copy" || rec.Phase != "recording" || rec.Shards != 2 {
		t.Errorf("start: %+v", rec)
	}
	s.refuses(control.ServiceRecorder, "start", control.RecorderStart{Connect: d.Shards[0], Tape: "copy.tape"}, control.Refused, "copy is recording")
	s.refuses(control.ServiceRecorder, "start", control.RecorderStart{Connect: d.Shards[0], Tape: "copy.tape", Recorder: "other"}, control.Refused, "")
	s.refuses(control.ServiceRecorder, "dump", nil, control.Refused, "has no ring")
	ask[control.DeckResult](s, control.ServiceDeck, "play", control.DeckPlay{})
	for ask[control.DeckResult](s, control.ServiceDeck, "state", nil).Phase != "held" {
	}
	ask[control.DeckResult](s, control.ServiceDeck, "stop", nil)
	for rec.Phase == "recording" { // it ends with the stream
		rec = ask[control.RecorderList](s, control.ServiceRecorder, "status", nil).Recorders[0]
	}
	if rec.Phase != "finished" || !rec.Complete || rec.Records != 2000 {
		t.Errorf("the recording: %+v", rec)
	}
	st = ask[control.Status](s, control.ServiceStatus, "status", nil)
	if len(st.Decks) != 1 || st.Decks[0].Phase != "finished" || len(st.Recorders) != 1 {
		t.Errorf("status: %+v", st)
	}
	list := ask[control.TapesListed](s, control.ServiceTapes, "list", nil)
	if len(list.Tapes) != 2 || list.Tapes[0].Tape != "copy.tape" || list.Tapes[0].Records != 2000 || !list.Tapes[0].Closed {
		t.Errorf("tapes: %+v", list)
	}
	a, b := ask[control.TapeInfo](s, control.ServiceTapes, "info", control.TapeOf{Tape: "day.tape"}), ask[control.TapeInfo](s, control.ServiceTapes, "info", control.TapeOf{Tape: "copy.tape"})
	if a.Records != 2000 || b.Records != 2000 || a.Topics != b.Topics || a.FirstReceive != b.FirstReceive {
		t.Errorf("info: %+v, and of the copy %+v", a, b)
	}
	if v := ask[control.TapeVerified](s, control.ServiceTapes, "verify", control.TapeOf{Tape: "copy.tape"}); !v.OK || v.Records != 2000 || len(v.Found) != 0 {
		t.Errorf("verify: %+v", v)
	}
	ask[control.DeckResult](s, control.ServiceDeck, "close", nil)
}

// TestTapesService: lists, last values, damage, and errors.
func TestTapesService(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	synthTape(t, dir, "day.tape", 1000, 1)
	for _, sub := range []string{"2024", ".hidden", "half.tape.partial"} {
		if err := os.Mkdir(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	synthTape(t, filepath.Join(dir, "2024"), "jan.tape", 10, 1)
	synthTape(t, filepath.Join(dir, ".hidden"), "no.tape", 10, 1)
	broken := synthTape(t, dir, "broken.tape", 10, 1)
	if err := os.WriteFile(filepath.Join(broken, manifestFile), []byte("{}"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := serveFor(t, "tapes="+dir, "parts=broker,tapes", "tape.list=3")
	list := ask[control.TapesListed](s, control.ServiceTapes, "list", nil)
	var names []string
	for _, e := range list.Tapes {
		names = append(names, e.Tape)
	}
	if !slices.Equal(names, []string{"2024/jan.tape", "broken.tape", "day.tape"}) || list.Tapes[1].Error == "" || list.Tapes[2].Error != "" || list.More != 0 {
		t.Errorf("list: %+v", list)
	}
	synthTape(t, dir, "last.tape", 10, 1)
	if list = ask[control.TapesListed](s, control.ServiceTapes, "list", nil); len(list.Tapes) != 3 || list.More != 1 {
		t.Errorf("a list of 3: %+v", list)
	}
	if list = ask[control.TapesListed](s, control.ServiceTapes, "list", control.TapesList{Dir: "2024"}); len(list.Tapes) != 1 || list.Tapes[0].Tape != "2024/jan.tape" {
		t.Errorf("list 2024: %+v", list)
	}
	l := ask[control.TapeLast](s, control.ServiceTapes, "last", control.TapesLast{TapeOf: control.TapeOf{Tape: "day.tape"}, Limit: 5})
	if l.Topics != 20 || len(l.Records) != 5 || !strings.Contains(string(l.Records[0]), `"topic":`) {
		t.Errorf("last: %+v", l)
	}
	for _, x := range []struct {
		command string
		args    any
		code    control.Code
		reason  string
	}{
		{"info", control.TapeOf{Tape: "no.tape"}, control.NotFound, "no tape"},
		{"info", control.TapeOf{Tape: "../x"}, control.BadRequest, "leads out"},
		{"info", control.TapeOf{Tape: "/etc"}, control.BadRequest, "absolute"},
		{"info", control.TapeOf{Tape: "2024"}, control.NotFound, ""},
		{"info", control.TapeOf{Tape: "broken.tape"}, control.Failed, "manifest"},
		{"verify", control.TapeOf{}, control.BadRequest, "no name"},
		{"list", control.TapesList{Dir: "nowhere"}, control.NotFound, "no directory"},
		{"list", control.TapesList{Dir: ".hidden"}, control.BadRequest, "dot"},
		{"last", control.TapesLast{TapeOf: control.TapeOf{Tape: "day.tape"}, At: "+1s"}, control.BadRequest, "want a time"},
		{"last", control.TapesLast{TapeOf: control.TapeOf{Tape: "day.tape"}, At: "@no"}, control.NotFound, "no mark"},
		{"last", control.TapesLast{TapeOf: control.TapeOf{Tape: "day.tape"}, Limit: 1001}, control.BadRequest, "limit"},
		{"last", control.TapesLast{TapeOf: control.TapeOf{Tape: "day.tape"}, Clock: "sun"}, control.BadRequest, "clock"},
	} {
		s.refuses(control.ServiceTapes, x.command, x.args, x.code, x.reason)
	}
}

// TestServeApart: broker, decks and status in processes of their own work together.
func TestServeApart(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	synthTape(t, dir, "day.tape", 100, 1)
	broker := serveFor(t, "tapes="+dir, "parts=broker")
	decks := serveFor(t, "tapes="+dir, "parts=decks,state", "bus="+broker.station.bus)
	s := serveFor(t, "tapes="+dir, "parts=status", "bus="+broker.station.bus)
	d := ask[control.DeckResult](s, control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}, Bind: "tcp://127.0.0.1:*", Paused: true})
	st := ask[control.Status](s, control.ServiceStatus, "status", nil)
	if len(st.Decks) != 1 || st.Decks[0].Deck != d.Deck || len(st.Bus.Services) < 3 || len(decks.decks.list()) != 1 {
		t.Errorf("status: %+v", st)
	}
}

// TestServeTables: decks and recordings of the configuration are there from the start;
// what is wrong with one is said.
func TestServeTables(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	synthTape(t, dir, "day.tape", 100, 1)
	cfg := newServeConfig()
	open := func(text string) (*station, error) {
		*cfg = *newServeConfig()
		base := fmt.Sprintf("bus = 'tcp://127.0.0.1:*'\nstate.bind = 'tcp://127.0.0.1:*'\nmetrics.bind = ''\ntapes = '%s'\n", dir)
		if err := cfg.parse("serve.toml", base+text); err != nil {
			t.Fatal(err)
		}
		return openStation(t.Context(), cfg, silent())
	}
	s, err := open("[[deck]]\ndeck = 'one'\ntapes = ['day.tape']\nbind = 'tcp://127.0.0.1:*'\npaused = true\n" +
		"[[recording]]\nconnect = 'tcp://127.0.0.1:1'\ntape = 'new.tape'\n[[refill]]\ntape = 'day.tape'\nbind = 'tcp://127.0.0.1:*'\n")
	if err != nil {
		t.Fatal(err)
	}
	if len(s.decks.list()) != 1 || len(s.recorders.list()) != 1 || len(s.refills) != 1 || len(s.resyncState()) != 2 {
		t.Errorf("%d decks, %d recorders, %d refills", len(s.decks.list()), len(s.recorders.list()), len(s.refills))
	}
	if err := s.stop(); err != nil {
		t.Error(err)
	}
	for text, want := range map[string]string{
		"[[deck]]\ntapes = ['no.tape']\n":                      "[[deck]] of number 1: there is no tape",
		"[[deck]]\ntape = 'day.tape'\n":                        `unknown field "tape"`,
		"[[recording]]\ntape = 'x.tape'\n":                     "endpoints of the stream are missing",
		"[[refill]]\ntape = 'day.tape'\nrate = 'lots'\n":       "no size",
		"[[refill]]\ntape = 'day.tape'\nbind = 'tcp://*:*'\n":  "beyond this machine",
		"[lvc]\nshards = 'tcp://127.0.0.1:1'\nwarm = '../x'\n": "leads out",
	} {
		if s, err := open(text); err == nil {
			t.Errorf("%s: taken", text)
			_ = s.stop()
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestServeStopsInOrder: the first failure ends everything, the last part first.
func TestServeStopsInOrder(t *testing.T) {
	var order []string
	s := newSupervisor()
	part := func(name string, run func(context.Context) error) {
		s.start(name, run, func() error {
			order = append(order, name)
			return nil
		})
	}
	wait := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	boom := make(chan struct{})
	part("first", wait)
	part("second", func(ctx context.Context) error {
		select {
		case <-boom:
			return errors.New("boom")
		case <-ctx.Done():
			return nil
		}
	})
	part("third", wait)
	close(boom)
	if err := s.wait(t.Context()); err == nil || err.Error() != "second: boom" {
		t.Errorf("%v", err)
	}
	if err := s.stop(); err != nil || !slices.Equal(order, []string{"third", "second", "first"}) {
		t.Errorf("stopped %v, %v", order, err)
	}
	quiet := newSupervisor()
	quiet.start("silent", func(context.Context) error { return nil }, nil)
	if err := quiet.wait(t.Context()); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("%v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := newSupervisor().wait(ended); err != nil {
		t.Error(err)
	}
}

// TestServeMetrics: every part is in the metrics, a deck under its name as long as it
// plays, and the process says that it is ready.
func TestServeMetrics(t *testing.T) {
	noLeaks(t)
	dir := t.TempDir()
	synthTape(t, dir, "day.tape", 100, 1)
	s := serveFor(t, "tapes="+dir)
	get := func(path string) (string, int) {
		t.Helper()
		r, err := http.Get("http://" + s.shown.server.Address() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return string(b), r.StatusCode
	}
	if body, code := get("/readyz"); code != http.StatusOK {
		t.Errorf("not ready: %s", body)
	}
	ask[control.DeckResult](s, control.ServiceDeck, "open", control.DeckOpen{Tapes: []string{"day.tape"}, Bind: "tcp://127.0.0.1:*", Paused: true})
	body, _ := get("/metrics")
	for _, want := range []string{`deck="day"`, "tapedeck_broker_", "tapedeck_jobs", `service="deck"`, "tapedeck_clone_"} {
		if !strings.Contains(body, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	st := ask[control.Status](s, control.ServiceStatus, "status", nil)
	if !strings.HasSuffix(st.Metrics, s.shown.server.Address()+"/metrics") {
		t.Errorf("status says that metrics are at %q", st.Metrics)
	}
	ask[control.DeckResult](s, control.ServiceDeck, "close", nil)
	if body, _ = get("/metrics"); strings.Contains(body, `deck="day"`) {
		t.Error("a deck that is closed is in the metrics")
	}
	// The broker of another process goes: who needs it is not ready.
	broker := serveFor(t, "tapes="+dir, "parts=broker")
	other := serveFor(t, "tapes="+dir, "parts=metrics,tapes", "bus="+broker.station.bus)
	s = other
	if body, code := get("/readyz"); code != http.StatusOK {
		t.Errorf("not ready: %s", body)
	}
	if err := broker.station.stop(); err != nil {
		t.Fatal(err)
	}
	for {
		if body, code := get("/readyz"); code == http.StatusServiceUnavailable && strings.Contains(body, "nobody answers at") {
			break
		}
	}
}
