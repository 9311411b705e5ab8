package zmtp

import (
	"net"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// Unsent is how many bytes that were written to a connection the kernel still
// holds: not sent, or not acknowledged. 0 where the kernel does not say.
func Unsent(c net.Conn) int {
	n := 0
	control(c, func(fd int) {
		// SIOCOUTQ; unix(7) and tcp(7).
		if v, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ); err == nil {
			n = v
		}
	})
	return n
}

// PeerName is who is at the other end, for people: the address, or the number of
// the process behind an ipc connection.
func PeerName(c net.Conn) string {
	if c.RemoteAddr().Network() != "unix" {
		return c.RemoteAddr().String()
	}
	name := "ipc"
	control(c, func(fd int) {
		if cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED); err == nil {
			name = "ipc:pid=" + strconv.Itoa(int(cred.Pid))
		}
	})
	return name
}

// control calls f with the connection's descriptor, which stays open for as long.
func control(c net.Conn, f func(fd int)) {
	if s, ok := c.(*sealed); ok {
		c = s.Conn
	}
	sc, ok := c.(syscall.Conn)
	if !ok {
		return
	}
	if raw, err := sc.SyscallConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) })
	}
}
