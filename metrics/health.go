package metrics

import (
	"cmp"
	"context"
	"errors"
	"slices"
)

// check is a thing that must be well for the process to be ready.
type check struct {
	asked
	scope *Scope
	name  string
	f     func() error
}

func (c *check) answer() error { return c.f() }

// Check adds a check: f says what is not well, or nil. It is called at each scrape and
// each time that somebody asks whether the process is ready, and must return soon; one
// that does not has failed. Names are words of the program.
func (sc *Scope) Check(name string, f func() error) {
	s := sc.set
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, &check{asked: newAsked(), scope: sc, name: name, f: f})
}

// errNoAnswer is the result of a check that did not return in time.
var errNoAnswer = errors.New("no answer")

// result is what a check said.
type result struct {
	check *check
	err   error
}

// results makes every check, in the order of their scopes' labels and their names.
func (s *Set) results(ctx context.Context) []result {
	s.mu.Lock()
	checks := slices.Clone(s.checks)
	s.mu.Unlock()
	said := map[*check]error{}
	askAll(ctx, checks, func(c *check, err error) { said[c] = err })
	list := make([]result, 0, len(checks))
	for _, c := range checks {
		err, ok := said[c]
		if !ok {
			err = errNoAnswer
		}
		list = append(list, result{c, err})
	}
	slices.SortStableFunc(list, func(a, b result) int {
		return cmp.Or(cmp.Compare(a.check.scope.text, b.check.scope.text), cmp.Compare(a.check.name, b.check.name))
	})
	return list
}

// Status is whether a process is ready, as /readyz says it.
type Status struct {
	Ready  bool          `json:"ready"`
	Checks []CheckStatus `json:"checks"`
}

// CheckStatus is what one check said.
type CheckStatus struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"` // of its scope
	OK     bool              `json:"ok"`
	Reason string            `json:"reason,omitempty"` // why not
}

// Status makes every check. A process without checks is ready.
func (s *Set) Status() Status {
	s.scrape.Lock()
	defer s.scrape.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), s.cfg.Answer)
	defer cancel()
	st := Status{Ready: true, Checks: []CheckStatus{}}
	for _, r := range s.results(ctx) {
		c := CheckStatus{Name: r.check.name, Labels: r.check.scope.labels, OK: r.err == nil}
		if r.err != nil {
			st.Ready, c.Reason = false, r.err.Error()
		}
		st.Checks = append(st.Checks, c)
	}
	return st
}
