package zsocktest

import (
	"os/exec"
	"testing"
)

// Python is an interpreter that has pyzmq; without one the test is skipped.
func Python(t testing.TB) string {
	t.Helper()
	interpreter, ok := FindPython("import zmq")
	if !ok {
		t.Skip("no python3 with zmq: install python3-zmq to run peers in another language")
	}
	return interpreter
}

// FindPython finds an interpreter in which a program ends well. Debian's python3-zmq
// belongs to Debian's own.
func FindPython(program string) (interpreter string, ok bool) {
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		if exec.Command(name, "-c", program).Run() == nil {
			return name, true
		}
	}
	return "", false
}
