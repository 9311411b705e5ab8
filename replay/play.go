package replay

import (
	"context"
	"errors"
	"time"

	"github.com/tapedeck/tapedeck/wire"
)

// perform waits for readers and plays, carrying out orders in between. It returns
// nil at the end of what there is to play.
func (p *Player) perform(run context.Context) error {
	for {
		err := p.stretch(run, func(ctx context.Context) error {
			if err := p.awaitReaders(ctx); err != nil {
				return err
			}
			return p.awaitHandled(ctx)
		})
		if err == errOrder {
			continue
		}
		if err != nil {
			return err
		}
		break
	}
	p.waiting, p.voice.command = false, "play"
	if p.takeover != nil {
		p.voice.command = "takeover"
	}
	p.show()
	p.voice.command = ""
	return p.play(run)
}

// play plays until there is nothing left to play.
func (p *Player) play(run context.Context) error {
	for {
		err := p.stretch(run, p.proceed)
		switch {
		case err == errOrder, err == errMore:
		case err == errEnd:
			return nil
		case p.ended && p.loop == nil && errors.Is(context.Cause(run), ErrStopped):
			return nil // everything had been played
		default:
			return err
		}
	}
}

// Outcomes of a stretch.
var (
	errMore = errors.New("replay: there is more to do")
	errEnd  = errors.New("replay: there is nothing more to do")
)

// stretch carries out the orders that have come and does one thing until the next
// one comes; then it returns errOrder.
func (p *Player) stretch(run context.Context, do func(context.Context) error) error {
	ctx, list := p.orders.next(run)
	for _, o := range list {
		done := p.because(o)
		o.apply(o)
		done()
	}
	err := do(ctx)
	if err != nil && p.orders.come(ctx, run) {
		return errOrder
	}
	return err
}

// proceed does what comes next.
func (p *Player) proceed(ctx context.Context) error {
	p.show()
	switch {
	case p.seek != nil && !(p.seek.again && p.paused && p.stepping == nil):
		return p.begin(ctx)
	case p.refilter != nil && !(p.refilter.again && p.last != nil):
		return p.beginFiltered(ctx)
	case p.last != nil:
		return p.sendLast(ctx)
	case p.stepping != nil:
		return p.step(ctx)
	case p.paused, p.ended:
		return p.idle(ctx)
	}
	if err := p.playOn(ctx); err != nil {
		return err
	}
	if err := p.awaitHandled(ctx); err != nil {
		return err
	}
	return p.atEnd()
}

// show lets others see what the player is doing.
func (p *Player) show() {
	phase := Playing
	switch {
	case p.over:
		phase = Finished
	case p.waiting:
		phase = Waiting
	case p.paused:
		phase = Paused
	case p.ended:
		phase = Held
	}
	changed := p.status.set(view{
		phase: phase, speed: p.speed, loop: p.loop, round: p.round, topics: p.topics, squeeze: p.squeeze,
		epoch: p.epoch, named: p.epoch.epoch,
	})
	if changed {
		p.say(p.voice.command)
	}
}

// atEnd says what comes behind the last record.
func (p *Player) atEnd() error {
	if p.loop != nil {
		return p.nextRound()
	}
	if !p.cfg.Hold {
		return errEnd
	}
	p.ended = true
	return errMore
}

// idle looks after readers until an order comes.
func (p *Player) idle(ctx context.Context) error {
	for {
		if err := p.cfg.Publisher.Tick(ctx); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		p.wait.until(p.wait.now()+int64(tickEvery), tickEvery)
	}
}

// playOn plays from where the shards stand to the end of the last pass.
func (p *Player) playOn(ctx context.Context) error {
	if p.inLanes() {
		return p.playLanes(ctx)
	}
	restore, err := pin(p.cpu(0))
	if err != nil {
		return err
	}
	defer restore()
	p.stand()
	p.status.lanesAre(false)
	return p.playPasses(ctx)
}

// playPasses is playOn for the shards that this player plays itself.
func (p *Player) playPasses(ctx context.Context) error {
	for {
		from := p.least()
		pass, rest := p.ordinals.split(from - p.lead)
		if p.loop != nil {
			if pass = p.loopPass; from >= p.lead+wire.Ordinal(pass)*p.ordinals.span+p.loop.to {
				return p.endRound(ctx)
			}
		} else if p.cfg.Passes >= 0 && pass >= p.cfg.Passes {
			return nil
		}
		p.report.Passes = max(p.report.Passes, pass+1)
		if p.ordinals.span == 0 {
			return nil
		}
		p.ordinals.rebase(p.lead + wire.Ordinal(pass)*p.ordinals.span)
		p.until = p.ordinals.base + p.ordinals.span
		if p.loop != nil {
			p.until = p.ordinals.base + p.loop.to
		}
		sent, fresh := p.report.Records, rest == 0 && p.taken <= from
		if err := p.playPass(ctx); err != nil {
			return err
		}
		p.reach(p.until)
		if p.loop != nil {
			continue
		}
		p.unanchor()
		if fresh && p.report.Records == sent {
			return nil // nothing to play: the next pass would find the same
		}
	}
}

// playPass plays the rest of one pass. Where it is broken off, what was gathered
// and did not go out is taken back, and the tape's clock stands still.
func (p *Player) playPass(ctx context.Context) error {
	if p.sendsBlocks() {
		err := p.playBlocks(ctx)
		p.drop()
		return err
	}
	err := p.playRecords(ctx)
	if err == nil {
		return nil
	}
	p.takeBack()
	p.standStill()
	return err
}

// standStill makes the tape's clock stand still until play goes on.
func (p *Player) standStill() {
	if p.pace != nil && p.pace.anchored {
		p.resume = tapeTime{p.pace.timeAt(p.wait.now()), true}
		p.pace.anchored = false
		p.progress.clock.stands(p.resume.at)
	}
}

// unanchor makes the tape's clock begin with the next record.
func (p *Player) unanchor() {
	if p.pace != nil {
		p.pace.anchored = false
	}
	p.resume = tapeTime{}
	p.progress.clock.stands(0)
}

// step sends what is left of a Step.
func (p *Player) step(ctx context.Context) error {
	pace := p.pace
	p.pace = nil // their time does not count
	defer func() { p.pace = pace }()
	restore, err := pin(p.cpu(0))
	if err != nil {
		return err
	}
	defer restore()
	p.stand()
	p.status.lanesAre(false)
	err = errStepped
	if p.steps > 0 {
		err = p.playPasses(ctx)
	}
	if err == nil || err == errStepped {
		if err := p.awaitHandled(ctx); err != nil {
			return err
		}
	}
	switch {
	case err == errStepped:
		p.say("step")
		p.stepping.through(nil)
		p.stepping = nil
		if pace == nil {
			p.resume = tapeTime{}
		}
		return errMore
	case err != nil:
		return err
	}
	end := p.atEnd()
	if p.seek != nil {
		return end // the steps go on in the loop's next round
	}
	if p.stepped == 0 {
		err = ErrBeyond
	}
	p.say("step")
	p.stepping.through(err)
	p.stepping, p.steps = nil, 0
	return end
}

// errStepped: as many records as were wanted have gone out.
var errStepped = errors.New("replay: stepped")

// tapeTime is a moment of the tape's clock, where there is one.
type tapeTime struct {
	at    wire.Nanos
	known bool
}

// Bounds and defaults.
const (
	tickEvery = 50 * time.Millisecond  // while waiting for a due moment
	poolWait  = 100 * time.Microsecond // while waiting for a lent buffer
)
