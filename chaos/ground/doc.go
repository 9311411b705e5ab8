// Package ground makes hosts out of one machine: network namespaces, each with an
// address in one or more networks, and a cable between any two that loses, delays or
// cuts what it is told to.
//
// The cables are in this process: every host has a TUN device for each network, and
// whatever IP packet one sends is read here and written to the other, or not. That
// needs no queueing discipline of the kernel (sch_netem is not everywhere), each
// direction has rules of its own, and which packets are lost follows from a seed.
//
//	a ── tun ─┐                ┌─ tun ── b
//	          ├── this process ┤
//	c ── tun ─┘                └─ tun ── d
//
// It takes the right to make namespaces and devices: New skips the test without.
package ground
