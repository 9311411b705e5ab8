// Package keys says who may do what: key pairs, and lists of the public keys that
// are allowed, with names, roles and rights to topics.
//
// Keys are those of CurveZMQ (ZeroMQ RFC 26): Curve25519, 32 bytes each, written as
// 40 characters of Z85 (ZeroMQ RFC 32). A secret key is in a file that nobody but its
// owner can read, and never in an argument, a log or a metric.
//
//	desk.key          a key pair: stays on its machine
//	desk.pub          its public half: for others
//	authorized.toml   who is allowed, on the machine that others connect to
//
// List decides and is pure; files are read and written beside it. A Door holds a list
// that may change, and keeps count of who was refused.
package keys
