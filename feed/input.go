package feed

import "io"

// HeadSize is how much of an input's content Detect and Open may look at
// without consuming it, bytes.
const HeadSize = 64 << 10

// Input is an opened input with its containers (gzip, zstd, zip) peeled off.
type Input struct {
	io.Reader        // the content, from its first byte
	Name      string // path as the user gave it, or "-"
	Inner     string // name of the member inside a zip, or ""
	Head      []byte // the first bytes of the content, not consumed from Reader
}
