package snail

// Policy is what a reader does when it is too slow. Each one also does what
// those before it say of a reader that is merely lagging: it squawks.
type Policy uint8

// The policies.
const (
	// PolicyWarn squawks and goes on.
	PolicyWarn Policy = iota
	// PolicyConflate keeps only the latest record of each topic until the reader
	// keeps up again.
	PolicyConflate
	// PolicySkip drops everything, takes a fresh snapshot, and goes on behind it.
	PolicySkip
	// PolicyDie ends the reader: who is too late is better dead, and seen to be.
	PolicyDie
)

var policyWords = []string{"warn", "conflate", "skip", "die"}

// PolicyWords are the words of all policies, mildest first.
func PolicyWords() []string { return append([]string(nil), policyWords...) }

// String returns the policy's word.
func (p Policy) String() string { return word(policyWords, p) }

// ParsePolicy reads a policy's word.
func ParsePolicy(s string) (Policy, error) { return parse[Policy](policyWords, "policy", s) }

// MarshalText writes the word.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads the word.
func (p *Policy) UnmarshalText(b []byte) (err error) {
	*p, err = ParsePolicy(string(b))
	return err
}

// Action is what a reader does about a verdict, now.
type Action uint8

// The actions.
const (
	// ActNone: nothing beyond the squawk.
	ActNone Action = iota
	// ActWarn: tell people.
	ActWarn
	// ActConflate: begin to conflate the shard.
	ActConflate
	// ActResume: end what was begun, the shard keeps up.
	ActResume
	// ActSkip: drop everything, on all shards, and take a snapshot.
	ActSkip
	// ActDie: end the reader.
	ActDie
)

var actionWords = []string{"none", "warn", "conflate", "resume", "skip", "die"}

// String returns the action's word.
func (a Action) String() string { return word(actionWords, a) }

// ParseAction reads an action's word.
func ParseAction(s string) (Action, error) { return parse[Action](actionWords, "action", s) }

// MarshalText writes the word.
func (a Action) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText reads the word.
func (a *Action) UnmarshalText(b []byte) (err error) {
	*a, err = ParseAction(string(b))
	return err
}
