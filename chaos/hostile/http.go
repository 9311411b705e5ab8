package hostile

import (
	"io"
	"strings"
)

var requests = []string{
	"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n",
	"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nx",
	"POST /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx\r\n",
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	"GET /../../etc/passwd HTTP/1.0\r\n\r\n",
	"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}

// requestsMax bounds the requests of one connection: an answer takes a server some
// milliseconds, so this is no flood but a sample of what can be said.
const requestsMax = 20

// browse speaks HTTP, badly.
func (p *peer) browse(frames uint64) error {
	ended := make(chan struct{})
	go func() { defer close(ended); _, _ = io.Copy(io.Discard, p.conn) }()
	defer func() { _ = p.conn.Close(); <-ended }()
	for range min(frames, uint64(1+p.r.IntN(requestsMax))) {
		b := []byte(requests[p.r.IntN(len(requests))])
		switch p.r.IntN(6) {
		case 0: // as it is
		case 1:
			b = append([]byte(strings.Repeat("GET /", 1+p.r.IntN(2000))), b...)
		case 2:
			head := "GET /healthz HTTP/1.1\r\n" + strings.Repeat("X-"+string(random(p.r, 30))+": y\r\n", p.r.IntN(500))
			b = []byte(head)
		default:
			b = mutateBytes(p.r, b)
		}
		if err := p.say(Request, b); err != nil {
			return err
		}
	}
	return nil
}
