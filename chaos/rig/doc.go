// Package rig starts tapedeck in processes of its own, hears what they say, and looks
// at them from the outside: their memory, descriptors and metrics.
package rig
