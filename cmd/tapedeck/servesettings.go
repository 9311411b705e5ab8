package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// The tables of a configuration that can be there several times.
const (
	tableDeck      = "deck"
	tableRecording = "recording"
	tableRefill    = "refill"
)

// load takes in a file.
func (c *serveConfig) load(name string) error {
	text, err := os.ReadFile(name)
	if err != nil {
		return withHint(err, "tapedeck serve --settings writes a file with every setting")
	}
	return c.parse(name, string(text))
}

// parse takes in the text of a file. A key that nobody knows is refused: one that is
// misspelt would do nothing.
func (c *serveConfig) parse(name, text string) error {
	var all map[string]any
	if _, err := toml.Decode(text, &all); err != nil {
		return usageError{fmt.Errorf("%s: %s", name, tomlReason(err))}
	}
	place := func(key string) string {
		if line := lineOfKey(text, key); line > 0 {
			return fmt.Sprintf("%s, line %d", name, line)
		}
		return name
	}
	return c.take(all, place)
}

// set takes in one setting of the command line, key=value.
func (c *serveConfig) set(text string) error {
	key, value, ok := strings.Cut(text, "=")
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if !ok || key == "" {
		return usagef("--set %q: want KEY=VALUE, such as decks.max=8", text)
	}
	all, err := tomlValue(key, value)
	if err != nil {
		return usagef("--set %s: %s", text, tomlReason(err))
	}
	return c.take(all, func(string) string { return "--set" })
}

// tomlValue reads a value as TOML has it; a text may go without quotes.
func tomlValue(key, value string) (all map[string]any, err error) {
	if _, err = toml.Decode(key+" = "+value, &all); err == nil {
		return all, nil
	}
	all = nil
	_, err = toml.Decode(key+" = "+strconv.Quote(value), &all)
	return all, err
}

// tomlLine is how the parser begins its errors.
var tomlLine = regexp.MustCompile(`^toml: (line \d+)(?: \(last key "[^"]*"\))?: `)

// tomlReason is a parser's error as people read it.
func tomlReason(err error) string {
	return strings.TrimPrefix(tomlLine.ReplaceAllString(err.Error(), "$1: "), "toml: ")
}

// take takes in settings as TOML gave them; place says where a key stands.
func (c *serveConfig) take(all map[string]any, place func(key string) string) error {
	known := map[string]*setting{}
	list := c.settings()
	for i := range list {
		known[list[i].key] = &list[i]
	}
	var errs []error
	walkKeys("", all, func(key string, value any) {
		if err := c.takeOne(known, key, value, place); err != nil {
			errs = append(errs, err)
		}
	})
	return errors.Join(errs...)
}

func (c *serveConfig) takeOne(known map[string]*setting, key string, value any, place func(key string) string) error {
	tables := map[string]*[]map[string]any{tableDeck: &c.deck, tableRecording: &c.recording, tableRefill: &c.refill}
	if into := tables[key]; into != nil {
		list, ok := value.([]map[string]any)
		if !ok {
			return withHint(usagef("%s: %s is no table", place(key), key), "[["+key+"]] begins one, and another")
		}
		*into = list
		return nil
	}
	s := known[key]
	if s == nil {
		names := make([]string, 0, len(known))
		for name := range known {
			names = append(names, name)
		}
		slices.Sort(names)
		return withHint(usagef("%s: there is no setting %s", place(key), key), didYouMean(key, names))
	}
	if err := s.put(value); err != nil {
		return withHint(usagef("%s: %s: %v", place(key), key, err), s.what)
	}
	return nil
}

// walkKeys calls f for every key with its value, in order, with tables opened.
func walkKeys(prefix string, all map[string]any, f func(key string, value any)) {
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		key := prefix + name
		if table, ok := all[name].(map[string]any); ok && len(table) > 0 {
			walkKeys(key+".", table, f)
			continue
		}
		f(key, all[name])
	}
}

// put sets the value, as TOML gave it.
func (s *setting) put(value any) error {
	bounds := func(n int64, text func(int64) string) error {
		switch {
		case n < s.min:
			return fmt.Errorf("%s, want at least %s", text(n), text(s.min))
		case n > s.max:
			return fmt.Errorf("%s, want at most %s", text(n), text(s.max))
		}
		return nil
	}
	switch into := s.into.(type) {
	case *string:
		v, ok := value.(string)
		if !ok {
			return fmt.Errorf("want a text, not %v", value)
		}
		*into = v
	case *[]string:
		list, err := textList(value)
		if err != nil {
			return err
		}
		*into = list
	case *int:
		v, ok := value.(int64)
		if !ok {
			return fmt.Errorf("want a number, not %q", fmt.Sprint(value))
		}
		if err := bounds(v, func(n int64) string { return strconv.FormatInt(n, 10) }); err != nil {
			return err
		}
		*into = int(v)
	case *int64:
		n, err := parseBytes(fmt.Sprint(value))
		if err != nil {
			return err
		}
		if err := bounds(n, sizeText); err != nil {
			return err
		}
		*into = n
	case *time.Duration:
		text, _ := value.(string)
		d, err := time.ParseDuration(text)
		if err != nil {
			return fmt.Errorf(`want a duration such as "250ms", "30s" or "24h", not %v`, value)
		}
		if err := bounds(int64(d), func(n int64) string { return time.Duration(n).String() }); err != nil {
			return err
		}
		*into = d
	}
	return nil
}

