// Package zsocktest is what the tests of those that talk over sockets share: things that
// run beside a test, a time that the test makes pass, a peer that is spelled out frame by
// frame, and peers in Python. Nothing but tests imports it.
package zsocktest
