package dbn

import (
	"encoding/base64"
	"fmt"
	"strconv"

	"github.com/klauspost/compress/zstd"

	"github.com/tapedeck/tapedeck/feed"
)

// Keys of Encoding.Detail.
const (
	keyVersion  = "version"
	keyDataset  = "dataset"
	keySchema   = "schema"
	keyStypeIn  = "stype_in"
	keyStypeOut = "stype_out"
	keyTsOut    = "ts_out"
	keyStart    = "start"
	keyEnd      = "end"
	keyLimit    = "limit"
	keySymbols  = "symbols"
	keyPartial  = "partial"
	keyNotFound = "not_found"
	keyMappings = "mappings"
	keyFragment = "fragment"

	keyHead     = "head"      // the whole file head, base64
	keyHeadZstd = "head_zstd" // the same as a zstd frame, base64; instead of head
)

// plainHeadMax is the largest file head that is kept without compression, bytes.
const plainHeadMax = 4 << 10

// newEncoding describes a file, or a fragment where m is nil.
func newEncoding(m *metadata, dataset string) (feed.Encoding, error) {
	d := make(map[string]string)
	put := func(key, value string) {
		if value != "" {
			d[key] = value
		}
	}
	put(keyDataset, dataset)
	if m == nil {
		put(keyFragment, "true")
		return feed.Encoding{Format: Name, Detail: d}, nil
	}
	put(keyVersion, strconv.Itoa(int(m.version)))
	put(keySchema, schemaName(m.schema))
	put(keyStypeIn, stypeName(m.stypeIn))
	put(keyStypeOut, stypeName(m.stypeOut))
	put(keyTsOut, strconv.FormatBool(m.tsOut))
	if m.start != undefinedTime {
		put(keyStart, strconv.FormatUint(m.start, 10))
	}
	if m.end != undefinedTime {
		put(keyEnd, strconv.FormatUint(m.end, 10))
	}
	if m.limit != 0 {
		put(keyLimit, strconv.FormatUint(m.limit, 10))
	}
	put(keySymbols, strconv.Itoa(m.symbols))
	put(keyPartial, strconv.Itoa(m.partial))
	put(keyNotFound, strconv.Itoa(m.notFound))
	put(keyMappings, strconv.Itoa(m.mappings))
	if len(m.raw) <= plainHeadMax {
		put(keyHead, base64.StdEncoding.EncodeToString(m.raw))
		return feed.Encoding{Format: Name, Detail: d}, nil
	}
	w, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return feed.Encoding{}, fmt.Errorf("dbn: pack the file head: %w", err)
	}
	put(keyHeadZstd, base64.StdEncoding.EncodeToString(w.EncodeAll(m.raw, nil)))
	return feed.Encoding{Format: Name, Detail: d}, w.Close()
}

// Head returns the file head that an Encoding carries, byte for byte as it was
// read: the head and then the bodies in their order are the file's content. It
// is nil for a fragment, which has none. The caller owns it.
func Head(enc feed.Encoding) ([]byte, error) {
	text, packed := enc.Detail[keyHeadZstd]
	if !packed {
		text = enc.Detail[keyHead]
	}
	if text == "" {
		return nil, nil
	}
	b, err := base64.StdEncoding.DecodeString(text)
	if err == nil && packed {
		b, err = unpackHead(b)
	}
	if err != nil {
		return nil, fmt.Errorf("dbn: file head in the encoding: %w", err)
	}
	return b, nil
}

func unpackHead(b []byte) ([]byte, error) {
	r, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1),
		zstd.WithDecoderMaxMemory(preludeSize+metadataSizeMax))
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.DecodeAll(b, nil)
}