// textList is a list of texts; one text is a list of it, or of its parts between
// commas.
func textList(value any) ([]string, error) {
	list := []string{}
	switch v := value.(type) {
	case string:
		for part := range strings.SplitSeq(v, ",") {
			if part = strings.TrimSpace(part); part != "" {
				list = append(list, part)
			}
		}
		return list, nil
	case []any:
		for _, x := range v {
			text, ok := x.(string)
			if !ok {
				return nil, fmt.Errorf("want a list of texts; %v is none", x)
			}
			list = append(list, text)
		}
		return list, nil
	}
	return nil, fmt.Errorf("want a list of texts, not %v", value)
}

// sizeText writes bytes as parseBytes reads them.
func sizeText(n int64) string {
	for _, u := range []struct {
		unit string
		size int64
	}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= u.size && n%u.size == 0 {
			return strconv.FormatInt(n/u.size, 10) + u.unit
		}
	}
	return strconv.FormatInt(n, 10)
}

// text is the value as TOML has it.
func (s *setting) text() string {
	switch into := s.into.(type) {
	case *string:
		return strconv.Quote(*into)
	case *[]string:
		quoted := make([]string, len(*into))
		for i, v := range *into {
			quoted[i] = strconv.Quote(v)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case *int:
		return strconv.Itoa(*into)
	case *int64:
		return strconv.Quote(sizeText(*into))
	case *time.Duration:
		return strconv.Quote(durationText(*into))
	}
	panic("BUG: a setting of another type: " + s.key)
}

// durationText leaves out the zeros at the end: 10m, not 10m0s.
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// lineOfKey finds the line of a file where a key or a table stands; 0 where it does
// not find it.
func lineOfKey(text, key string) int {
	table, n := "", 0
	for line := range strings.SplitSeq(text, "\n") {
		n++
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "[") {
			table, _, _ = strings.Cut(strings.Trim(line, "[ "), "]")
			if table = strings.TrimSpace(table); table == key || strings.HasPrefix(table, key+".") {
				return n
			}
			continue
		}
		name, _, ok := strings.Cut(line, "=")
		if !ok || strings.HasPrefix(line, "#") {
			continue
		}
		if name = strings.Trim(strings.TrimSpace(name), `"'`); table != "" {
			name = table + "." + name
		}
		if name == key {
			return n
		}
	}
	return 0
}

// didYouMean says what to try for a word that is not one of words.
func didYouMean(word string, words []string) string {
	last := func(s string) string { return s[strings.LastIndexByte(s, '.')+1:] }
	near, best := "", 1<<30
	for _, w := range words {
		d := min(editDistance(word, w), editDistance(last(word), last(w))+1)
		if d < best {
			near, best = w, d
		}
	}
	if best <= max(2, len(word)/3) {
		return "did you mean " + near + "?"
	}
	if len(words) <= len(serveParts) {
		return "there are " + strings.Join(words, ", ")
	}
	return "tapedeck serve --settings shows all of them"
}

// editDistance is how many letters must be changed, added or taken away to make b
// of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

// writeSettings is a file with every setting as it is here.
func (c *serveConfig) writeSettings() string {
	var b strings.Builder
	b.WriteString("# What tapedeck serve does, with the default of every setting: docs/CONFIG.md.\n\n")
	table := ""
	for _, s := range c.settings() {
		in, name, ok := strings.Cut(s.key, ".")
		if !ok {
			in, name = "", s.key
		}
		if in != table {
			fmt.Fprintf(&b, "\n[%s]\n", in)
			table = in
		}
		fmt.Fprintf(&b, "# %s\n%s = %s\n", s.what, name, s.text())
	}
	b.WriteString(cmp.Or(serveTablesExample, ""))
	return b.String()
}

// serveTablesExample shows the tables that can be there several times.
const serveTablesExample = `
# Decks that are open from the start, in the words of the command open:
# [[deck]]
# name = "es"
# tapes = ["es.tape"]
# speed = "1x"

# Recordings that run from the start, in the words of the command start:
# [[recording]]
# name = "day"
# connect = "tcp://127.0.0.1:7100+"
# shards = 2
# tape = "day.tape"

# Tapes that are served to readers who missed some of them:
# [[refill]]
# tape = "day.tape"
# bind = "tcp://127.0.0.1:7300"
# rate = "100MB"
# workers = 2
`
