package replay

import (
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// Noticer is a Publisher that can tell readers something beside the stream. With it a
// player says on wire.DeckTopic where it is: at each change, in its place between the
// records, and every second.
type Noticer interface {
	// Notice sends a notice. body is borrowed until it returns. It does not wait, and
	// any goroutine may call it.
	Notice(topic string, body []byte) error
}

const (
	noticeEvery = time.Second
	// pairedNoticeEvery is how often one that is paired says where it is: where it said so
	// last, another one begins to look for the place where readers are.
	pairedNoticeEvery = 250 * time.Millisecond
	noticeTopicsMax   = 16 << 10 // bytes of prefixes that a notice lists
)

// voice is how a player says where it is.
type voice struct {
	mu      sync.Mutex // held while a notice is made and sent: they come in order
	to      Noticer    // nil: nobody listens
	every   time.Duration
	command string // that is being carried out; of the player's goroutine
}

// because says of what comes until the returned function is called that a command
// brought it about.
func (p *Player) because(o *order) (done func()) {
	if o == nil {
		return func() {}
	}
	p.voice.command = o.name
	return func() { p.voice.command = "" }
}

// speak begins to say where the player is, until quiet is called.
func (p *Player) speak() (quiet func()) {
	var ok bool
	if p.voice.to, ok = p.cfg.Publisher.(Noticer); !ok {
		return func() {}
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		every := time.NewTicker(p.voice.every)
		defer every.Stop()
		for {
			select {
			case <-every.C:
				p.say("")
			case <-stop:
				return
			}
		}
	})
	return func() {
		close(stop)
		wg.Wait()
	}
}

// say sends a notice. Where the publisher does not take it, readers do without.
func (p *Player) say(command string) {
	v := &p.voice
	if v.to == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	st := p.State()
	if st.Phase == Finished && command == "" {
		return // it has been said
	}
	d := p.notice(st)
	d.Command = command
	_ = v.to.Notice(wire.DeckTopic, wire.AppendDeck(nil, &d))
}

// notice is a state as it is said.
func (p *Player) notice(st State) wire.DeckNotice {
	d := wire.DeckNotice{
		Time: wire.NanosOf(time.Now()), Session: p.cfg.Session, Version: st.Version, Phase: st.Phase.String(),
		Speed: st.Speed.String(), Clock: p.cfg.Clock.String(), Position: st.Time, Ordinal: st.Ordinal, Epoch: st.Epoch,
		Pass: st.Pass, SqueezeNs: int64(st.Squeeze), SqueezedNs: int64(st.Squeezed), Records: st.Records,
	}
	if st.Looping {
		d.Loop, d.Round = &wire.DeckLoop{From: st.LoopFrom, To: st.LoopTo}, st.Round
	}
	if p.cfg.Paired {
		d.Stream = p.deckStream(&d)
	}
	room := noticeTopicsMax
	for i, prefix := range st.Topics {
		if room -= len(prefix); room < 0 {
			d.TopicsLeftOut = len(st.Topics) - i
			break
		}
		d.Topics = st.Topics[:i+1]
	}
	return d
}
