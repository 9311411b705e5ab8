package control

import (
	"context"
	"slices"
	"strings"
)

// Command is something that a service does.
type Command struct {
	// Name is lower case, without spaces.
	Name string
	// Summary says in a line what it does.
	Summary string
	// Repeat: it changes nothing, so it may be done again for a request that is said
	// again, and its reply is not kept.
	Repeat bool
	// Do does the command and returns its result, which becomes the JSON object of
	// the reply. r is its own. Several run at once. ctx ends at the deadline, or when
	// the Service is closed, and not when whoever asked goes away.
	//
	// An *Error goes to the client as it is; the end of ctx as NotInTime or
	// NotAvailable; any other error as Failed, with its text as the reason. What
	// failed with Busy or NotAvailable counts as not begun, so that the same request
	// may come again; every other failure is a reply like any other.
	Do func(ctx context.Context, r *Request) (result any, err error)
}

// With makes a Command's Do of a function that takes the arguments as a type.
func With[A any](do func(ctx context.Context, r *Request, args *A) (any, error)) func(context.Context, *Request) (any, error) {
	return func(ctx context.Context, r *Request) (any, error) {
		args := new(A)
		if err := r.Decode(args); err != nil {
			return nil, err
		}
		return do(ctx, r, args)
	}
}

// CommandsCommand is the command that every Service has: it lists the others.
const CommandsCommand = "commands"

// CommandList is what commands answers.
type CommandList struct {
	Service  string        `json:"service"`
	Commands []CommandInfo `json:"commands"`
}

// CommandInfo tells of a command.
type CommandInfo struct {
	Command string `json:"command"`
	Summary string `json:"summary"`
	// Repeat: it changes nothing.
	Repeat bool `json:"repeat,omitempty"`
}

// list is the command commands.
func (s *Service) list(context.Context, *Request) (any, error) {
	l := CommandList{Service: s.name}
	for _, c := range s.commands {
		l.Commands = append(l.Commands, CommandInfo{c.Name, c.Summary, c.Repeat})
	}
	slices.SortFunc(l.Commands, func(a, b CommandInfo) int { return strings.Compare(a.Command, b.Command) })
	return &l, nil
}

// unknown says that there is no such command, and which there are.
func (s *Service) unknown(name string) *Error {
	var names []string
	for known := range s.commands {
		names = append(names, known)
	}
	slices.Sort(names)
	return &Error{NoCommand, "service " + s.name + " has no command " + name, "it has " + strings.Join(names, ", ")}
}
