package resync

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/tapedeck/tapedeck/control/pirate"
	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// What a server and its tape readers say to each other, inside the requests and
// replies of 6/PPP: to a refill or find, as a client sends it, a tape reader
// answers with one message as a server sends it (chunk, spans, end or error), and
// an extent in front of it.
//
//	0  u64  where the source's records of the span's epoch and shard end
//	8  u8   flags; 1: the number at 0 is known, 2: the epoch ends there
//	9  u56  zero
//
// A refill is answered with one chunk; the credit and deadline in it mean nothing
// here. One whose To is Open is answered with an end where nothing follows.
const (
	extentSize  = 16
	extentKnown = 1
	extentEnded = 2
)

// Ends is what a Refills may know beside: where an epoch has ended. A server says
// of an epoch that it has ended only where its source knows it.
type Ends interface {
	// End returns the number of records that the epoch had on the shard, if its
	// publisher has said it.
	End(epoch wire.Epoch, shard int) (wire.Seq, bool)
}

// TapeWorkerConfig is what a tape reader is made from. The zero value of a field
// means its default.
type TapeWorkerConfig struct {
	// Endpoint of the server's backend.
	Endpoint string
	// Context that an inproc backend is in; it is borrowed. Default: one of its own.
	Context *zsock.Context
	// Heartbeat is the interval of heartbeats, the server's. Default 250 ms.
	Heartbeat time.Duration
	// Read is how long one read may take. Default 3 s.
	Read time.Duration
	// Worker is called with the worker that reads, before it runs, for who wants its
	// counters. Default: nobody does.
	Worker func(*pirate.Worker)
}

const (
	poolHeartbeat = 250 * time.Millisecond
	readDefault   = 3 * time.Second
)

// TapeWorker reads for a server until ctx ends. It may run in another process than
// the server, and as often as wanted. The error says why it could not begin.
func TapeWorker(ctx context.Context, cfg TapeWorkerConfig, src Refills) error {
	if cfg.Heartbeat == 0 {
		cfg.Heartbeat = poolHeartbeat
	}
	if cfg.Read == 0 {
		cfg.Read = readDefault
	}
	r := &tapeReader{src: src}
	w, err := pirate.NewWorker(pirate.WorkerConfig{
		Endpoint: cfg.Endpoint, Context: cfg.Context, Handler: r.handle,
		Heartbeat: cfg.Heartbeat, Backoff: cfg.Heartbeat, Work: cfg.Read,
	})
	if err != nil {
		return fmt.Errorf("resync: tape reader: %w", err)
	}
	if cfg.Worker != nil {
		cfg.Worker(w)
	}
	if err := w.Run(ctx); err != nil {
		return fmt.Errorf("resync: tape reader: %w", err)
	}
	return nil
}

// tapeReader answers requests one after the other. Its buffers are those of the
// reply that is on its way.
type tapeReader struct {
	src        Refills
	head, body []byte
	extent     [extentSize]byte
	frames     [4][]byte
}

func (t *tapeReader) handle(ctx context.Context, request [][]byte) pirate.Reply {
	clear(t.extent[:])
	var h Head
	err := error(bad(reasonFrames))
	if len(request) > 0 {
		h, err = ParseHead(request[0], len(request))
	}
	switch {
	case err != nil:
	case h.Command == CommandRefill:
		var r RefillRequest
		if r, err = ParseRefill(request[0]); err == nil {
			return t.refill(ctx, &r)
		}
	case h.Command == CommandFind:
		var r FindRequest
		if r, err = ParseFind(request[0]); err == nil {
			return t.find(ctx, &r)
		}
	default:
		err = bad(reasonCommand)
	}
	return t.fail(&RequestError{ID: h.ID, Code: CodeBadRequest, Text: err.Error()})
}

func (t *tapeReader) refill(ctx context.Context, r *RefillRequest) pirate.Reply {
	to := r.Span.To
	if to == Open {
		limit := endOf(t.src.Extents(), r.Span.Epoch, r.Span.Shard)
		binary.LittleEndian.PutUint64(t.extent[:], uint64(limit))
		t.extent[8] = extentKnown
		if src, ok := t.src.(Ends); ok {
			if end, known := src.End(r.Span.Epoch, r.Span.Shard); known && end == limit {
				t.extent[8] |= extentEnded
			}
		}
		if limit > 0 && r.Span.From >= limit {
			t.head, t.body = AppendEnd(t.head[:0], t.body[:0], &End{ID: r.ID, Next: r.Span.From})
			return t.reply()
		}
		to = max(limit, r.Span.From+1)
	}
	most := int(r.ChunkBytes)
	orDefault(&most, chunkDefault)
	b, release, err := t.src.Read(ctx, r.Span.Epoch, r.Span.Shard, r.Span.From, to, most)
	if err != nil {
		return t.fail(t.readError(r, err))
	}
	t.head = append(t.head[:0], make([]byte, ChunkHeadSize)...)
	PutChunkHead(t.head, r.ID, &b.Header)
	frames := append(t.frames[:0], t.extent[:], t.head, b.Payload)
	if len(b.Order) > 0 {
		frames = append(frames, b.Order)
	}
	return pirate.Reply{Frames: frames, Release: release}
}

// endOf is where the records that there are of an epoch and shard end; 0: there
// are none.
func endOf(extents []Span, epoch wire.Epoch, shard int) (end wire.Seq) {
	for _, s := range extents {
		if s.Epoch == epoch && s.Shard == shard {
			end = max(end, s.To)
		}
	}
	return end
}

// readError is the answer to a request whose source had an error. What can be had
// behind a hole, the source's extents say.
func (t *tapeReader) readError(r *RefillRequest, err error) *RequestError {
	e := sourceAnswer(r.ID, err)
	e.Next = r.Span.From
	if e.Code == CodeGone {
		for _, s := range t.src.Extents() {
			if s.Epoch == r.Span.Epoch && s.Shard == r.Span.Shard && s.From > r.Span.From && (e.Skip == 0 || s.From < e.Skip) {
				e.Skip, e.Advice = s.From, AdviceSkip
			}
		}
	}
	return e
}

// sourceAnswer is the answer to a request whose source had an error.
func sourceAnswer(id RequestID, err error) *RequestError {
	e := &RequestError{ID: id, Code: CodeFailed, Advice: AdviceOther, Text: err.Error()}
	switch {
	case errors.Is(err, ErrUnknownEpoch):
		e.Code = CodeUnknownEpoch
	case errors.Is(err, ErrGone):
		e.Code = CodeGone
	case errors.Is(err, ErrNotYet):
		e.Code, e.Advice, e.Wait = CodeNotYet, AdviceRetry, notYetAgain
	}
	return e
}

func (t *tapeReader) find(ctx context.Context, r *FindRequest) pirate.Reply {
	spans, err := t.src.Find(ctx, r.Time, r.Clock)
	if err == nil && len(spans) > SpansMax {
		err = fmt.Errorf("resync: %d spans, more than a message may have", len(spans))
	}
	if err != nil {
		return t.fail(sourceAnswer(r.ID, err))
	}
	t.head, t.body = AppendSpans(t.head[:0], t.body[:0], r.ID, spans)
	return t.reply()
}

func (t *tapeReader) fail(e *RequestError) pirate.Reply {
	t.head, t.body = AppendError(t.head[:0], t.body[:0], e)
	return t.reply()
}

func (t *tapeReader) reply() pirate.Reply {
	return pirate.Reply{Frames: append(t.frames[:0], t.extent[:], t.head, t.body)}
}
