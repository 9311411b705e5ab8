package feed

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrOption: an option that has no meaning for the input's format.
var ErrOption = errors.New("option does not apply")

// Only returns an error that wraps ErrOption if an option is set that is none of
// names. The names are those of the fields of Options; Format needs no naming,
// and a Header of "auto" says nothing, so it is never refused.
func (o *Options) Only(names ...string) error {
	header := o.Header
	if header == "auto" {
		header = ""
	}
	for _, opt := range [...]struct{ name, flag, value string }{
		{"Preset", "--preset", o.Preset}, {"Columns", "--columns", o.Columns}, {"Date", "--date", o.Date},
		{"Zone", "--zone", o.Zone}, {"TimeUnit", "--time-unit", o.TimeUnit}, {"Topic", "--topic", o.Topic},
		{"Header", "--header", header}, {"Dataset", "--dataset", o.Dataset},
		{"Groups", "--group", strings.Join(o.Groups, ", ")}, {"AB", "--ab", o.AB},
	} {
		if opt.value != "" && !slices.Contains(names, opt.name) {
			return fmt.Errorf("%w: %s %q", ErrOption, opt.flag, opt.value)
		}
	}
	return nil
}
