package splice

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/tapedeck/tapedeck/tape"
	"github.com/tapedeck/tapedeck/wire"
)

// SalvageConfig says how what is saved is written.
type SalvageConfig struct {
	// Tape says how the new tape is written. A zero Codec keeps the stored bytes
	// of each block. Shards, Encodings, Sources, Temporary and SyncInterval are
	// set by Salvage.
	Tape tape.Config
	// Progress, if not nil, is called with the bytes read and the bytes there are.
	Progress func(done, total int64)
}

// SalvageReport is what was saved, and what was not.
type SalvageReport struct {
	Report
	Damage  tape.Report    // what is wrong with the damaged tape
	Refused []tape.Problem // whole blocks that do not follow the ones before them
	Lost    []tape.Gap     // sequences that the damaged tape had and the new one has not
}

// Salvage writes every whole block of a damaged tape to a new one in dir, with the
// places and the bytes that the records have, and says what is missing. The
// damaged tape is only read. An error leaves nothing behind; damage is none.
func Salvage(ctx context.Context, from, dir string, cfg SalvageConfig) (SalvageReport, error) {
	var rep SalvageReport
	s, err := tape.OpenSalvage(ctx, from)
	if err != nil {
		return rep, err
	}
	keep := cfg.Tape.Codec == 0
	if keep {
		cfg.Tape.Codec = s.Codec()
	}
	cfg.Tape.Shards, cfg.Tape.Encodings, cfg.Tape.Sources = s.Shards(), s.Encodings(), s.Sources()
	out, err := create(dir, cfg.Tape)
	if err != nil {
		return rep, err
	}
	defer func() { _ = out.Abort() }() // nothing after a good Close
	had := ranges{}
	rep.Damage, err = s.Blocks(ctx, cfg.Progress, func(b *tape.Block) error {
		err := out.AppendBlock(b, keep)
		var order *tape.OrderError
		if errors.As(err, &order) {
			info := b.Info
			rep.Refused = append(rep.Refused, tape.Problem{Offset: info.Offset, Reason: order.Error(), Block: &info})
			return nil
		}
		if err != nil {
			return err
		}
		had.add(&b.Info)
		rep.Records += uint64(b.Count)
		if keep || b.Info.Codec == cfg.Tape.Codec {
			rep.BlocksKept++
		} else {
			rep.BlocksCoded++
		}
		return nil
	})
	if err != nil {
		return rep, err
	}
	marks := s.Marks()
	rep.Marks = len(marks)
	if err := out.SetMarks(marks); err != nil {
		return rep, err
	}
	rep.Lost = had.lost(&rep.Damage, rep.Refused)
	return rep, out.Close()
}

// ranges are the sequences of each stream that are accounted for.
type ranges map[stream][]span

type stream struct {
	epoch wire.Epoch
	shard int
}

// span is the sequences [from, to).
type span struct{ from, to wire.Seq }

// add takes in a block; those of a stream come in order.
func (r ranges) add(b *tape.BlockInfo) {
	key := stream{b.Epoch, int(b.Shard)}
	list := r[key]
	if n := len(list); n > 0 && list[n-1].to == b.FirstSeq {
		list[n-1].to = b.Next()
		return
	}
	r[key] = append(list, span{b.FirstSeq, b.Next()})
}

// lost returns what is missing between the first and the last sequence that a
// whole or a damaged block speaks of, without what the recording itself lacks.
func (r ranges) lost(rep *tape.Report, refused []tape.Problem) []tape.Gap {
	ends := map[stream]span{}
	speak := func(key stream, x span) {
		end, ok := ends[key]
		if ok {
			x = span{min(end.from, x.from), max(end.to, x.to)}
		}
		ends[key] = x
	}
	for key, list := range r {
		speak(key, span{list[0].from, list[len(list)-1].to})
	}
	for _, list := range [][]tape.Problem{rep.Problems, refused} {
		for i := range list {
			if b := list[i].Block; b != nil {
				speak(stream{b.Epoch, int(b.Shard)}, span{b.FirstSeq, b.Next()})
			}
		}
	}
	have := ranges{}
	for key, list := range r {
		have[key] = slices.Clone(list)
	}
	for _, g := range slices.Concat(rep.Gaps, rep.LastValues) {
		key := stream{g.Epoch, g.Shard}
		have[key] = append(have[key], span{g.From, g.To})
	}
	var lost []tape.Gap
	for key, end := range ends {
		list := have[key]
		slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
		at := end.from
		for _, x := range append(list, span{end.to, end.to}) {
			if x.from > at {
				lost = append(lost, tape.Gap{Epoch: key.epoch, Shard: key.shard, From: at, To: x.from})
			}
			at = max(at, x.to)
		}
	}
	slices.SortFunc(lost, func(a, b tape.Gap) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Shard, b.Shard), cmp.Compare(a.From, b.From))
	})
	return lost
}
