package zsock

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"testing"
)

// child is the test itself in a process of its own, which libzmq may end.
type child struct {
	t    *testing.T
	cmd  *exec.Cmd
	said io.Reader // its standard output
	told io.WriteCloser
	errs bytes.Buffer
}

// startChild runs a test of this package again, with a variable that tells it that it is
// the child.
func startChild(t *testing.T, test, variable, value string) *child {
	t.Helper()
	c := &child{t: t, cmd: exec.Command(os.Args[0], "-test.run=^"+test+"$")}
	c.cmd.Env = append(os.Environ(), variable+"="+value)
	c.cmd.Stderr = &c.errs
	var err error
	if c.said, err = c.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	if c.told, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return c
}

// word is the next word that it says; an error where it has ended.
func (c *child) word() (word string, err error) {
	_, err = fmt.Fscanln(c.said, &word)
	return word, err
}

// end ends what it is told, and fails the test where it does not end well.
func (c *child) end() {
	c.t.Helper()
	_ = c.told.Close()
	_, _ = io.Copy(io.Discard, c.said)
	if err := c.cmd.Wait(); err != nil {
		c.t.Errorf("a process: %v\n%s", err, c.errs.Bytes())
	}
}
