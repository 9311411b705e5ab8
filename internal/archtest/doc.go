// Package archtest holds the project's import rules, as a test: which room may
// know which, and why. docs/ARCHITECTURE.md tells the same as prose.
package archtest
