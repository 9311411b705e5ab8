package subscriber

import (
	"slices"

	"github.com/tapedeck/tapedeck/wire"
	"github.com/tapedeck/tapedeck/wire/lineage"
)

// Stream is the continuity of one shard: what has arrived, what is missing, and
// whether the end mark agrees. It is pure; feed it the headers in the order
// they arrive.
type Stream struct {
	epoch    wire.Epoch
	start    wire.Seq // sequence at which this reader joined the epoch
	next     wire.Seq // sequence expected next
	repeat   wire.Seq // records before it repeat what came in the epoch before
	pair     uint64   // epoch of the pair in which its publisher is active; 0: not known
	hash     wire.Hash
	begun    bool // an epoch is known
	spoiled  bool // not the publisher's batches one by one since the join
	overlap  bool // the last batch had come in part: the rolling hash is lost
	ended    bool
	agreed   bool // at the end: the rolling hash agreed with the mark
	early    bool // at the end: the publisher had more to send
	records  uint64
	gaps     uint64
	lost     uint64
	dups     uint64
	epochs   uint64
	broken   uint64 // epochs that were followed by another, without an end mark or a start that says why
	diverged uint64 // times that the rolling hash differed though nothing was missing

	// Epochs that were followed by another. A message of one of them is late.
	left [leftMax]wire.Epoch
	// Where the last of them was left, until it is known how the epoch at hand
	// began.
	before departure
	kin    lineage.Book // how epochs lie beside one another
}

// departure is where an epoch was left.
type departure struct {
	epoch   wire.Epoch // 0: there was none, or it is settled
	next    wire.Seq
	repeat  wire.Seq // as in Stream
	hash    wire.Hash
	overlap bool // as in Stream
	ended   bool
}

// leftMax is how many left epochs are remembered.
const leftMax = 32

// Step is what a header means for the stream.
type Step struct {
	// Skip is how many records at the batch's start have been delivered before, in
	// this epoch or, where another publisher took over, in the one before.
	// If Skip equals the header's Count there is nothing to deliver.
	Skip uint32
	// GapFrom and GapTo are the sequences that are missing before this batch,
	// [from, to). They are equal when nothing is.
	GapFrom, GapTo wire.Seq
	// NewEpoch: this is the first header of an epoch.
	NewEpoch bool
	// Ended: this header is the end mark, seen for the first time.
	Ended bool
	// Stale: the header belongs to an epoch that has been left; ignore it.
	Stale bool
}

// Take takes in one header and says what it means.
func (s *Stream) Take(h *wire.Header) Step {
	var step Step
	if !s.begun || h.Epoch != s.epoch {
		if s.hasLeft(h.Epoch) {
			step.Stale, step.Skip = true, h.Count
			return step
		}
		s.begin(h)
		step.NewEpoch = true
	}
	if h.FirstSeq > s.next {
		s.missBefore(h.FirstSeq, &step)
	}
	s.checkHash(h, &step)
	if h.Bare() {
		s.takeMark(h, &step)
		return step
	}
	if h.FirstSeq < s.next {
		step.Skip = uint32(min(uint64(s.next-h.FirstSeq), uint64(h.Count)))
		s.dups += uint64(step.Skip)
		if step.Skip == h.Count {
			return step
		}
		// Part of a batch that was seen: the hash runs over whole batches.
		s.spoil()
		s.overlap = true
	}
	if s.ended {
		s.spoil() // nothing may follow the end mark
	}
	s.hash = s.hash.Roll(h.Count, h.CRC)
	if again := min(s.repeat, h.Next()); again > h.FirstSeq+wire.Seq(step.Skip) {
		s.dups += uint64(again-h.FirstSeq) - uint64(step.Skip)
		step.Skip = uint32(again - h.FirstSeq)
	}
	s.records += uint64(h.Count - step.Skip)
	s.next = h.Next()
	return step
}

