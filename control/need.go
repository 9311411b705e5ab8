package control

// Need is what a command takes of whoever gives it.
type Need uint8

// The needs.
const (
	NeedLook   Need = iota // it says how things stand
	NeedRead               // it gives out records, of any topic
	NeedChange             // it changes something, or nobody knows
)

// looks are the commands that change nothing, by service. What is not here needs
// NeedChange.
var looks = map[string]map[string]Need{
	ServiceDeck:     {"list": NeedLook, "state": NeedLook, "watch": NeedLook},
	ServiceReaders:  {"list": NeedLook},
	ServiceTapes:    {"list": NeedLook, "info": NeedLook, "verify": NeedLook, "last": NeedRead},
	ServiceRecorder: {"status": NeedLook},
	ServiceStatus:   {"status": NeedLook},
	ServiceJob:      {"list": NeedLook, "show": NeedLook, "wait": NeedLook},
	ServicePair:     {"state": NeedLook},
}

// NeedOf returns what a command of a service takes.
func NeedOf(service, command string) Need {
	commands, ours := looks[service]
	need, known := commands[command]
	switch {
	case known:
		return need
	case ours && command == CommandsCommand:
		return NeedLook
	}
	return NeedChange
}

// NeedOfRequest returns what the frames of a request to a service take; of those that
// are no request, NeedChange.
func NeedOfRequest(service string, frames [][]byte) Need {
	if looks[service] == nil {
		return NeedChange
	}
	r, err := ParseRequest(frames)
	if err != nil {
		return NeedChange
	}
	return NeedOf(service, r.Command)
}
