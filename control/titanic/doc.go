// Package titanic keeps jobs that outlive processes: requests to services on the
// bus, stored before they are accepted, asked until there is a reply, which is kept
// until it was taken.
package titanic
