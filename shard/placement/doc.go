// Package placement says where the threads of a stream run and which way its
// bytes come: per shard the endpoint, the interface, the CPU of the I/O thread and
// of the loop, and the CPUs of the workers behind the loops.
//
// A Config comes from a TOML file or from flags. Plan makes of it, and of a
// Machine, what will be done, or says everything that cannot be. Planning is pure:
// a Topology is read from a file tree that need not be this machine's, so plans
// for other machines can be made and tested anywhere.
package placement
