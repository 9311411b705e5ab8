package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/spf13/cobra"
)

// output is where a command writes: text or JSON lines on standard output, and
// remarks on standard error. It may be used by several goroutines.
type output struct {
	mu     sync.Mutex
	json   bool
	w      *bufio.Writer
	failed error

	remarks sync.Mutex // standard error is told even while nobody reads standard output
	err     io.Writer
}

func newOutput(cmd *cobra.Command) *output {
	asJSON, _ := cmd.Flags().GetBool("json")
	return &output{json: asJSON, w: bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), err: cmd.ErrOrStderr()}
}

// message writes one JSON line with the given message_type in JSON mode, and the
// text otherwise. An empty text writes nothing. v must marshal to an object.
func (o *output) message(messageType string, v any, text string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.json {
		line, err := json.Marshal(v)
		if err != nil {
			return err
		}
		// The type comes first, for people who read the lines.
		fmt.Fprintf(o.w, `{"message_type":%q`, messageType)
		if len(line) > 2 {
			o.w.WriteByte(',')
		}
		o.w.Write(line[1:])
		o.w.WriteByte('\n')
	} else if text != "" {
		o.w.WriteString(text)
		o.w.WriteByte('\n')
	}
	return o.flushLocked()
}

// text writes lines on standard output, whatever the mode.
func (o *output) text(lines string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w.WriteString(lines)
	o.w.WriteByte('\n')
	return o.flushLocked()
}

// remark writes a line on standard error.
func (o *output) remark(format string, args ...any) {
	o.remarks.Lock()
	defer o.remarks.Unlock()
	fmt.Fprintf(o.err, "tapedeck: "+format+"\n", args...)
}

// flush writes out what is buffered and returns the first error of any write.
func (o *output) flush() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.flushLocked()
}

func (o *output) flushLocked() error {
	if err := o.w.Flush(); err != nil && o.failed == nil {
		o.failed = err
	}
	return o.failed
}

// isTerminal reports whether f is a terminal.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
