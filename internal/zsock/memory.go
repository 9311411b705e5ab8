package zsock

/*
#include <stdlib.h>
#include "shim.h"
*/
import "C"

import (
	"sync/atomic"
	"unsafe"
)

// NewMessage returns an empty message. Close frees it.
func NewMessage() *Message {
	return &Message{c: (*C.td_message)(C.calloc(1, C.sizeof_td_message))}
}

// Clear closes the frames, so that their memory can go. Any thread may do it,
// also when the context is closed.
func (m *Message) Clear() {
	m.imagined = nil
	C.td_message_close(m.c)
}

// Close closes the frames and frees the message. It is not to be used again.
func (m *Message) Close() {
	if m.c == nil {
		return
	}
	C.td_message_close(m.c)
	C.free(unsafe.Pointer(m.c))
	m.c = nil
}

// Token counts how many frames libzmq still holds of what was sent with it. The
// counter lies in C memory: libzmq's threads write it without entering Go.
type Token struct {
	c *C.int32_t
}

// NewToken returns a token that is not busy. Free gives it back.
func NewToken() *Token {
	return &Token{c: (*C.int32_t)(C.calloc(1, C.sizeof_int32_t))}
}

// Busy reports whether libzmq still holds frames sent with the token.
func (t *Token) Busy() bool { return atomic.LoadInt32((*int32)(t.c)) != 0 }

// Free gives the token's memory back. The token must not be busy.
func (t *Token) Free() {
	C.free(unsafe.Pointer(t.c))
	t.c = nil
}
