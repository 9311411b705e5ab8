package binarystar

import "fmt"

// Role is which of the two a server is. It never changes.
type Role uint8

// The roles.
const (
	Primary Role = iota // active, where both start together
	Backup
)

// String returns the role's name.
func (r Role) String() string {
	switch r {
	case Primary:
		return "primary"
	case Backup:
		return "backup"
	}
	return fmt.Sprintf("role %d", uint8(r))
}

// State is what a server is at the moment. Its number is what goes over the wire,
// as a decimal digit.
type State uint8

// The states.
const (
	WaitingPrimary State = 1 // a primary that has not heard its backup
	WaitingBackup  State = 2 // a backup that has not heard its primary
	Active         State = 3
	Passive        State = 4
)

// String returns the state's name.
func (s State) String() string {
	switch s {
	case WaitingPrimary, WaitingBackup:
		return "waiting"
	case Active:
		return "active"
	case Passive:
		return "passive"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// valid reports whether s is one of the four.
func (s State) valid() bool { return s >= WaitingPrimary && s <= Passive }

// Refusal is why a request is not served. It is for the client to read.
type Refusal string

// The refusals; "" is none.
const (
	RefusedWaiting Refusal = "this is the primary, and it waits to hear whether its backup is active"
	RefusedBackup  Refusal = "this is the backup, and it has never heard its primary; an operator can promote it"
	RefusedPassive Refusal = "this one is passive; the other one is active"
)
