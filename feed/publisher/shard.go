package publisher

import (
	"sync"
	"time"

	"github.com/tapedeck/tapedeck/internal/zsock"
	"github.com/tapedeck/tapedeck/wire"
)

// shard is one shard's socket and stream. Whoever works on a shard holds its
// lock: that is mostly the goroutine that sends to it, and now and then another
// one that looks after readers. Nobody waits for a second shard's lock.
type shard struct {
	number   int
	endpoint string
	ctx      *zsock.Context

	mu     sync.Mutex
	socket *zsock.Socket
	poller *zsock.Poller // of the socket alone
	count  counters

	epoch    wire.Epoch
	hello    []byte     // payload of the epoch's hello
	next     wire.Seq   // sequence of the next record
	hash     wire.Hash  // rolling hash of the stream so far
	lastSend wire.Nanos // of any message
	lastHear wire.Nanos // when its readers were last listened to
	header   []byte     // an allocation of its own: C may only see memory without Go pointers

	lent      []loan // bytes that libzmq may hold, oldest first from head
	head      int
	lentBytes int
	spare     []*zsock.Token

	steps      map[wire.ReaderID]wire.ReaderStep // what readers in lock-step have said last
	marks      int                               // since the last batch, or the last hello
	lastHello  wire.Nanos                        // its send time
	line       *line                             // nil: a good one
	watch      watch
	wanted     bool // somebody subscribes to records
	filters    filters
	quota      *zsock.Quota        // of each connection's subscriptions
	reference  []byte              // frame, an allocation of its own
	owedHeader []byte              // likewise
	owed       bool                // these two are to be sent before anything else
	owesHello  bool                // and then a hello, before anything else of the epoch
	before     place               // while it does: what its readers have seen before
	lineage    []wire.SessionPlace // where the epoch goes on with others of a pair, the latest first

	greet   bool // a reader came that wants a hello
	owesEnd bool // an end mark is due

	owesBeat bool // a heartbeat is due, however lately something was sent
}

// loan is bytes that are lent to libzmq.
type loan struct {
	token *zsock.Token
	done  interface{ Release() }
	bytes int
}

func openShard(cfg *Config, number int, endpoint string) (*shard, error) {
	cpu := zsock.NoCPU
	if cfg.IOCPUs != nil {
		cpu = cfg.IOCPUs[number]
	}
	ctx, err := zsock.NewContext(cpu)
	if err != nil {
		return nil, err
	}
	s := &shard{
		number: number, ctx: ctx, quota: zsock.NewQuota(quotaBytes),
		header: make([]byte, wire.HeaderSize), owedHeader: make([]byte, wire.HeaderSize),
		reference: make([]byte, 0, wire.ReferenceSize),
	}
	s.socket, err = ctx.NewSocket(zsock.XPUB, zsock.SocketConfig{
		SendQueue: queueLength(cfg.QueueBytes), SendTimeout: sendSlice, NoDrop: cfg.Lossless, Verbose: true,
		MessageMax: subscriptionMax, MulticastRate: multicastRate,
	})
	if err == nil {
		if s.endpoint, err = s.socket.Bind(endpoint); err == nil {
			s.poller = zsock.NewPoller(s.socket)
			return s, nil
		}
		_ = s.socket.Close()
	}
	_ = ctx.Close()
	return nil, err
}

const (
	// subscriptionMax bounds what a peer may send to a publisher at once, bytes.
	subscriptionMax = 1 << 10
	// quotaBytes bounds what one connection subscribes to on a shard, as a zsock.Quota
	// counts it: 100,000 topics of 50 bytes. libzmq needs up to forty times as much.
	quotaBytes = 8 << 20
)

// lend remembers that libzmq may hold bytes until the token is free.
func (s *shard) lend(token *zsock.Token, done interface{ Release() }, bytes int) {
	if s.head > 64 && s.head*2 > len(s.lent) {
		n := copy(s.lent, s.lent[s.head:])
		clear(s.lent[n:])
		s.lent, s.head = s.lent[:n], 0
	}
	s.lent = append(s.lent, loan{token, done, bytes})
	s.lentBytes += bytes
}

// giveBack ends a loan that libzmq has let go of.
func (s *shard) giveBack(l *loan) {
	l.done.Release()
	s.spare = append(s.spare, l.token)
	s.lentBytes -= l.bytes
	*l = loan{}
}

// sweep gives back everything that libzmq has let go of, also behind what a
// reader that stands still makes it hold.
func (s *shard) sweep() {
	kept := s.lent[:s.head]
	for i := s.head; i < len(s.lent); i++ {
		if l := s.lent[i]; l.token.Busy() {
			kept = append(kept, l)
		} else {
			s.giveBack(&l)
		}
	}
	clear(s.lent[len(kept):])
	s.lent = kept
}

// reap gives back what libzmq has let go of, up to the oldest that it holds.
func (s *shard) reap() {
	for s.head < len(s.lent) && !s.lent[s.head].token.Busy() {
		s.giveBack(&s.lent[s.head])
		s.head++
	}
	if s.head == len(s.lent) {
		s.lent, s.head = s.lent[:0], 0
	}
}

func (s *shard) newToken() *zsock.Token {
	if n := len(s.spare); n > 0 {
		t := s.spare[n-1]
		s.spare = s.spare[:n-1]
		return t
	}
	return zsock.NewToken()
}

// queueLength is the queue's length in messages, which is what libzmq counts. It
// is made for batches of queueFor bytes. A message costs libzmq some hundred
// bytes beside its payload.
//
// It stays as it is. libzmq 4.3.4 can change it under connections that stand, but
// tells their other ends by a command, also those that are just being taken
// down: where a reader leaves at that moment, its I/O thread crashes.
func queueLength(queueBytes int) int { return max(queueBytes/(queueFor+256), queueLenMin) }

// pause waits until a reader says something, but not longer than d.
func (s *shard) pause(d time.Duration) error {
	_, err := s.poller.Wait(nil, d)
	return err
}

// close closes the context, which waits for the linger time of the socket, which
// must have been closed, and then gives back everything that was lent.
func (s *shard) close() error {
	err := s.ctx.Close()
	s.reap()
	if s.head < len(s.lent) {
		panic("BUG: publisher: libzmq holds bytes of a context that is closed")
	}
	for _, t := range s.spare {
		t.Free()
	}
	s.spare = nil
	return err
}