// missBefore takes note that what comes before seq has not come. What would have been
// a repeat is not missing.
func (s *Stream) missBefore(seq wire.Seq, step *Step) {
	step.GapFrom, step.GapTo = min(max(s.next, s.repeat), seq), seq
	if step.GapFrom < seq {
		s.gaps++
		s.lost += uint64(seq - step.GapFrom)
	}
	s.spoil()
	s.overlap = step.GapFrom == seq // nothing is missing, and the hash is not known
	s.next = seq
}

// Enters reports whether a message of one of a pair of publishers is of the epoch at
// hand, or begins another one that counts. Only an epoch's hello says what of it repeats,
// and in which epoch of the pair its publisher is active: pair, 0 where the message is no
// hello or does not say. A publisher that was taken for dead, and does not know yet, may
// begin epochs with any number; those of an earlier epoch of the pair do not count. Where
// the message does not enter, ask says that its hello is to be asked for.
func (s *Stream) Enters(h *wire.Header, pair uint64) (enters, ask bool) {
	hello := h.Flags&wire.FlagHello != 0
	switch {
	case !s.begun && !hello:
		return false, true
	case !s.begun || h.Epoch == s.epoch:
		s.pair = max(s.pair, pair)
		return true, false
	case s.hasLeft(h.Epoch):
		return false, false
	case !hello:
		return false, s.pair > 0 || h.Epoch > s.epoch
	case pair > s.pair || pair == s.pair && h.Epoch > s.epoch:
		s.pair = pair
		return true, false
	}
	return false, false
}

// hasLeft reports whether an epoch was followed by another.
func (s *Stream) hasLeft(epoch wire.Epoch) bool {
	return epoch != s.epoch && slices.Contains(s.left[:], epoch)
}

// checkHash compares the rolling hash before a batch with the publisher's. After
// a gap it takes the publisher's over, so that what follows is checked again.
func (s *Stream) checkHash(h *wire.Header, step *Step) {
	if h.FirstSeq != s.next || h.Hash == s.hash {
		return
	}
	if step.GapFrom == step.GapTo && !s.overlap {
		// Nothing is missing by number, and yet not everything was the same.
		s.diverged++
		s.spoil()
	}
	s.hash, s.overlap = h.Hash, false
}

// spoil takes note that what came is not what was sent, batch by batch: the epoch
// cannot be complete any more, even where its end had come.
func (s *Stream) spoil() { s.spoiled, s.agreed = true, false }

func (s *Stream) begin(h *wire.Header) {
	if s.begun {
		s.left[s.epochs%leftMax] = s.epoch
		if !s.ended {
			s.broken++
		}
		s.before = departure{epoch: s.epoch, next: s.next, repeat: s.repeat, hash: s.hash, overlap: s.overlap, ended: s.ended}
	}
	s.begun, s.ended, s.agreed, s.early, s.spoiled, s.overlap = true, false, false, false, false, false
	s.epoch, s.start, s.next, s.hash, s.repeat = h.Epoch, h.FirstSeq, h.FirstSeq, h.Hash, 0
	s.epochs++
}

func (s *Stream) takeMark(h *wire.Header, step *Step) {
	if !h.End() || s.ended {
		return
	}
	s.ended = true
	s.early = h.Flags&wire.FlagEarly != 0
	s.agreed = !s.early && !s.spoiled && s.hash == h.Hash && s.next == h.FirstSeq
	step.Ended = true
}

// Epoch is the epoch that the stream is in, or 0 before the first header.
func (s *Stream) Epoch() wire.Epoch { return s.epoch }

// Next is the sequence expected next.
func (s *Stream) Next() wire.Seq { return s.next }

// Ended reports whether the epoch's end mark has come.
func (s *Stream) Ended() bool { return s.ended }

// Complete reports whether every record of the epoch, from sequence 0 to the
// end mark, has come exactly as it was sent: count and rolling hash agree with
// the mark.
func (s *Stream) Complete() bool { return s.ended && s.agreed && s.start == 0 }
