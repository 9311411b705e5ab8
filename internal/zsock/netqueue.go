package zsock

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ErrConnectionGone: the descriptor is not, or no longer, the connection's.
var ErrConnectionGone = errors.New("zsock: connection is gone")

// Connection looks at a connection of one of this process's sockets from outside:
// how much the kernel still has to hand over, and whether the other end takes any.
// libzmq owns the descriptor and may close it at any moment, and then the number
// becomes another file's; so a Connection only reads, and holds what it read against
// the kernel's cookie of the socket, which no other socket ever has.
//
// It belongs to one goroutine at a time and needs no closing.
type Connection struct {
	fd     int
	cookie uint64
	remote string
	tcp    bool
	last   NetQueue
	info   unix.TCPInfo // of the last look; a variable would be moved to the heap
}

// NetQueue is the state of a connection's send queue in the kernel.
type NetQueue struct {
	// Queued are bytes that were written to the connection and that the other end
	// has not acknowledged; for ipc, memory of what it has not read.
	Queued int64
	// Unsent are those of Queued that have not left this machine, as far as is
	// known.
	Unsent int64
	// Taken only ever grows. Where it does not while Queued is above 0, the other
	// end takes nothing. For tcp it is the bytes acknowledged; for ipc, by how much
	// the queue was seen to shrink. It is not renewed while Queued is 0.
	Taken uint64
}

// OpenConnection identifies the connection that a frame came over. The error is
// ErrConnectionGone where the descriptor is no connection, or not with that peer.
func OpenConnection(p Peer) (*Connection, error) {
	if p.FD < 0 {
		return nil, ErrConnectionGone
	}
	c := &Connection{fd: p.FD}
	var err error
	if c.cookie, err = socketCookie(c.fd); err != nil {
		return nil, gone(err)
	}
	remote, err := unix.Getpeername(c.fd)
	if err != nil {
		return nil, gone(err)
	}
	switch a := remote.(type) {
	case *unix.SockaddrInet4:
		c.tcp, c.remote = true, netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)).String()
		err = samePeer(p.Address, netip.AddrFrom4(a.Addr))
	case *unix.SockaddrInet6:
		ip := netip.AddrFrom16(a.Addr).Unmap()
		c.tcp, c.remote = true, netip.AddrPortFrom(ip, uint16(a.Port)).String()
		err = samePeer(p.Address, ip)
	case *unix.SockaddrUnix:
		err = c.identifyUnix(p.Address)
	default:
		err = ErrConnectionGone
	}
	if err != nil {
		return nil, err
	}
	return c, c.check()
}

// identifyUnix names the process at the other end. It has no address of its own: the
// cookie tells its connections apart.
func (c *Connection) identifyUnix(address string) error {
	cred, err := unix.GetsockoptUcred(c.fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return gone(err)
	}
	if want := fmt.Sprintf(":%d:%d:%d", cred.Uid, cred.Gid, cred.Pid); !strings.HasSuffix(address, want) {
		return ErrConnectionGone
	}
	c.remote = "pid " + strconv.Itoa(int(cred.Pid)) + " #" + strconv.FormatUint(c.cookie, 10)
	return nil
}

// samePeer compares what libzmq says with what the kernel does.
func samePeer(address string, kernel netip.Addr) error {
	if ip, err := netip.ParseAddr(address); err != nil || ip.WithZone("").Unmap() != kernel {
		return ErrConnectionGone
	}
	return nil
}

// Remote is the address of the other end, with its port; for ipc "pid 4711 #12",
// process and a number of the connection. No other connection that stands has it.
func (c *Connection) Remote() string { return c.remote }

// Stands reports whether the descriptor is still the connection's.
func (c *Connection) Stands() bool { return c.check() == nil }

// Queue looks. It costs two system calls where nothing is queued, three otherwise.
// The error is ErrConnectionGone where the connection is.
func (c *Connection) Queue() (NetQueue, error) {
	queued, err := unix.IoctlGetInt(c.fd, unix.SIOCOUTQ)
	if err != nil {
		return NetQueue{}, gone(err)
	}
	now := NetQueue{Queued: int64(queued), Unsent: int64(queued), Taken: c.last.Taken}
	if queued > 0 && c.tcp {
		if err := sockopt(c.fd, unix.SOL_TCP, unix.TCP_INFO, &c.info); err != nil {
			return NetQueue{}, gone(err)
		}
		now.Taken, now.Unsent = c.info.Bytes_acked, int64(c.info.Notsent_bytes)
	} else if now.Queued < c.last.Queued {
		now.Taken += uint64(c.last.Queued - now.Queued)
	}
	// After the reading: what was read of another socket is thrown away.
	if err := c.check(); err != nil {
		return NetQueue{}, err
	}
	c.last = now
	return now, nil
}

func (c *Connection) check() error {
	cookie, err := socketCookie(c.fd)
	if err != nil {
		return gone(err)
	}
	if cookie != c.cookie {
		return ErrConnectionGone
	}
	return nil
}

// gone is the one thing that a failing read of a descriptor means.
func gone(err error) error { return fmt.Errorf("%w: %w", ErrConnectionGone, err) }

// socketCookie is the kernel's number of a socket, unique while the machine runs.
func socketCookie(fd int) (cookie uint64, err error) {
	err = sockopt(fd, unix.SOL_SOCKET, unix.SO_COOKIE, &cookie)
	return cookie, err
}

// sockopt reads an option of a socket into v, which has the option's size or more.
func sockopt[T any](fd, level, option int, v *T) error {
	size := uint32(unsafe.Sizeof(*v))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(option),
		uintptr(unsafe.Pointer(v)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}
